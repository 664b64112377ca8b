//! What whoever runs a bridge sees of it: figures, logs and traces (A129, A141 to A143, A222).

pub(crate) mod gateways;
pub(crate) mod lines;
pub mod logs;
pub(crate) mod metrics;
mod rolling;
pub mod traces;

pub use gateways::Watch;
