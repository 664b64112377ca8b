//! `GET /receipts/{tx hash}`, `GET /receipts/{component id}/{seq}`: receipt files, not JSON.

/// Media type of a receipt file.
pub const MEDIA_TYPE: &str = "application/octet-stream";
/// Longest receipt file in bytes.
pub const MAX_LEN: usize = ledger::receipt::MAX_LEN;
