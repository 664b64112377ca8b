//! Links nothing: what an image takes without any operation.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use firmware::done;

#[entry]
fn main() -> ! {
    done()
}
