//! Links one operation alone: how much flash it takes.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use firmware::{done, operations as op};

#[entry]
fn main() -> ! {
    let (mut sealer, opener) = op::keys().expect("constant keys are good");
    let mut out = [0; 128];
    let len = op::seal(&mut sealer, 36, &mut out);
    assert!(op::open(&opener, &mut out[..len]));
    done()
}
