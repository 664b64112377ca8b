//! The owner of a component agrees that another binding takes the place of one that it has (`spec/ledger.md`, L125).
//!
//! Deterministic CBOR `{0: 1, 1: chain_id 32, 2: cid, 3: binding 16, 4: cid of the partner 16, 5: until ms, 6: hop, 7: number}`; digest
//! `H("modbatt1 consent" || bytes)`, signed by the owner.

use crate::{
    Digest, Error, codec,
    hash::sha256,
    id::{BindingId, Cid},
};

/// Length bound of an encoded consent.
pub const CONSENT_MAX: usize = 144;

/// To what an owner agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consent {
    /// The ledger it is made for.
    pub chain_id: Digest,
    /// The component.
    pub cid: Cid,
    /// The binding of it that is to give way.
    pub binding: BindingId,
    /// With whom the next one is.
    pub partner: Cid,
    /// Until when that may be done, Unix ms.
    pub until_ms: u64,
    /// The hop with which the owner came by the component (L113): a consent ends with the ownership, for good.
    pub hop: u32,
    /// Above that of the owner's last one for this binding, so that nobody brings an earlier one again.
    pub number: u64,
}

impl Consent {
    /// Writes the CBOR; returns its length.
    ///
    /// # Errors
    /// Never for a buffer of this length.
    pub fn encode(&self, out: &mut [u8; CONSENT_MAX]) -> Result<usize, Error> {
        codec::encode(out, |e| {
            e.map(8)?.u8(0)?.u8(1)?.u8(1)?.bytes(&self.chain_id)?.u8(2)?.bytes(&self.cid.0)?;
            e.u8(3)?.bytes(&self.binding.0)?.u8(4)?.bytes(&self.partner.0)?;
            e.u8(5)?.u64(self.until_ms)?.u8(6)?.u32(self.hop)?.u8(7)?.u64(self.number)?.ok()
        })
    }

    /// Reads the CBOR.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let d = &mut codec::decoder(bytes)?;
        codec::expect_object(d, 8)?;
        codec::expect_key(d, 1)?;
        let chain_id = codec::bytes(d)?;
        codec::expect_key(d, 2)?;
        let cid = Cid(codec::bytes(d)?);
        codec::expect_key(d, 3)?;
        let binding = BindingId(codec::bytes(d)?);
        codec::expect_key(d, 4)?;
        let partner = Cid(codec::bytes(d)?);
        codec::expect_key(d, 5)?;
        let until_ms = d.u64()?;
        codec::expect_key(d, 6)?;
        let hop = d.u32()?;
        codec::expect_key(d, 7)?;
        let number = d.u64()?;
        Ok(Consent { chain_id, cid, binding, partner, until_ms, hop, number })
    }

    /// What the owner signs.
    ///
    /// # Errors
    /// Those of [`Consent::encode`].
    pub fn digest(&self) -> Result<Digest, Error> {
        let mut out = [0; CONSENT_MAX];
        let n = self.encode(&mut out)?;
        Ok(sha256(&[b"modbatt1 consent", &out[..n]]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consent_reads_as_written_and_nothing_else_does() {
        let consent = Consent {
            chain_id: [1; 32],
            cid: Cid([2; 16]),
            binding: BindingId([3; 16]),
            partner: Cid([4; 16]),
            until_ms: u64::MAX,
            hop: u32::MAX,
            number: u64::MAX,
        };
        let mut out = [0; CONSENT_MAX];
        let n = consent.encode(&mut out).unwrap();
        assert_eq!(Consent::decode(&out[..n]), Ok(consent));
        assert!(Consent::decode(&out[..n - 1]).is_err(), "cut");
        out[2] = 2;
        assert_eq!(Consent::decode(&out[..n]), Err(Error::Malformed), "another version");
    }
}
