//! What becomes of components after their registration (L131 to L134), who may be paired with whom (L135 to L140), what is
//! stated in the context of an LCT (L144 to L147), who saw whom (L148), and what waits in queues (L151).

use super::*;
use crate::authorization::{Comparison, Condition, MAX_CONDITIONS, Rule};

object! {
    /// How far the history of a component reaches. Absent before the first move or version.
    History {
        /// Moves recorded.
        moves: u32 = 1,
        /// Versions recorded.
        versions: u32 = 2,
        /// [`Party::bit`] of all who have it suspended; while it is not, of those who last had.
        suspended_by: u8 = 3,
    }
}

impl History {
    /// Of a component of which nothing was told since its registration.
    #[must_use]
    pub fn empty() -> Self {
        Self { moves: 0, versions: 0, suspended_by: 0 }
    }
}

codes! {
    /// Who has a say in what becomes of a component.
    Party {
        /// An authority of the chain.
        Authority = 1 "authority",
        /// Its owner.
        Owner = 2 "owner",
        /// The batch authority that certified it.
        Manufacturer = 3 "manufacturer",
    }
}

impl Party {
    /// Its place in a set of parties: 1 authority, 2 owner, 4 manufacturer.
    #[must_use]
    pub const fn bit(self) -> u8 {
        1 << (self as u8 - 1)
    }
}

object! {
    /// A component went from one state into another.
    StateChange {
        /// Where it was.
        from: State = 1,
        /// Where it went.
        to: State = 2,
        /// `lct::revocation::Reason` code.
        reason: u8 = 3,
        /// Who said so.
        by: Party = 4,
        /// Its key.
        key: PublicKey = 5,
        /// When it was signed, Unix milliseconds.
        signed_ms: u64 = 6,
        /// Height of recording.
        height: u64 = 7,
        /// Block time of recording, Unix milliseconds.
        time_ms: u64 = 8,
        /// Transaction that recorded it.
        tx: Digest = 9,
    }
}

object! {
    /// What a component told of its versions.
    VersionRecord {
        /// Hardware version.
        hw: u32 = 1,
        /// Firmware version.
        fw: u32 = 2,
        /// SHA-256 of the firmware's image.
        image: Digest = 3,
        /// Whether the manufacturer or an authority vouched for it.
        vouched: bool = 4,
        /// When it was signed, Unix milliseconds.
        signed_ms: u64 = 5,
        /// Height of recording.
        height: u64 = 6,
        /// Block time of recording, Unix milliseconds.
        time_ms: u64 = 7,
        /// Transaction that recorded it.
        tx: Digest = 8,
    }
}

codes! {
    /// How much is asked of partners.
    Level {
        /// Trust of at least 0.50.
        Basic = 1 "basic",
        /// Trust of at least 0.70.
        Enhanced = 2 "enhanced",
        /// Trust of at least 0.85.
        Critical = 3 "critical",
    }
}

macro_rules! ids {
    ($($(#[$meta:meta])* $name:ident,)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(
            /// The bytes.
            pub [u8; 16],
        );
    )*};
}

ids! {
    /// Identity of an authorisation.
    AuthorizationId,
    /// Identity of a request in a queue.
    QueueId,
}

impl QueueId {
    /// Identity of the request that a transaction makes: `H("modbatt1 queue" || transaction)[0:16]`.
    #[must_use]
    pub fn of(tx: &Digest) -> Self {
        let digest = lct::hash::sha256(&[b"modbatt1 queue", tx]);
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }
}

/// Most authorisations in force that one component gives.
pub const MAX_AUTHORIZATIONS: usize = 100;
/// Most requests that wait for one component.
pub const MAX_QUEUED: usize = 100;
/// Most components with which one notes what was seen.
pub const MAX_SEEN: usize = 32;

list! {
    /// Authorisations that a component gives, oldest first; some may have expired.
    Authorizations of AuthorizationId, at most MAX_AUTHORIZATIONS
}

list! {
    /// Requests that wait for a component, oldest first.
    Queue of QueueId, at most MAX_QUEUED
}

impl Field for Rule {
    fn put(&self, w: &mut Writer) {
        w.array(self.0.len());
        for condition in &self.0 {
            w.array(2).uint(condition.comparison as u64).uint(condition.ppm.into());
        }
    }
    fn take(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        let n = r.array(MAX_CONDITIONS)?;
        let mut conditions = Vec::with_capacity(n);
        for _ in 0..n {
            if r.array(2)? != 2 {
                return Err(FormatError::Unexpected);
            }
            let comparison = Comparison::from_code(r.int()?).ok_or(FormatError::Unexpected)?;
            conditions.push(Condition { comparison, ppm: r.int()? });
        }
        Ok(Self(conditions))
    }
}

object! {
    /// A component lets itself be paired with another.
    Authorization {
        /// Who lets.
        a: Cid = 1,
        /// Whom.
        b: Cid = 2,
        /// For what.
        context: String = 3,
        /// How much is asked of the partner.
        level: Level = 4,
        /// What else its trust must meet.
        rule: Rule = 5,
        /// Whether it was revoked.
        status: Status = 6,
        /// How often it was given, from 1.
        version: u32 = 7,
        /// Height of the last time.
        height: u64 = 8,
        /// Its block time, Unix milliseconds.
        time_ms: u64 = 9,
        /// Block time at which it ends, Unix milliseconds.
        expires_ms: u64 = 10,
    }
}

object! {
    /// A component that is known by its commitment only.
    AnonymousComponent {
        /// Account that recorded it.
        holder: PublicKey = 1,
        /// Commitment to the manufacturer's id.
        manufacturer: Digest = 2,
        /// Commitment to the component's type.
        category: Digest = 3,
        /// Height of recording.
        height: u64 = 4,
        /// Block time of recording, Unix milliseconds.
        time_ms: u64 = 5,
    }
}

object! {
    /// One committed component lets itself be paired with another.
    AnonymousAuthorization {
        /// Account that recorded it.
        holder: PublicKey = 1,
        /// Who lets.
        a: Digest = 2,
        /// Whom.
        b: Digest = 3,
        /// Commitment to the rule.
        rule: Digest = 4,
        /// How much is asked of the partner.
        level: Level = 5,
        /// Least trust of the partner, ppm.
        trust_ppm: u32 = 6,
        /// Height of recording.
        height: u64 = 7,
        /// Block time of recording, Unix milliseconds.
        time_ms: u64 = 8,
        /// Block time at which it ends, Unix milliseconds.
        expires_ms: u64 = 9,
    }
}

codes! {
    /// What an anonymous withdrawal is of.
    RevocationScope {
        /// One committed component or authorisation.
        Individual = 1 "individual",
        /// Every component of the holder with this manufacturer or category.
        Pattern = 2 "pattern",
        /// Every component that the holder had recorded.
        Blanket = 3 "blanket",
    }
}

object! {
    /// What a holder withdrew.
    AnonymousRevocation {
        /// What it is of.
        scope: RevocationScope = 1,
        /// Why: 1 safety, 2 security, 3 other.
        category: u8 = 2,
        /// Block time from which it is in effect, Unix milliseconds.
        effective_ms: u64 = 3,
        /// Height of recording.
        height: u64 = 4,
        /// Block time of recording, Unix milliseconds.
        time_ms: u64 = 5,
    }
}

object! {
    /// What a commitment was opened to.
    Opened {
        /// `lct::commitment::Field` code.
        field: u8 = 1,
        /// The value.
        value: String = 2,
        /// Height of opening.
        height: u64 = 3,
        /// Block time of opening, Unix milliseconds.
        time_ms: u64 = 4,
    }
}

object! {
    /// How many statements of one kind were made about an LCT.
    ContextHead {
        /// Number of the last one.
        number: u32 = 1,
    }
}

object! {
    /// A statement about an LCT.
    ContextRecord {
        /// `lct::context::Statement` bytes.
        statement: Vec<u8> = 1,
        /// Who signed it.
        key: PublicKey = 2,
        /// Height of recording.
        height: u64 = 3,
        /// Block time of recording, Unix milliseconds.
        time_ms: u64 = 4,
        /// Transaction that recorded it.
        tx: Digest = 5,
    }
}

object! {
    /// What a pack did in its closed energy cycles.
    Performance {
        /// Closed cycles.
        cycles: u64 = 1,
        /// Sum of charge, mWh.
        charged: u128 = 2,
        /// Sum of discharge, mWh.
        discharged: u128 = 3,
        /// Energy that events moved beyond what the pool held, mWh.
        excess: u128 = 4,
        /// Attested capacity, mWh.
        minted: u64 = 5,
        /// Number of the last cycle that was closed.
        last_cycle: u32 = 6,
        /// End of its last event, Unix milliseconds.
        last_end_ms: u64 = 7,
        /// Height of its close.
        height: u64 = 8,
    }
}

impl Performance {
    /// Before the first closed cycle.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            cycles: 0,
            charged: 0,
            discharged: 0,
            excess: 0,
            minted: 0,
            last_cycle: 0,
            last_end_ms: 0,
            height: 0,
        }
    }

    /// Energy delivered per energy charged, ppm, truncated; `None` before the first charge. Above a million the pack
    /// delivered charge that it had from before its first cycle.
    #[must_use]
    pub fn efficiency_ppm(&self) -> Option<u64> {
        u64::try_from(self.discharged.checked_mul(1_000_000)?.checked_div(self.charged)?).ok()
    }

    /// Times that the attested capacity was delivered, in thousandths, truncated.
    #[must_use]
    pub fn full_cycles_milli(&self) -> Option<u64> {
        u64::try_from(self.discharged.checked_mul(1000)?.checked_div(self.minted.into())?).ok()
    }
}

/// With whom a component saw, or was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The other one.
    pub peer: Cid,
    /// Events that the component saw of it.
    pub saw: u32,
    /// Events of the component that it saw.
    pub seen_by: u32,
    /// Block time of the last one, Unix milliseconds.
    pub last_ms: u64,
}

/// With whom a component saw, or was seen; ascending by cid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witnessing(pub Vec<Seen>);

impl Canonical for Witnessing {
    fn write(&self, w: &mut Writer) {
        w.object(2, VERSION).uint(1).array(self.0.len());
        for Seen { peer, saw, seen_by, last_ms } in &self.0 {
            w.array(4).bytes(&peer.0).uint((*saw).into()).uint((*seen_by).into()).uint(*last_ms);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.object(2, VERSION)?;
        r.key(1)?;
        let n = r.array(MAX_SEEN)?;
        let mut seen = Vec::with_capacity(n);
        for _ in 0..n {
            if r.array(4)? != 4 {
                return Err(FormatError::Unexpected);
            }
            seen.push(Seen { peer: Cid(r.fixed()?), saw: r.int()?, seen_by: r.int()?, last_ms: r.uint()? });
        }
        Ok(Self(seen))
    }
}

codes! {
    /// What is wanted.
    Wish {
        /// That the two are paired.
        Pair = 1 "pair",
        /// That they are paired no more.
        Unpair = 2 "unpair",
    }
}

impl Wish {
    /// Tries after which it is given up.
    #[must_use]
    pub fn most_tries(self) -> u8 {
        match self {
            Self::Pair => 3,
            Self::Unpair => 5,
        }
    }
}

codes! {
    /// How far a request is.
    QueueStatus {
        /// It waits.
        Queued = 1 "queued",
        /// What was wanted came about.
        Completed = 2 "completed",
        /// It was tried as often as it may be.
        Failed = 3 "failed",
        /// Its time was over.
        Expired = 4 "expired",
        /// It was taken back.
        Cancelled = 5 "cancelled",
    }
}

/// Where a request has no proxy.
pub const NO_PROXY: Cid = Cid([0; 16]);

object! {
    /// A wish that waits for a device to come back.
    Queued {
        /// Who asks.
        initiator: Cid = 1,
        /// With whom.
        target: Cid = 2,
        /// For what.
        wish: Wish = 3,
        /// 1 low, 2 normal, 3 high, 4 critical.
        priority: u8 = 4,
        /// Who asks in the initiator's place; [`NO_PROXY`] for nobody.
        proxy: Cid = 5,
        /// What the pairing is for.
        context: String = 6,
        /// Account that asked.
        sender: PublicKey = 7,
        /// How far it is.
        status: QueueStatus = 8,
        /// Tries so far.
        tries: u8 = 9,
        /// Height of asking.
        height: u64 = 10,
        /// Block time of asking, Unix milliseconds.
        time_ms: u64 = 11,
        /// Block time from which it may be tried, Unix milliseconds.
        next_ms: u64 = 12,
        /// Block time at which it is given up, Unix milliseconds.
        expires_ms: u64 = 13,
        /// Block time at which it ended, Unix milliseconds; 0 while it waits.
        ended_ms: u64 = 14,
    }
}
