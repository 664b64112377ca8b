//! A stand-in for the crate `kept`, for the controls of attacks: one defence can be taken away on a thread.
#![forbid(unsafe_code)]

pub use kept::Defence;
use std::cell::Cell;

thread_local! {
    static REMOVED: Cell<Option<Defence>> = const { Cell::new(None) };
}

/// Takes `defence` away from what runs on this thread from now on.
pub fn remove(defence: Defence) {
    REMOVED.set(Some(defence));
}

/// Whether `defence` stands on this thread.
pub fn kept(defence: Defence) -> bool {
    REMOVED.get() != Some(defence)
}
