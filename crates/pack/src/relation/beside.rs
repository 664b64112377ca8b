//! Side A of a PAIR run from its last message until B proves that it came: A does not know then which of the two pairings B has,
//! the new one or the one before, and keeps both (`spec/channel.md`, H261).
//!
//! The records of the one before stay where they are; those of the new one lie under [`key::beside`] and take their place once B
//! proved it. RESUME tries one after the other: B has one of them and answers to no other.

use super::*;

/// The pairing that is not in use.
pub(super) struct Beside {
    /// As in flash.
    session: Record,
    lease: Option<Lease>,
    stay_clear: stay_clear::StayClear,
    pub(super) limits: Limits,
    used_s: u32,
    /// Its records are those of the relationship; those of the pairing in use lie under [`key::beside`].
    before: bool,
}

impl Beside {
    /// Version of the policy under which it was made.
    pub(super) fn policy_version(&self) -> u32 {
        self.lease.as_ref().map_or(lct::policy::FACTORY_VERSION, |lease| lease.policy_version)
    }
}

impl Relation {
    /// A opens a session in the place of the one in use, which it keeps beside.
    pub(super) fn lay_aside(&mut self) -> Result<(), Error> {
        match self.beside.as_ref().map(|beside| beside.before) {
            // The run is one more for a certificate that B still had.
            Some(true) => Ok(()),
            Some(false) => self.exchange(),
            None if self.pair.is_none() => Ok(()),
            None => {
                self.beside = Some(Beside {
                    session: self.session_record()?,
                    lease: self.lease.take(),
                    stay_clear: core::mem::take(&mut self.stay_clear),
                    limits: self.limits,
                    used_s: self.upkeep.used_s,
                    before: true,
                });
                Ok(())
            }
        }
    }

    /// Uses the pairing that lies beside, and lays the one in use there.
    pub(super) fn exchange(&mut self) -> Result<(), Error> {
        let (Some(channel), Some(_)) = (&self.pair, &self.beside) else { return Ok(()) };
        let (sends, session) = (channel.session.sends(), self.session_record()?);
        let Some(beside) = &mut self.beside else { return Ok(()) };
        let session = core::mem::replace(&mut beside.session, session);
        core::mem::swap(&mut beside.lease, &mut self.lease);
        core::mem::swap(&mut beside.stay_clear, &mut self.stay_clear);
        core::mem::swap(&mut beside.limits, &mut self.limits);
        core::mem::swap(&mut beside.used_s, &mut self.upkeep.used_s);
        beside.before = !beside.before;
        self.lease_end_told = false;
        self.restore_session(&session, sends)
    }

    /// After a start: a pairing beside the one in use that B did not prove is tried first.
    pub(super) fn restore_beside(
        &mut self,
        sends: Direction,
        mut load: impl FnMut(u16) -> Loaded,
    ) -> Result<(), Error> {
        let mut load = |of: u16| load(key::beside(of));
        let Some(session) = load(key::session(self.slot))?.filter(|record| !record.is_empty()) else {
            return Ok(());
        };
        self.has_beside = true;
        // Proved already: the power went before its copy was erased.
        if session.get(1..17) == self.pairing_id.as_ref().map(|id| id.0.as_slice()) {
            return Ok(());
        }
        self.lay_aside()?;
        self.restore_session(&session, sends)?;
        self.upkeep.used_s = 0;
        self.restore_rights(load)
    }

    /// B proved the pairing in use: its records take the place of those of the relationship, and the other one goes.
    pub(super) fn settle(&mut self, fx: &mut Effects) -> Result<(), Error> {
        if self.beside.as_ref().is_some_and(|beside| beside.before) {
            self.store_pairing(|record| record, fx)?;
            push(fx, Effect::Store(self.age_record()?))?;
        }
        self.forget_beside(fx)
    }

    /// Forgets what lies beside. In flash its session is erased, without which its lease and what may stay clear count for nothing.
    pub(super) fn forget_beside(&mut self, fx: &mut Effects) -> Result<(), Error> {
        self.beside = None;
        match core::mem::take(&mut self.has_beside) {
            true => push(fx, Effect::Store(Record::new(key::beside(key::session(self.slot)), &[])?)),
            false => Ok(()),
        }
    }

    /// Stores the pairing in use, beside the one before where that is kept.
    pub(super) fn store_opened(&mut self, fx: &mut Effects) -> Result<(), Error> {
        if self.beside.is_none() {
            self.store_pairing(|record| record, fx)?;
            return push(fx, Effect::Store(self.age_record()?));
        }
        self.has_beside = true;
        let aside = |mut record: Record| {
            record.key = key::beside(record.key);
            record
        };
        self.store_pairing(aside, fx)
    }

    /// The lease comes before the session, so that no session ever stands without one.
    fn store_pairing(&self, place: impl Fn(Record) -> Record, fx: &mut Effects) -> Result<(), Error> {
        if let Some(lease) = &self.lease {
            push(fx, Effect::Store(place(lease.record(self.slot)?)))?;
        }
        if let Some(id) = self.pairing_id.filter(|_| !self.stay_clear.is_empty()) {
            push(fx, Effect::Store(place(stay_clear::record(self.slot, &id, &self.stay_clear)?)))?;
        }
        push(fx, Effect::Store(place(self.session_record()?)))
    }
}
