//! What a device does for the link, as functions that an image can link alone or all together.
#![no_std]

pub mod mix;
pub mod operations;
pub mod stack;

use cortex_m_semihosting::debug;

/// Ends the emulation in order.
pub fn done() -> ! {
    debug::exit(debug::EXIT_SUCCESS);
    loop {
        cortex_m::asm::wfi();
    }
}

/// Ends the emulation with a failure: an operation did not give what it must.
#[panic_handler]
fn panicked(_: &core::panic::PanicInfo<'_>) -> ! {
    debug::exit(debug::EXIT_FAILURE);
    loop {
        cortex_m::asm::wfi();
    }
}
