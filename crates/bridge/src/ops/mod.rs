//! What whoever runs a bridge sees of it: figures and logs (A141 to A144).

pub mod logs;
pub(crate) mod metrics;
mod rolling;
