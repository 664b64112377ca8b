//! What the state holds of trust (L202): a tensor per subject and context, with the last changes that made it what it is.

use alloc::vec::Vec;

use super::*;
use crate::trust::{Outcome, Ppm, T3, V3, Weights, decay};

impl Field for Ppm {
    fn put(&self, w: &mut Writer) {
        w.uint(self.get().into());
    }
    fn take(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ppm::new(r.int()?).ok_or(FormatError::Unexpected)
    }
}

/// Whom a tensor is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustSubject {
    /// Code 1: a component.
    Component(Cid),
    /// Code 2: the relation of the two sides of a binding.
    Relation(BindingId),
}

impl TrustSubject {
    /// Code and identifier.
    #[must_use]
    pub fn parts(&self) -> (u8, &[u8; 16]) {
        match self {
            Self::Component(Cid(id)) => (1, id),
            Self::Relation(BindingId(id)) => (2, id),
        }
    }
}

codes! {
    /// Who vouches for a change.
    Voucher {
        /// The subject itself.
        Subject = 0 "self",
        /// Somebody who has to do with it: its binding partner, or both sides of a relation.
        Counterparty = 1 "counterparty",
        /// A component of another owner that is not bound with it.
        Witness = 2 "witness",
        /// An account by its order, or the ledger by what it sees missing.
        Ledger = 3 "ledger",
    }
}

/// Why a tensor changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// 1: it came to be.
    Baseline,
    /// 2: metrics of a period.
    Metrics,
    /// 3: somebody saw what it claimed.
    Claim,
    /// 17 to 21: an outcome.
    Outcome(Outcome),
}

impl Cause {
    /// Word for people and APIs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Metrics => "metrics",
            Self::Claim => "claim",
            Self::Outcome(outcome) => outcome.name(),
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Baseline => 1,
            Self::Metrics => 2,
            Self::Claim => 3,
            Self::Outcome(outcome) => 16 + outcome as u8,
        }
    }
}

impl Field for Cause {
    fn put(&self, w: &mut Writer) {
        w.uint(self.code().into());
    }
    fn take(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        match r.int::<u8>()? {
            1 => Ok(Self::Baseline),
            2 => Ok(Self::Metrics),
            3 => Ok(Self::Claim),
            code => {
                let outcome = code.checked_sub(16).and_then(Outcome::from_number);
                outcome.map(Self::Outcome).ok_or(FormatError::Unexpected)
            }
        }
    }
}

/// One change of a tensor: what a query shows as evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Why.
    pub cause: Cause,
    /// Who vouches for it.
    pub voucher: Voucher,
    /// The component that said it; zero where none did.
    pub by: Cid,
    /// The three dimensions afterwards.
    pub t3: T3,
    /// Block time, Unix milliseconds.
    pub time_ms: u64,
    /// Transaction.
    pub tx: Digest,
}

/// No component, where a [`Change`] names who said it.
pub const NO_COMPONENT: Cid = Cid([0; 16]);
/// Most changes that a tensor keeps.
pub const MAX_CHANGES: usize = 16;

/// The last changes of a tensor, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes(pub Vec<Change>);

impl Field for Change {
    fn put(&self, w: &mut Writer) {
        w.array(8);
        self.cause.put(w);
        self.voucher.put(w);
        self.by.put(w);
        self.t3.dimensions().iter().for_each(|d| d.put(w));
        self.time_ms.put(w);
        Field::put(&self.tx, w);
    }
    fn take(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        if r.array(8)? != 8 {
            return Err(FormatError::Unexpected);
        }
        Ok(Self {
            cause: Field::take(r)?,
            voucher: Field::take(r)?,
            by: Field::take(r)?,
            t3: T3::of([Field::take(r)?, Field::take(r)?, Field::take(r)?]),
            time_ms: Field::take(r)?,
            tx: Field::take(r)?,
        })
    }
}

impl Field for Changes {
    fn put(&self, w: &mut Writer) {
        w.array(self.0.len());
        for change in &self.0 {
            change.put(w);
        }
    }
    fn take(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        let n = r.array(MAX_CHANGES)?;
        (0..n).map(|_| Field::take(r)).collect::<Result<_, _>>().map(Self)
    }
}

object! {
    /// A change of a tensor where all of them are kept (L227).
    Noted {
        /// Height of the block in which it was noted.
        height: u64 = 1,
        /// The change.
        change: Change = 2,
    }
}

object! {
    /// What is known of a subject for one context.
    Tensor {
        /// Talent at `since_ms`.
        talent: Ppm = 1,
        /// Training at `since_ms`.
        training: Ppm = 2,
        /// Temperament at `since_ms`.
        temperament: Ppm = 3,
        /// Block time up to which idleness is counted, Unix milliseconds.
        since_ms: u64 = 4,
        /// Up to where temperament recovers by itself.
        recovers_to: Ppm = 5,
        /// Where it began: beyond this the subject's own word carries it little.
        baseline: Ppm = 6,
        /// Observations by others so far.
        observations: u64 = 7,
        /// Number of the last outcome, 0 before the first.
        outcome: u8 = 8,
        /// How often in a row.
        repeats: u32 = 9,
        /// Claims that others could check.
        claims: u64 = 10,
        /// Sum of what was confirmed of each, ppm.
        verified: u128 = 11,
        /// Deliveries begun and ended.
        deliveries: u64 = 12,
        /// Deliveries that came as stated.
        delivered: u64 = 13,
        /// Sum of what was promised, ppm each.
        promised: u128 = 14,
        /// Sum of what was earned of it, ppm each.
        earned: u128 = 15,
        /// Requests for a higher level in the hour that began at `asked_ms`.
        asked: u32 = 16,
        /// Beginning of that hour, block time in Unix milliseconds.
        asked_ms: u64 = 17,
        /// Block time of its beginning, Unix milliseconds.
        from_ms: u64 = 18,
        /// Changes so far.
        count: u64 = 19,
        /// The last of them.
        changes: Changes = 20,
    }
}

impl Tensor {
    /// A tensor about which nothing else is known.
    #[must_use]
    pub fn new(baseline: Ppm, now_ms: u64) -> Self {
        Self {
            talent: baseline,
            training: baseline,
            temperament: baseline,
            since_ms: now_ms,
            recovers_to: baseline,
            baseline,
            observations: 0,
            outcome: 0,
            repeats: 0,
            claims: 0,
            verified: 0,
            deliveries: 0,
            delivered: 0,
            promised: 0,
            earned: 0,
            asked: 0,
            asked_ms: 0,
            from_ms: now_ms,
            count: 0,
            changes: Changes(Vec::new()),
        }
    }

    /// The changes that it keeps, oldest first, with their numbers; the first change ever is 1.
    pub fn numbered(&self) -> impl Iterator<Item = (u64, &Change)> {
        let kept = &self.changes.0;
        let gone = self.count.saturating_sub(kept.len() as u64);
        (gone + 1..).zip(kept)
    }

    /// T3 at `now_ms`, and the instant up to which idleness is counted in it (L194).
    #[must_use]
    pub fn at(&self, now_ms: u64, weights: &Weights) -> (T3, u64) {
        let (months, since_ms) = decay::months(self.since_ms, now_ms, weights);
        let stored = T3 { talent: self.talent, training: self.training, temperament: self.temperament };
        (stored.after_idle(months, self.recovers_to, weights), since_ms)
    }

    /// V3: what the counts come to; one half where nothing is counted.
    #[must_use]
    pub fn v3(&self) -> V3 {
        let share = |part, whole| Ppm::ratio(part, whole).unwrap_or(Ppm::HALF);
        let million = u128::from(Ppm::ONE.get());
        // Both sums are of millionths, so the quotient needs a million more.
        let valuation = match self.promised {
            0 => Ppm::HALF.get().into(),
            whole => u64::try_from(self.earned.saturating_mul(million) / whole).unwrap_or(u64::MAX),
        };
        V3 {
            valuation,
            veracity: share(self.verified, u128::from(self.claims) * million),
            validity: share(self.delivered.into(), self.deliveries.into()),
        }
    }
}

object! {
    /// How far the word of one observer about one subject and context reaches.
    Reported {
        /// End of its last period, Unix milliseconds.
        end_ms: u64 = 1,
    }
}

object! {
    /// How a component keeps its key, as its manufacturer certified it.
    Custody {
        /// Flags of the device certificate: bit 0 key in secure storage, bit 1 debug locked.
        flags: u8 = 1,
    }
}
