//! A component changes hands (`spec/ledger.md`, L113): each hop names the one before, the first begins at the
//! manufacturer's batch authority, so that whoever holds the chain can follow it to the root.
//!
//! Deterministic CBOR `{0: 1, 1: chain_id 32, 2: cid, 3: entity LCT 32, 4: hop, 5: previous 32, 6: from 33, 7: to 33,
//! 8: time ms}`; digest `H("modbatt1 owner" || bytes)`, signed by both owners.

use crate::{Digest, Error, codec, hash::sha256, id::Cid, sign::PublicKey};

/// Length bound of an encoded transfer.
pub const TRANSFER_MAX: usize = 256;

/// One hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// The ledger it is made for.
    pub chain_id: Digest,
    /// The component.
    pub cid: Cid,
    /// Its entity LCT, which goes on.
    pub lct: Digest,
    /// Number of the hop, from 1.
    pub hop: u32,
    /// [`hash_of`] the hop before; zero in the first.
    pub previous: Digest,
    /// Who gives: the owner, or in the first hop the batch authority that certified the component.
    pub from: PublicKey,
    /// Who takes.
    pub to: PublicKey,
    /// When, Unix ms.
    pub time_ms: u64,
}

/// What the next hop names as the previous one: `H(bytes)`.
pub fn hash_of(transfer: &[u8]) -> Digest {
    sha256(&[transfer])
}

impl Transfer {
    /// Writes the CBOR; returns its length.
    pub fn encode(&self, out: &mut [u8; TRANSFER_MAX]) -> Result<usize, Error> {
        codec::encode(out, |e| {
            e.map(9)?.u8(0)?.u8(1)?.u8(1)?.bytes(&self.chain_id)?.u8(2)?.bytes(&self.cid.0)?;
            e.u8(3)?.bytes(&self.lct)?.u8(4)?.u32(self.hop)?.u8(5)?.bytes(&self.previous)?;
            e.u8(6)?.bytes(&self.from.0)?.u8(7)?.bytes(&self.to.0)?.u8(8)?.u64(self.time_ms)?.ok()
        })
    }

    /// Reads the CBOR; refuses hop 0 and keys that are no points.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let d = &mut codec::decoder(bytes)?;
        codec::expect_object(d, 9)?;
        codec::expect_key(d, 1)?;
        let chain_id = codec::bytes(d)?;
        codec::expect_key(d, 2)?;
        let cid = Cid(codec::bytes(d)?);
        codec::expect_key(d, 3)?;
        let lct = codec::bytes(d)?;
        codec::expect_key(d, 4)?;
        let hop = d.u32()?;
        codec::expect_key(d, 5)?;
        let previous = codec::bytes(d)?;
        codec::expect_key(d, 6)?;
        let from = PublicKey::from_slice(d.bytes()?)?;
        codec::expect_key(d, 7)?;
        let to = PublicKey::from_slice(d.bytes()?)?;
        codec::expect_key(d, 8)?;
        let time_ms = d.u64()?;
        if hop == 0 {
            return Err(Error::Malformed);
        }
        Ok(Transfer { chain_id, cid, lct, hop, previous, from, to, time_ms })
    }

    /// What both owners sign.
    pub fn digest(&self) -> Result<Digest, Error> {
        let mut out = [0; TRANSFER_MAX];
        let n = self.encode(&mut out)?;
        Ok(sha256(&[b"modbatt1 owner", &out[..n]]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::SigningKey;

    #[test]
    fn a_hop_reads_as_written_and_nothing_else_does() {
        let key = |n| SigningKey::from_bytes(&[n; 32]).map(|k| k.public()).unwrap();
        let transfer = Transfer {
            chain_id: [1; 32],
            cid: Cid([2; 16]),
            lct: [3; 32],
            hop: u32::MAX,
            previous: [4; 32],
            from: key(5),
            to: key(6),
            time_ms: u64::MAX,
        };
        let mut out = [0; TRANSFER_MAX];
        let n = transfer.encode(&mut out).unwrap();
        assert_eq!(Transfer::decode(&out[..n]), Ok(transfer));
        assert!(Transfer::decode(&out[..n - 1]).is_err(), "cut");
        let mut version = out;
        version[2] = 2;
        assert_eq!(Transfer::decode(&version[..n]), Err(Error::Malformed));
        let n = Transfer { hop: 0, ..transfer }.encode(&mut out).unwrap();
        assert_eq!(Transfer::decode(&out[..n]), Err(Error::Malformed), "hop 0");
        let n = Transfer { to: PublicKey([0xFF; 33]), ..transfer }.encode(&mut out).unwrap();
        assert_eq!(Transfer::decode(&out[..n]), Err(Error::InvalidKey), "a key that is no point");
    }
}
