//! Links one operation alone: how much flash it takes.
#![no_std]
#![no_main]

use core::hint::black_box;
use cortex_m_rt::entry;

use firmware::{done, operations as op};
use lct::curve::device::AgreementKey;

#[entry]
fn main() -> ! {
    let key = AgreementKey::from_bytes(&black_box([0x22; 32])).expect("a constant scalar is good");
    op::agree(&key, &black_box([2; 33]));
    done()
}
