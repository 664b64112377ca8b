//! Links one operation alone: how much flash it takes.
#![no_std]
#![no_main]

use core::hint::black_box;
use cortex_m_rt::entry;

use firmware::{done, operations as op};
use lct::sign::{PublicKey, Signature};

#[entry]
fn main() -> ! {
    black_box(op::verify(&PublicKey(black_box([2; 33])), &Signature(black_box([1; 64]))));
    done()
}
