//! A signed change of the policy: version, rotation periods and class table (`spec/channel.md`, H112).
//!
//! The body is `1 | version u32 | cid_A 16 | cid_B 16 | rotation 24 | count u16 | count x row 8`. The authority and
//! both entities of a binding sign `H("modbatt1 policy" || body)`; the whole is
//! `body | signature of the authority 64 | of A 64 | of B 64`.

use crate::{
    Digest, Error,
    codec::{Fields, Layout},
    hash::sha256,
    id::Cid,
    sign::{PublicKey, Signature, Signer},
};
use rand_core::CryptoRng;

/// Version of the policy that every device has from the factory.
pub const FACTORY_VERSION: u32 = 1;
/// Most rows of a class table.
pub const ROWS_MAX: usize = 48;
/// Length of a row.
pub const ROW_LEN: usize = 8;
/// Length of [`Rotation`] in bytes.
pub const ROTATION_LEN: usize = 24;
const HEAD_LEN: usize = 1 + 4 + 16 + 16 + ROTATION_LEN + 2;
/// Longest body in bytes.
pub const BODY_MAX: usize = HEAD_LEN + ROWS_MAX * ROW_LEN;
/// Longest signed update in bytes.
pub const UPDATE_MAX: usize = BODY_MAX + 3 * 64;

/// A class table as it is hashed, without its count: rows of 8 bytes, ascending.
pub type Rows = heapless::Vec<[u8; ROW_LEN], ROWS_MAX>;

/// How long keys live.
///
/// `epoch_s u32 | epoch_messages u32 | agreement_s u32 | agreement_epochs u16 | certificate_s u32 | group_s u32 |
/// link_days u16`, seconds of powered time where a device counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Longest life of an epoch of a channel, 60 s to 7 days.
    pub epoch_s: u32,
    /// Messages of one key after which its epoch is renewed, 2^10 to 2^31.
    pub epoch_messages: u32,
    /// Longest time between two key agreements, at most 90 days.
    pub agreement_s: u32,
    /// Epochs after which a key agreement is due.
    pub agreement_epochs: u16,
    /// Longest lease of a pairing certificate, at most 366 days.
    pub certificate_s: u32,
    /// Longest life of a group key, 60 s to 30 days.
    pub group_s: u32,
    /// The parameter `rotation_days` of the policy hash.
    pub link_days: u16,
}

impl Rotation {
    /// What holds from the factory.
    pub const FACTORY: Rotation = Rotation {
        epoch_s: 86_400,
        epoch_messages: 1 << 24,
        agreement_s: 7 * 86_400,
        agreement_epochs: 256,
        certificate_s: 90 * 86_400,
        group_s: 7 * 86_400,
        link_days: 30,
    };

    /// The bytes.
    pub fn to_bytes(&self) -> [u8; ROTATION_LEN] {
        let mut out = [0; ROTATION_LEN];
        out[..4].copy_from_slice(&self.epoch_s.to_be_bytes());
        out[4..8].copy_from_slice(&self.epoch_messages.to_be_bytes());
        out[8..12].copy_from_slice(&self.agreement_s.to_be_bytes());
        out[12..14].copy_from_slice(&self.agreement_epochs.to_be_bytes());
        out[14..18].copy_from_slice(&self.certificate_s.to_be_bytes());
        out[18..22].copy_from_slice(&self.group_s.to_be_bytes());
        out[22..].copy_from_slice(&self.link_days.to_be_bytes());
        out
    }

    /// Reads the bytes; a period outside its range is malformed.
    pub fn from_bytes(bytes: &[u8; ROTATION_LEN]) -> Result<Self, Error> {
        let mut f = Fields::new(bytes);
        let r = Rotation {
            epoch_s: f.u32()?,
            epoch_messages: f.u32()?,
            agreement_s: f.u32()?,
            agreement_epochs: f.u16()?,
            certificate_s: f.u32()?,
            group_s: f.u32()?,
            link_days: f.u16()?,
        };
        let within = (60..=7 * 86_400).contains(&r.epoch_s)
            && (1 << 10..=1 << 31).contains(&r.epoch_messages)
            && (r.epoch_s..=90 * 86_400).contains(&r.agreement_s)
            && r.agreement_epochs > 0
            && (60..=366 * 86_400).contains(&r.certificate_s)
            && (60..=30 * 86_400).contains(&r.group_s);
        if within { Ok(r) } else { Err(Error::Malformed) }
    }
}

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Above that of every policy before it; 1 is that of the factory.
    pub version: u32,
    /// The entities of the binding for which it was signed, A then B.
    pub entities: [Cid; 2],
    /// Periods.
    pub rotation: Rotation,
    /// Class table.
    pub rows: Rows,
}

/// Digest of a body: what the three sign.
pub fn digest_of(body: &[u8]) -> Digest {
    sha256(&[b"modbatt1 policy", body])
}

impl Policy {
    /// The body.
    pub fn encode(&self) -> Result<heapless::Vec<u8, BODY_MAX>, Error> {
        let [a, b] = &self.entities;
        let mut layout = Layout::<BODY_MAX>::default().put(&[
            &[1],
            &self.version.to_be_bytes(),
            &a.0,
            &b.0,
            &self.rotation.to_bytes(),
            &(self.rows.len() as u16).to_be_bytes(),
        ])?;
        for row in &self.rows {
            layout = layout.put(&[row])?;
        }
        Ok(layout.done())
    }

    /// Reads a body. Rows must ascend without overlap; what their codes mean is for the reader of the table.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(body);
        if f.u8()? != 1 {
            return Err(Error::Malformed);
        }
        let version = f.u32()?;
        let entities = [Cid(f.array()?), Cid(f.array()?)];
        let rotation = Rotation::from_bytes(&f.array()?)?;
        let n = usize::from(f.u16()?);
        let mut rows = Rows::new();
        let mut next = 0u32;
        for _ in 0..n {
            let row: [u8; ROW_LEN] = f.array()?;
            let first = u32::from(u16::from_be_bytes([row[0], row[1]]));
            let last = u32::from(u16::from_be_bytes([row[2], row[3]]));
            if first < next || last < first || last > 0x7FF {
                return Err(Error::Malformed);
            }
            next = last + 1;
            rows.push(row).map_err(|_| Error::Malformed)?;
        }
        f.end()?;
        if version <= FACTORY_VERSION || rows.is_empty() {
            return Err(Error::Malformed);
        }
        Ok(Policy { version, entities, rotation, rows })
    }

    /// The authority's side: `body | signature of the authority 64`, which both entities are asked to sign.
    ///
    /// # Errors
    /// [`Error::Malformed`] for what [`Policy::decode`] does not take.
    pub fn propose(
        &self,
        authority: &impl Signer,
        rng: &mut impl CryptoRng,
    ) -> Result<heapless::Vec<u8, { BODY_MAX + 64 }>, Error> {
        let body = self.encode()?;
        Self::decode(&body)?;
        let signature = authority.sign(&digest_of(&body), rng);
        Ok(Layout::<{ BODY_MAX + 64 }>::default().put(&[&body, &signature.0])?.done())
    }

    /// The authority's side: the update from its proposal and the signatures of A and B, each verified.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] when one does not verify, [`Error::Malformed`] for what is no proposal.
    pub fn complete(
        proposal: &[u8],
        keys: &[PublicKey; 2],
        signatures: &[Signature; 2],
    ) -> Result<heapless::Vec<u8, UPDATE_MAX>, Error> {
        let (body, _) = proposal.split_last_chunk::<64>().ok_or(Error::Malformed)?;
        Self::decode(body)?;
        let digest = digest_of(body);
        for (key, signature) in keys.iter().zip(signatures) {
            key.verify(&digest, signature)?;
        }
        Ok(Layout::<UPDATE_MAX>::default().put(&[proposal, &signatures[0].0, &signatures[1].0])?.done())
    }

    /// Reads `body | signature of the authority 64` and verifies it: what an entity is asked to sign.
    pub fn open_request(bytes: &[u8], authority: &PublicKey) -> Result<Self, Error> {
        let (body, sig) = bytes.split_last_chunk::<64>().ok_or(Error::Malformed)?;
        let policy = Self::decode(body)?;
        authority.verify(&digest_of(body), &Signature(*sig))?;
        Ok(policy)
    }

    /// Reads a whole update and verifies it under the keys of authority, A and B.
    pub fn open(
        bytes: &[u8],
        authority: &PublicKey,
        keys: impl FnOnce(&[Cid; 2]) -> Result<[PublicKey; 2], Error>,
    ) -> Result<Self, Error> {
        let n = bytes.len().checked_sub(3 * 64).ok_or(Error::Malformed)?;
        let (body, sigs) = bytes.split_at_checked(n).ok_or(Error::Malformed)?;
        let policy = Self::decode(body)?;
        let digest = digest_of(body);
        let [a, b] = keys(&policy.entities)?;
        for (key, sig) in [*authority, a, b].iter().zip(sigs.chunks_exact(64)) {
            key.verify(&digest, &Signature::from_slice(sig)?)?;
        }
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::sign::SigningKey;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
    use std::vec::Vec;

    fn policy() -> Policy {
        let row = |first: u16| {
            let [h, l] = first.to_be_bytes();
            [h, l, h, l + 1, 0, 0, 1, 3]
        };
        Policy {
            version: 2,
            entities: [Cid([1; 16]), Cid([2; 16])],
            rotation: Rotation::FACTORY,
            rows: [0x400, 0x410, 0x501].map(row).into_iter().collect(),
        }
    }

    #[test]
    fn all_three_must_have_signed_the_same_bytes() {
        let mut rng = ChaCha20Rng::seed_from_u64(8);
        let [authority, a, b, other] = core::array::from_fn(|_| SigningKey::generate(&mut rng));
        let body = policy().encode().unwrap();
        let digest = digest_of(&body);
        let whole = |keys: [&SigningKey; 3]| {
            let mut out = body.to_vec();
            keys.iter().for_each(|k| out.extend_from_slice(&k.sign_rfc6979(&digest).0));
            out
        };
        let open = |bytes: &[u8]| {
            Policy::open(bytes, &authority.public(), |cids| {
                assert_eq!(*cids, policy().entities);
                Ok([a.public(), b.public()])
            })
        };
        assert_eq!(open(&whole([&authority, &a, &b])), Ok(policy()));
        for keys in
            [[&other, &a, &b], [&authority, &other, &b], [&authority, &a, &other], [&authority, &b, &a]]
        {
            assert_eq!(open(&whole(keys)), Err(Error::NotAuthentic));
        }
        let good = whole([&authority, &a, &b]);
        let proposal = policy().propose(&authority, &mut rng).unwrap();
        let signatures = [&a, &b].map(|key| key.sign(&digest, &mut rng));
        let keys = [a.public(), b.public()];
        let update = Policy::complete(&proposal, &keys, &signatures).unwrap();
        assert_eq!(open(&update), Ok(policy()));
        let [first, second] = signatures;
        assert_eq!(Policy::complete(&proposal, &keys, &[second, first]), Err(Error::NotAuthentic));
        // A changed cid is caught by the closure above or by a signature; bytes 5 to 36 are cids.
        for at in (0..5).chain(37..good.len()) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(open(&bad).is_err(), "byte {at}");
        }
        let request: Vec<u8> = good[..body.len() + 64].to_vec();
        assert_eq!(Policy::open_request(&request, &authority.public()), Ok(policy()));
        assert_eq!(Policy::open_request(&request, &other.public()), Err(Error::NotAuthentic));
    }

    #[test]
    fn tables_and_periods_that_make_no_sense_are_refused() {
        let body = policy().encode().unwrap().to_vec();
        let rows = 1 + 4 + 32 + ROTATION_LEN + 2;
        type Change<'a> = &'a dyn Fn(&mut Vec<u8>);
        let case = |change: Change<'_>| {
            let mut bytes = body.clone();
            change(&mut bytes);
            Policy::decode(&bytes)
        };
        assert_eq!(case(&|_| {}), Ok(policy()));
        let changes: [(&str, Change<'_>); 9] = [
            ("format version", &|b| b[0] = 2),
            ("the factory's version", &|b| b[4] = 1),
            ("an epoch of no time", &|b| b[37..41].fill(0)),
            ("an epoch of a year", &|b| b[37..41].copy_from_slice(&31_536_000u32.to_be_bytes())),
            ("a key for every message", &|b| b[41..45].copy_from_slice(&1u32.to_be_bytes())),
            ("rows that overlap", &|b| b[rows + 3] = 0x10),
            ("a row that ends before it begins", &|b| b[rows + 1] = 5),
            ("no rows", &|b| {
                b.truncate(rows);
                b[rows - 1] = 0;
            }),
            ("a row too few", &|b| b.truncate(rows + 16)),
        ];
        for (what, change) in changes {
            assert_eq!(case(change), Err(Error::Malformed), "{what}");
        }
    }
}
