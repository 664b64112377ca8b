//! The completion proof of a pairing: both entities, same session, same certificate (`spec/channel.md`, H54); and
//! its terms (`spec/ledger.md`, L103).

use crate::{
    Digest, Error, codec,
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

/// Terms of a pairing that its sides and the authority agree on anew: `{0: 1, 1: end, 2: max_uses, 3: operations}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// When the lease ends, Unix seconds.
    pub expires: u32,
    /// Sessions allowed in all; 0 without limit.
    pub max_uses: u32,
    /// Bit 0 read, bit 1 write, bit 2 execute; never none.
    pub operations: u8,
}

/// Length bound of encoded [`Terms`].
pub const TERMS_MAX: usize = 24;

impl Terms {
    /// Writes the CBOR; returns its length.
    pub fn encode(&self, out: &mut [u8; TERMS_MAX]) -> Result<usize, Error> {
        codec::encode(out, |e| {
            e.map(4)?.u8(0)?.u8(1)?.u8(1)?.u32(self.expires)?;
            e.u8(2)?.u32(self.max_uses)?.u8(3)?.u8(self.operations)?.ok()
        })
    }

    /// Reads the CBOR; refuses operations of none and of unknown bits.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let d = &mut codec::decoder(bytes)?;
        codec::expect_object(d, 4)?;
        codec::expect_key(d, 1)?;
        let expires = d.u32()?;
        codec::expect_key(d, 2)?;
        let max_uses = d.u32()?;
        codec::expect_key(d, 3)?;
        let operations = d.u8()?;
        if (1..=7).contains(&operations) {
            Ok(Terms { expires, max_uses, operations })
        } else {
            Err(Error::Malformed)
        }
    }
}

/// `H(validation_nonce || pairing_id)`: published at issue, opened by the completion.
pub fn nonce_commitment(nonce: &[u8; 32], pairing_id: &PairingId) -> Digest {
    sha256(&[nonce, &pairing_id.0])
}
