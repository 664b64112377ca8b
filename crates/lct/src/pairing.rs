//! The completion proof of a pairing: both entities, same session, same certificate (`spec/channel.md`, H54).

use crate::{
    Digest, Error,
    hash::sha256,
    id::PairingId,
    sign::{PublicKey, Signature},
};

/// What both entities sign once the handshake stands. It can be checked by anyone and reveals no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// Which pairing.
    pub pairing_id: PairingId,
    /// Nonce from section V: only who rebuilt the pairing key knows it.
    pub nonce: [u8; 32],
    /// Hash of the whole certificate.
    pub cert_hash: Digest,
    /// Names the session.
    pub th4: Digest,
}

impl Completion {
    /// `H("modbatt1 pair-complete" || pairing_id || nonce || cert_hash || TH4)`.
    pub fn digest(&self) -> Digest {
        sha256(&[b"modbatt1 pair-complete", &self.pairing_id.0, &self.nonce, &self.cert_hash, &self.th4])
    }

    /// Verifies the signatures of A and B.
    pub fn verify(&self, a: (&PublicKey, &Signature), b: (&PublicKey, &Signature)) -> Result<(), Error> {
        let digest = self.digest();
        a.0.verify(&digest, a.1)?;
        Ok(b.0.verify(&digest, b.1)?)
    }
}

/// `H(validation_nonce || pairing_id)`: published at issue, opened by the completion.
pub fn nonce_commitment(nonce: &[u8; 32], pairing_id: &PairingId) -> Digest {
    sha256(&[nonce, &pairing_id.0])
}
