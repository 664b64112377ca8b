//! How deep an operation reaches into the stack: the room below is painted, and the deepest spot that lost its paint
//! counts.

use cortex_m::register::msp;

/// Bytes that are painted: more than any operation takes.
const ROOM: usize = 16 << 10;
/// Below the stack pointer of the painter: its own frame.
const GAP: usize = 512;
const PAINT: u32 = 0xC0DE_57AC;

/// Bytes of stack that `operation` took beneath its caller, to within some hundred.
#[inline(never)]
pub fn depth(operation: &mut dyn FnMut()) -> usize {
    let top = msp::read() as usize - GAP;
    let bottom = top - ROOM;
    for at in (bottom..top).step_by(4) {
        // SAFETY: the stack grows down to the end of the zeroed data, which lies far below `bottom`, and nothing of it
        // is in use below the pointer but the frame of this function, which fits the gap. No interrupt is enabled.
        unsafe { core::ptr::write_volatile(at as *mut u32, PAINT) };
    }
    operation();
    let reached = (bottom..top).step_by(4).find(|at| {
        // SAFETY: as above; the words were written before.
        unsafe { core::ptr::read_volatile(*at as *const u32) != PAINT }
    });
    reached.map_or(0, |at| top + GAP - at)
}
