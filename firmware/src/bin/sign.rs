//! Links one operation alone: how much flash it takes.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use firmware::{done, operations as op};

#[entry]
fn main() -> ! {
    core::hint::black_box(op::sign(&op::signing_key().expect("a constant scalar is good")));
    done()
}
