//! The authority's list of what is no longer trusted (`spec/channel.md`, H105).
//!
//! `'MBRL' | number u32 | this_update u32 | next_update u32 | prev_hash 32 | n u16 | n x (type u8 | id 16 | reason u8 |
//! time u32) | signature 64`, signature of the authority over `H("modbatt1 crl" || preceding)`. Times are Unix
//! seconds. A list is complete: it repeats what the lists before it revoked.

use crate::{
    Digest, Error,
    binding::verify_tail,
    codec::{Fields, Layout},
    delegation::DelegationId,
    hash::sha256,
    id::{BindingId, Cid, PairingId},
    sign::{PublicKey, Signer},
};
use rand_core::CryptoRng;

/// Most entries of a list.
pub const ENTRIES_MAX: usize = 64;
const HEAD_LEN: usize = 4 + 4 + 4 + 4 + 32 + 2;
const ENTRY_LEN: usize = 1 + 16 + 1 + 4;
/// Longest list in bytes.
pub const LIST_MAX: usize = HEAD_LEN + ENTRIES_MAX * ENTRY_LEN + 64;
/// How long after `next_update` a list still serves, in seconds: 30 days. Later no new pairing is accepted.
pub const GRACE_S: u32 = 30 * 86_400;

/// What is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// Code 1: a component, with every binding and pairing that it has.
    Component(Cid),
    /// Code 2: one binding, with its pairings.
    Binding(BindingId),
    /// Code 3: one pairing.
    Pairing(PairingId),
    /// Code 4: a batch authority, by [`batch_id`] of its key: what it certified is no longer believed.
    Batch([u8; 16]),
    /// Code 7: a delegation: who holds it acts no more (codes 5 and 6 are the ledger's own, L100).
    Delegation(DelegationId),
}

impl Subject {
    /// `type u8 | id 16`.
    pub fn to_bytes(self) -> [u8; 17] {
        let (code, id) = match self {
            Subject::Component(Cid(id)) => (1, id),
            Subject::Binding(BindingId(id)) => (2, id),
            Subject::Pairing(PairingId(id)) => (3, id),
            Subject::Batch(id) => (4, id),
            Subject::Delegation(DelegationId(id)) => (7, id),
        };
        let mut out = [code; 17];
        out[1..].copy_from_slice(&id);
        out
    }

    /// Reads `type u8 | id 16`.
    pub fn from_bytes(bytes: &[u8; 17]) -> Result<Self, Error> {
        let mut f = Fields::new(bytes);
        Ok(match f.u8()? {
            1 => Subject::Component(Cid(f.array()?)),
            2 => Subject::Binding(BindingId(f.array()?)),
            3 => Subject::Pairing(PairingId(f.array()?)),
            4 => Subject::Batch(f.array()?),
            7 => Subject::Delegation(DelegationId(f.array()?)),
            _ => return Err(Error::Malformed),
        })
    }
}

/// `H(compressed key)[0:16]`: names a batch authority.
pub fn batch_id(key: &PublicKey) -> [u8; 16] {
    let h = sha256(&[&key.0]);
    let mut id = [0; 16];
    id.copy_from_slice(&h[..16]);
    id
}

/// Why; it changes nothing about what a device does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// Not told.
    Unspecified = 0,
    /// A key is in other hands.
    KeyCompromise = 1,
    /// Lost or stolen.
    Lost = 2,
    /// Another one took its place.
    Superseded = 3,
    /// Out of service.
    Retired = 4,
    /// It did what it must not.
    Violation = 5,
}

impl Reason {
    /// The reason with wire code `code`.
    pub fn from_code(code: u8) -> Result<Self, Error> {
        Ok(match code {
            0 => Reason::Unspecified,
            1 => Reason::KeyCompromise,
            2 => Reason::Lost,
            3 => Reason::Superseded,
            4 => Reason::Retired,
            5 => Reason::Violation,
            _ => return Err(Error::Malformed),
        })
    }

    /// Whether what was done before counts for nothing either: whoever has a stolen key dates what it signs as it likes.
    pub fn voids_the_past(self) -> bool {
        matches!(self, Reason::KeyCompromise | Reason::Lost | Reason::Violation)
    }
}

/// One row of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revoked {
    /// What.
    pub subject: Subject,
    /// Why.
    pub reason: Reason,
    /// Since when, Unix seconds.
    pub time: u32,
}

/// A list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    /// Grows by one with each list; the first is 1.
    pub number: u32,
    /// When it was issued, Unix seconds.
    pub this_update: u32,
    /// When the next one will have been issued, Unix seconds.
    pub next_update: u32,
    /// [`hash_of`] the list with the number before; zero in the first.
    pub previous: Digest,
    /// What is revoked.
    pub entries: heapless::Vec<Revoked, ENTRIES_MAX>,
}

/// Hash of a whole list, signature included.
pub fn hash_of(list: &[u8]) -> Digest {
    sha256(&[list])
}

impl RevocationList {
    /// The signed bytes.
    pub fn issue(
        &self,
        key: &impl Signer,
        rng: &mut impl CryptoRng,
    ) -> Result<heapless::Vec<u8, LIST_MAX>, Error> {
        let mut layout = Layout::<LIST_MAX>::default().put(&[
            b"MBRL",
            &self.number.to_be_bytes(),
            &self.this_update.to_be_bytes(),
            &self.next_update.to_be_bytes(),
            &self.previous,
            &(self.entries.len() as u16).to_be_bytes(),
        ])?;
        for e in &self.entries {
            layout = layout.put(&[&e.subject.to_bytes(), &[e.reason as u8], &e.time.to_be_bytes()])?;
        }
        let body = layout.done();
        let sig = key.sign(&sha256(&[b"modbatt1 crl", &body]), rng);
        Ok(Layout::default().put(&[&body, &sig.0])?.done())
    }

    /// The number that `bytes` claims: a list that is not above the one held need not be verified.
    pub fn claimed_number(bytes: &[u8]) -> Result<u32, Error> {
        let mut f = Fields::new(bytes);
        if &f.array::<4>()? != b"MBRL" {
            return Err(Error::Malformed);
        }
        f.u32()
    }

    /// Reads and verifies under the authority's key.
    pub fn open(bytes: &[u8], authority: &PublicKey) -> Result<Self, Error> {
        let mut f = Fields::new(bytes);
        if &f.array::<4>()? != b"MBRL" {
            return Err(Error::Malformed);
        }
        let (number, this_update, next_update, previous) = (f.u32()?, f.u32()?, f.u32()?, f.array()?);
        let n = usize::from(f.u16()?);
        if n > ENTRIES_MAX || number == 0 || next_update < this_update {
            return Err(Error::Malformed);
        }
        let mut entries = heapless::Vec::new();
        for _ in 0..n {
            let subject = Subject::from_bytes(&f.array()?)?;
            let (reason, time) = (Reason::from_code(f.u8()?)?, f.u32()?);
            entries.push(Revoked { subject, reason, time }).map_err(|_| Error::Malformed)?;
        }
        let _sig: [u8; 64] = f.array()?;
        f.end()?;
        verify_tail(b"modbatt1 crl", bytes, authority)?;
        Ok(RevocationList { number, this_update, next_update, previous, entries })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::sign::SigningKey;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    fn list(entries: usize) -> RevocationList {
        let row = |i: usize| Revoked {
            subject: match i % 4 {
                0 => Subject::Component(Cid([i as u8; 16])),
                1 => Subject::Binding(BindingId([i as u8; 16])),
                2 => Subject::Pairing(PairingId([i as u8; 16])),
                _ => Subject::Batch([i as u8; 16]),
            },
            reason: Reason::Lost,
            time: 100 + i as u32,
        };
        RevocationList {
            number: 7,
            this_update: 1_000,
            next_update: 2_000,
            previous: [9; 32],
            entries: (0..entries).map(row).collect(),
        }
    }

    #[test]
    fn a_list_reads_as_written_and_every_byte_counts() {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let key = SigningKey::generate(&mut rng);
        for n in [0, 1, ENTRIES_MAX] {
            let bytes = list(n).issue(&key, &mut rng).unwrap();
            assert_eq!(bytes.len(), 50 + 22 * n + 64);
            assert_eq!(RevocationList::open(&bytes, &key.public()), Ok(list(n)), "{n} entries");
            assert_eq!(RevocationList::claimed_number(&bytes), Ok(7));
        }
        let bytes = list(3).issue(&key, &mut rng).unwrap();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(RevocationList::open(&bad, &key.public()).is_err(), "byte {at}");
            assert!(RevocationList::open(&bytes[..at], &key.public()).is_err(), "cut at {at}");
        }
    }

    /// Codes are those of the specification, and no others exist (H105).
    #[test]
    fn codes_of_subjects_and_reasons() {
        let id = core::array::from_fn(|i| i as u8);
        let subjects = [
            (1, Subject::Component(Cid(id))),
            (2, Subject::Binding(BindingId(id))),
            (3, Subject::Pairing(PairingId(id))),
            (4, Subject::Batch(id)),
            (7, Subject::Delegation(DelegationId(id))),
        ];
        let reasons = [
            (0, Reason::Unspecified),
            (1, Reason::KeyCompromise),
            (2, Reason::Lost),
            (3, Reason::Superseded),
            (4, Reason::Retired),
            (5, Reason::Violation),
        ];
        for code in 0..=u8::MAX {
            let mut bytes = [code; 17];
            bytes[1..].copy_from_slice(&id);
            let subject = subjects.iter().find(|(own, _)| *own == code).map(|(_, subject)| *subject);
            assert_eq!(Subject::from_bytes(&bytes), subject.ok_or(Error::Malformed), "subject {code}");
            assert!(subject.is_none_or(|subject| subject.to_bytes() == bytes), "subject {code}");
            let reason = reasons.iter().find(|(own, _)| *own == code).map(|(_, reason)| *reason);
            assert_eq!(Reason::from_code(code), reason.ok_or(Error::Malformed), "reason {code}");
        }
    }

    /// Signed by the right key and still not a list.
    #[test]
    fn what_is_signed_must_make_sense_too() {
        let mut rng = ChaCha20Rng::seed_from_u64(6);
        let key = SigningKey::generate(&mut rng);
        let resign = |change: &dyn Fn(&mut std::vec::Vec<u8>)| {
            let mut body = list(1).issue(&key, &mut ChaCha20Rng::seed_from_u64(1)).unwrap()[..72].to_vec();
            change(&mut body);
            let sig = key.sign_rfc6979(&sha256(&[b"modbatt1 crl", &body]));
            body.extend_from_slice(&sig.0);
            RevocationList::open(&body, &key.public()).map(|_| ())
        };
        assert_eq!(resign(&|_| {}), Ok(()));
        // The next one may be due at once.
        assert_eq!(resign(&|b| b.copy_within(8..12, 12)), Ok(()));
        for (what, at, value) in [
            ("number 0", 7, 0),
            ("unknown type", 50, 9),
            ("unknown reason", 67, 6),
            ("more entries than there are", 49, 2),
            ("fewer entries than there are", 49, 0),
            ("ends before it begins", 12, 0xFF),
        ] {
            let change = |b: &mut std::vec::Vec<u8>| match what {
                "ends before it begins" => b[8] = value,
                _ => b[at] = value,
            };
            assert_eq!(resign(&change), Err(Error::Malformed), "{what}");
        }
    }
}
