//! Engines decide which block comes next; all of them only drive [`crate::Chain`].

pub mod signed;
pub mod solo;
