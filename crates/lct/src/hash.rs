//! SHA-256 over parts, so that callers never build a buffer just to hash it.

use crate::Digest;
use sha2::Digest as _;

/// SHA-256 of the concatenation of `parts`.
pub fn sha256(parts: &[&[u8]]) -> Digest {
    let mut h = sha2::Sha256::new();
    for part in parts {
        h.update(part);
    }
    h.finalize().into()
}
