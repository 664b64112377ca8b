//! What lets somebody else act as the authority for a while (`spec/channel.md`, H160 to H165).
//!
//! ```text
//! delegation  1 | number u32 | delegate's SPK 68 | issued u32 | not_before u32 | not_after u32 | lease_s u32 |
//!             operations u8 | n u8 | n x cid 16 | signature 64              "modbatt1 delegation", the authority
//! revocation  1 | delegation id 16 | type u8 | id 16 | reason u8 | time u32 | signature 64
//!                                                                           "modbatt1 delegate revoke", the delegate
//! act         1 | delegation id 16 | number u32 | previous 32 | time u32 | H(body) 32 | signature 64
//!                                                                           "modbatt1 act", the delegate
//! ```
//!
//! Times are Unix seconds. A delegation names packs: a delegate acts on relationships of which one of these is a side.

use crate::{
    Digest, Error,
    binding::verify_tail,
    codec::{Fields, Layout},
    hash::sha256,
    id::Cid,
    metadata::{ClearMetadata, PairingContext},
    revocation::{Reason, Subject},
    sign::{PublicKey, Signer},
    spk::{SPK_LEN, Spk},
};
use rand_core::CryptoRng;

/// Most packs that a delegation names.
pub const PACKS_MAX: usize = 8;
/// Longest window of a delegation in seconds: 30 days.
pub const WINDOW_MAX_S: u32 = 30 * 86_400;
/// Longest lease that a delegate may grant, in seconds: 90 days.
pub const LEASE_MAX_S: u32 = 90 * 86_400;
/// Shortest lease that a delegate may be limited to, in seconds.
pub const LEASE_MIN_S: u32 = 60;
const HEAD_LEN: usize = 1 + 4 + SPK_LEN + 4 * 4 + 2;
/// Longest delegation in bytes.
pub const DELEGATION_MAX: usize = HEAD_LEN + 16 * PACKS_MAX + 64;
/// Length of a delegate's revocation in bytes.
pub const REVOCATION_LEN: usize = 1 + 16 + 17 + 1 + 4 + 64;
/// Length of an act in bytes.
pub const ACT_LEN: usize = 1 + 16 + 4 + 32 + 4 + 32 + 64;

const DELEGATION: &[u8] = b"modbatt1 delegation";
const REVOCATION: &[u8] = b"modbatt1 delegate revoke";
const ACT: &[u8] = b"modbatt1 act";

/// What a delegate may do; the bits of the operations byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Operation {
    /// Bit 0: issue pairing certificates, so that keys are made anew.
    Pair = 1,
    /// Bit 1: introduce entities to each other, also where that replaces a binding.
    Bind = 2,
    /// Bit 2: end pairings and bindings.
    Revoke = 4,
}

/// Every operation, by name.
pub const OPERATIONS: [(Operation, &str); 3] =
    [(Operation::Pair, "pair"), (Operation::Bind, "bind"), (Operation::Revoke, "revoke")];

/// Names a delegation: the first 16 bytes of `H(delegation)`, signature included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DelegationId(pub [u8; 16]);

impl DelegationId {
    /// The name of the delegation with these bytes.
    pub fn of(delegation: &[u8]) -> Self {
        let hash = sha256(&[delegation]);
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        DelegationId(id)
    }
}

impl core::fmt::Display for DelegationId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// Why a delegate may not do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Before or after the window.
    Window,
    /// No side is a pack that the delegation names.
    Scope,
    /// The delegation does not name the operation.
    Operation,
    /// The certificate grants more than a delegate may.
    Grant,
}

/// The authority lets the holder of a key act in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// Grows with each delegation of an authority.
    pub number: u32,
    /// The delegate's keys.
    pub delegate: Spk,
    /// When it was signed.
    pub issued: u32,
    /// From when it holds; not before `issued`.
    pub not_before: u32,
    /// When it ends (exclusive), at most 30 days after `not_before`.
    pub not_after: u32,
    /// Longest lease that the delegate grants, in seconds.
    pub lease_s: u32,
    /// Bits of [`Operation`].
    pub operations: u8,
    /// For which packs, 1 to 8.
    pub packs: heapless::Vec<Cid, PACKS_MAX>,
}

impl Delegation {
    /// The signed bytes.
    ///
    /// # Errors
    /// [`Error::Malformed`] for what [`Delegation::open`] would refuse.
    pub fn issue(
        &self,
        authority: &impl Signer,
        rng: &mut impl CryptoRng,
    ) -> Result<heapless::Vec<u8, DELEGATION_MAX>, Error> {
        self.check()?;
        let mut layout = Layout::<DELEGATION_MAX>::default().put(&[
            &[1],
            &self.number.to_be_bytes(),
            &self.delegate.0,
            &self.issued.to_be_bytes(),
            &self.not_before.to_be_bytes(),
            &self.not_after.to_be_bytes(),
            &self.lease_s.to_be_bytes(),
            &[self.operations, self.packs.len() as u8],
        ])?;
        for pack in &self.packs {
            layout = layout.put(&[&pack.0])?;
        }
        let body = layout.done();
        let signature = authority.sign(&sha256(&[DELEGATION, &body]), rng);
        Ok(Layout::default().put(&[&body, &signature.0])?.done())
    }

    /// Reads and verifies under the authority's key.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::InvalidKey`] for what is no key, [`Error::NotAuthentic`].
    pub fn open(bytes: &[u8], authority: &PublicKey) -> Result<Self, Error> {
        let read = Self::read(bytes)?;
        verify_tail(DELEGATION, bytes, authority)?;
        Ok(read)
    }

    /// Reads without verifying.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::InvalidKey`].
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(bytes);
        if f.u8()? != 1 {
            return Err(Error::Malformed);
        }
        let number = f.u32()?;
        let delegate = Spk::from_slice(f.slice(SPK_LEN)?)?;
        let (issued, not_before, not_after, lease_s) = (f.u32()?, f.u32()?, f.u32()?, f.u32()?);
        let (operations, n) = (f.u8()?, f.u8()?);
        let mut packs = heapless::Vec::new();
        for _ in 0..n {
            packs.push(Cid(f.array()?)).map_err(|_| Error::Malformed)?;
        }
        let _signature: [u8; 64] = f.array()?;
        f.end()?;
        let read = Delegation { number, delegate, issued, not_before, not_after, lease_s, operations, packs };
        read.check()?;
        Ok(read)
    }

    fn check(&self) -> Result<(), Error> {
        let window = self.issued <= self.not_before
            && self.not_before < self.not_after
            && self.not_after - self.not_before <= WINDOW_MAX_S;
        let lease = (LEASE_MIN_S..=LEASE_MAX_S).contains(&self.lease_s);
        let operations = (1..=7).contains(&self.operations);
        // Ascending: of one list there is one encoding.
        let packs = !self.packs.is_empty() && self.packs.windows(2).all(|w| w[0] < w[1]);
        if self.number > 0 && window && lease && operations && packs { Ok(()) } else { Err(Error::Malformed) }
    }

    /// Whether it holds at `time`.
    pub fn holds_at(&self, time: u32) -> bool {
        (self.not_before..self.not_after).contains(&time)
    }

    /// Whether it names `operation`.
    pub fn names(&self, operation: Operation) -> bool {
        self.operations & operation as u8 != 0
    }

    /// Whether the delegate may do `operation` to a relationship of `sides`.
    ///
    /// # Errors
    /// [`Denied::Operation`] before [`Denied::Scope`].
    pub fn permits(&self, operation: Operation, sides: &[Cid; 2]) -> Result<(), Denied> {
        if !self.names(operation) {
            return Err(Denied::Operation);
        }
        if sides.iter().any(|side| self.packs.contains(side)) { Ok(()) } else { Err(Denied::Scope) }
    }

    /// Whether the delegate may issue a certificate with `metadata`: made within the window, no longer a lease than it
    /// may grant, for battery management or diagnostics, and nothing in clear or compact.
    ///
    /// # Errors
    /// As [`Delegation::permits`], then [`Denied::Window`], then [`Denied::Grant`].
    pub fn permits_certificate(&self, metadata: &ClearMetadata) -> Result<(), Denied> {
        self.permits(Operation::Pair, &metadata.entities.each_ref().map(|e| e.cid))?;
        let timing = &metadata.timing;
        if !self.holds_at(timing.created) {
            return Err(Denied::Window);
        }
        // A lease begins with the earlier of both, whatever the certificate says of the later one.
        let begins = timing.created.min(timing.valid_from);
        let lease = timing.expires <= begins.saturating_add(self.lease_s);
        let context =
            matches!(metadata.context, PairingContext::BatteryManagement | PairingContext::Diagnostics);
        let sealed = metadata.unencrypted_allowed.is_empty() && metadata.compact.is_empty();
        if lease && context && sealed { Ok(()) } else { Err(Denied::Grant) }
    }
}

/// A delegate ends a pairing or a binding on the devices that it concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelegateRevocation {
    /// By which right.
    pub delegation: DelegationId,
    /// A pairing or a binding.
    pub subject: Subject,
    /// Why.
    pub reason: Reason,
    /// When, Unix seconds.
    pub time: u32,
}

impl DelegateRevocation {
    /// The signed bytes.
    pub fn issue(&self, delegate: &impl Signer, rng: &mut impl CryptoRng) -> [u8; REVOCATION_LEN] {
        let mut out = [0; REVOCATION_LEN];
        out[0] = 1;
        out[1..17].copy_from_slice(&self.delegation.0);
        out[17..34].copy_from_slice(&self.subject.to_bytes());
        out[34] = self.reason as u8;
        out[35..39].copy_from_slice(&self.time.to_be_bytes());
        let signature = delegate.sign(&sha256(&[REVOCATION, &out[..39]]), rng);
        out[39..].copy_from_slice(&signature.0);
        out
    }

    /// Reads and verifies under the delegate's key.
    ///
    /// # Errors
    /// [`Error::Malformed`], also for a subject that only the authority withdraws; [`Error::NotAuthentic`].
    pub fn open(bytes: &[u8], delegate: &PublicKey) -> Result<Self, Error> {
        let mut f = Fields::new(bytes);
        if f.u8()? != 1 {
            return Err(Error::Malformed);
        }
        let delegation = DelegationId(f.array()?);
        let subject = Subject::from_bytes(&f.array()?)?;
        if !matches!(subject, Subject::Binding(_) | Subject::Pairing(_)) {
            return Err(Error::Malformed);
        }
        let (reason, time) = (Reason::from_code(f.u8()?)?, f.u32()?);
        let _signature: [u8; 64] = f.array()?;
        f.end()?;
        verify_tail(REVOCATION, bytes, delegate)?;
        Ok(DelegateRevocation { delegation, subject, reason, time })
    }
}

/// One entry of a delegate's journal: what it did, in order, each naming the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Act {
    /// By which right.
    pub delegation: DelegationId,
    /// 1 for the first act under this delegation, one more for each further one.
    pub number: u32,
    /// [`Act::hash_of`] the act before; zero in the first.
    pub previous: Digest,
    /// When it was done, Unix seconds.
    pub time: u32,
    /// Hash of what the ledger is to record (`spec/ledger.md`, L122).
    pub body: Digest,
}

impl Act {
    /// The signed bytes.
    pub fn issue(&self, delegate: &impl Signer, rng: &mut impl CryptoRng) -> [u8; ACT_LEN] {
        let mut out = [0; ACT_LEN];
        out[0] = 1;
        out[1..17].copy_from_slice(&self.delegation.0);
        out[17..21].copy_from_slice(&self.number.to_be_bytes());
        out[21..53].copy_from_slice(&self.previous);
        out[53..57].copy_from_slice(&self.time.to_be_bytes());
        out[57..89].copy_from_slice(&self.body);
        let signature = delegate.sign(&sha256(&[ACT, &out[..89]]), rng);
        out[89..].copy_from_slice(&signature.0);
        out
    }

    /// Reads without verifying: which delegation it names says under which key to verify.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(bytes);
        if f.u8()? != 1 {
            return Err(Error::Malformed);
        }
        let (delegation, number) = (DelegationId(f.array()?), f.u32()?);
        let (previous, time, body) = (f.array()?, f.u32()?, f.array()?);
        let _signature: [u8; 64] = f.array()?;
        f.end()?;
        if number == 0 {
            return Err(Error::Malformed);
        }
        Ok(Act { delegation, number, previous, time, body })
    }

    /// Reads and verifies under the delegate's key.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::NotAuthentic`].
    pub fn open(bytes: &[u8], delegate: &PublicKey) -> Result<Self, Error> {
        let act = Self::read(bytes)?;
        verify_tail(ACT, bytes, delegate)?;
        Ok(act)
    }

    /// What the next act names: `H(act)`, signature included.
    pub fn hash_of(act: &[u8]) -> Digest {
        sha256(&[act])
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::sign::SigningKey;
    use crate::{
        id::{BindingId, PairingId, Role},
        metadata::{Entity, Timing},
        spk::SpkSecret,
    };
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
    use std::vec::Vec;

    fn packs(names: &[&str]) -> heapless::Vec<Cid, PACKS_MAX> {
        let mut cids: Vec<Cid> = names.iter().map(|n| Cid::of(n)).collect();
        cids.sort();
        cids.into_iter().collect()
    }

    fn delegation(delegate: Spk) -> Delegation {
        Delegation {
            number: 3,
            delegate,
            issued: 1_000,
            not_before: 1_000,
            not_after: 1_000 + WINDOW_MAX_S,
            lease_s: 86_400,
            operations: 7,
            packs: packs(&["pack-0001", "pack-0002"]),
        }
    }

    #[test]
    fn only_the_authority_delegates_and_within_bounds() {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let [authority, other] = core::array::from_fn(|_| SigningKey::generate(&mut rng));
        let delegate = SpkSecret::generate(&mut rng).unwrap().public();
        let good = delegation(delegate);
        let bytes = good.issue(&authority, &mut rng).unwrap();
        assert_eq!(bytes.len(), HEAD_LEN + 32 + 64);
        assert_eq!(Delegation::open(&bytes, &authority.public()), Ok(good.clone()));
        assert_eq!(Delegation::open(&bytes, &other.public()), Err(Error::NotAuthentic));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 4;
            assert!(Delegation::open(&bad, &authority.public()).is_err(), "byte {at}");
            assert_ne!(DelegationId::of(&bad), DelegationId::of(&bytes));
        }
        let nine: Vec<&str> =
            (0..9).map(|i| ["a-0", "b-0", "c-0", "d-0", "e-0", "f-0", "g-0", "h-0", "i-0"][i]).collect();
        assert!(Delegation { packs: packs(&nine[..8]), ..good.clone() }.issue(&authority, &mut rng).is_ok());
        let twice = [Cid([1; 16]), Cid([1; 16])].into_iter().collect();
        let descending = [Cid([2; 16]), Cid([1; 16])].into_iter().collect();
        for (what, bad) in [
            ("a window of more than 30 days", Delegation { not_after: good.not_after + 1, ..good.clone() }),
            ("an empty window", Delegation { not_after: 1_000, ..good.clone() }),
            ("signed after it begins", Delegation { issued: 1_001, ..good.clone() }),
            ("a lease of more than 90 days", Delegation { lease_s: LEASE_MAX_S + 1, ..good.clone() }),
            ("a lease of a moment", Delegation { lease_s: 59, ..good.clone() }),
            ("no operation", Delegation { operations: 0, ..good.clone() }),
            ("an unknown operation", Delegation { operations: 8, ..good.clone() }),
            ("number 0", Delegation { number: 0, ..good.clone() }),
            ("no pack", Delegation { packs: heapless::Vec::new(), ..good.clone() }),
            ("a pack twice", Delegation { packs: twice, ..good.clone() }),
            ("packs in another order", Delegation { packs: descending, ..good.clone() }),
        ] {
            assert_eq!(bad.issue(&authority, &mut rng), Err(Error::Malformed), "{what}");
        }
    }

    #[test]
    fn operation_scope_window_and_grant_are_judged_in_this_order() {
        let mut rng = ChaCha20Rng::seed_from_u64(6);
        let own = delegation(SpkSecret::generate(&mut rng).unwrap().public());
        let (pack, other) = (Cid::of("pack-0001"), Cid::of("pack-0003"));
        let module = Cid::of("module-0001");
        assert_eq!(own.permits(Operation::Pair, &[pack, module]), Ok(()));
        assert_eq!(own.permits(Operation::Bind, &[module, pack]), Ok(()));
        assert_eq!(own.permits(Operation::Bind, &[other, module]), Err(Denied::Scope));
        for (operation, _) in OPERATIONS {
            let without = Delegation { operations: 7 & !(operation as u8), ..own.clone() };
            assert_eq!(without.permits(operation, &[other, module]), Err(Denied::Operation));
        }
        for (time, holds) in [(999, false), (1_000, true), (own.not_after - 1, true), (own.not_after, false)]
        {
            assert_eq!(own.holds_at(time), holds, "{time}");
        }
        let entity = |cid, role| Entity { cid, role, access: heapless::Vec::new() };
        let good = ClearMetadata {
            pairing_id: PairingId([1; 16]),
            context: PairingContext::BatteryManagement,
            entities: [entity(pack, Role::Pack), entity(module, Role::Module)],
            timing: Timing { created: 2_000, valid_from: 2_000, expires: 88_400, max_uses: 0 },
            operations: 7,
            unencrypted_allowed: heapless::Vec::new(),
            salt: [3; 32],
            iv_seed: [4; 16],
            policy_version: 1,
            compact: heapless::Vec::new(),
            crl_number: 0,
        };
        assert_eq!(own.permits_certificate(&good), Ok(()));
        let timing = |created, expires| Timing { created, expires, ..good.timing };
        let strangers = [entity(other, Role::Pack), entity(module, Role::Module)];
        for (metadata, why) in [
            (
                ClearMetadata { entities: strangers, timing: timing(999, 9_999_999), ..good.clone() },
                Denied::Scope,
            ),
            (ClearMetadata { timing: timing(999, 9_999_999), ..good.clone() }, Denied::Window),
            (
                ClearMetadata { timing: timing(own.not_after, own.not_after + 1), ..good.clone() },
                Denied::Window,
            ),
            (ClearMetadata { timing: timing(2_000, 88_401), ..good.clone() }, Denied::Grant),
            (ClearMetadata { context: PairingContext::FirmwareUpdate, ..good.clone() }, Denied::Grant),
            (ClearMetadata { context: PairingContext::Emergency, ..good.clone() }, Denied::Grant),
            (
                ClearMetadata { unencrypted_allowed: [0x421].into_iter().collect(), ..good.clone() },
                Denied::Grant,
            ),
            (ClearMetadata { compact: [0x502].into_iter().collect(), ..good.clone() }, Denied::Grant),
        ] {
            assert_eq!(own.permits_certificate(&metadata), Err(why), "{metadata:?}");
        }
    }

    #[test]
    fn a_delegate_withdraws_pairings_and_bindings_only() {
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let [delegate, other] = core::array::from_fn(|_| SigningKey::generate(&mut rng));
        let good = DelegateRevocation {
            delegation: DelegationId([1; 16]),
            subject: Subject::Binding(BindingId([2; 16])),
            reason: Reason::Lost,
            time: 9,
        };
        let bytes = good.issue(&delegate, &mut rng);
        assert_eq!(DelegateRevocation::open(&bytes, &delegate.public()), Ok(good));
        assert_eq!(DelegateRevocation::open(&bytes, &other.public()), Err(Error::NotAuthentic));
        for at in 0..REVOCATION_LEN {
            let mut bad = bytes;
            bad[at] ^= 4;
            assert!(DelegateRevocation::open(&bad, &delegate.public()).is_err(), "byte {at}");
        }
        for subject in [Subject::Component(Cid([2; 16])), Subject::Batch([2; 16])] {
            let bytes = DelegateRevocation { subject, ..good }.issue(&delegate, &mut rng);
            assert_eq!(DelegateRevocation::open(&bytes, &delegate.public()), Err(Error::Malformed));
        }
    }

    #[test]
    fn acts_are_a_chain_under_one_key() {
        let mut rng = ChaCha20Rng::seed_from_u64(8);
        let [delegate, other] = core::array::from_fn(|_| SigningKey::generate(&mut rng));
        let first =
            Act { delegation: DelegationId([1; 16]), number: 1, previous: [0; 32], time: 5, body: [6; 32] };
        let bytes = first.issue(&delegate, &mut rng);
        assert_eq!(Act::open(&bytes, &delegate.public()), Ok(first));
        assert_eq!(Act::open(&bytes, &other.public()), Err(Error::NotAuthentic));
        for at in 0..ACT_LEN {
            let mut bad = bytes;
            bad[at] ^= 4;
            assert!(Act::open(&bad, &delegate.public()).is_err(), "byte {at}");
        }
        let none = Act { number: 0, ..first }.issue(&delegate, &mut rng);
        assert_eq!(Act::read(&none), Err(Error::Malformed));
    }
}
