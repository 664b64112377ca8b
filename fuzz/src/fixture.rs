//! Fixed keys and parties: what is signed by them passes every check of authenticity, so that an input reaches what lies
//! behind it.

use lct::{
    Digest,
    id::Cid,
    secret::Secret,
    sign::{Signature, SigningKey},
    spk::SpkSecret,
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use std::sync::LazyLock;

/// The authority.
pub static AUTHORITY: LazyLock<SpkSecret> = LazyLock::new(|| spk(1));
/// The two sides of a relationship.
pub static SIDE_A: LazyLock<SpkSecret> = LazyLock::new(|| spk(2));
/// The B side.
pub static SIDE_B: LazyLock<SpkSecret> = LazyLock::new(|| spk(3));

fn spk(seed: u8) -> SpkSecret {
    SpkSecret::from_seed(Secret::new([seed; 32])).expect("a fixed seed")
}

/// Entropy that is the same in each run.
pub fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(1)
}

/// The identity of the A side.
pub fn cid_a() -> Cid {
    Cid::of("app-0001")
}

/// The identity of the B side.
pub fn cid_b() -> Cid {
    Cid::of("pack-0001")
}

/// `body || signature over H(domain || body)`: a statement that is authentic whatever it says.
pub fn signed(key: &SigningKey, domain: &[u8], body: &[u8]) -> Vec<u8> {
    let digest: Digest = lct::hash::sha256(&[domain, body]);
    let Signature(signature) = key.sign_rfc6979(&digest);
    [body, &signature].concat()
}
