//! The lease of a relationship, its end by revocation, and what its channel did (`spec/channel.md`, H104, H107).

use super::*;

/// First byte of the record that stands in place of a revoked binding: `FF | cid of the peer 16`.
pub(super) const TOMBSTONE: u8 = 0xFF;

/// Work of the current epoch.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    epoch: u32,
    pub(super) sealed: u32,
    opened: u32,
    malformed: u32,
    unknown_key: u32,
    replayed: u32,
    not_authentic: u32,
}

impl Counts {
    pub(super) fn opened(&mut self, refusal: Option<&Refusal>) {
        let count = match refusal {
            None => &mut self.opened,
            Some(Refusal::UnknownKey) => &mut self.unknown_key,
            Some(Refusal::Replayed) => &mut self.replayed,
            Some(Refusal::NotAuthentic) => &mut self.not_authentic,
            Some(_) => &mut self.malformed,
        };
        *count = count.saturating_add(1);
    }
}

impl Relation {
    /// The lease of the pairing in force.
    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// The pairing in force.
    pub fn pairing_id(&self) -> Option<PairingId> {
        self.pairing_id
    }

    /// The peer, bound or being bound.
    pub fn partner(&self) -> Option<Cid> {
        let pending = self.pending_bond.as_ref().map(|p| p.request.partner.0);
        self.peer().map(|(cid, _)| cid).or(pending)
    }

    /// The peer that was revoked here: the place is not given to anyone else.
    pub fn revoked(&self) -> Option<Cid> {
        self.revoked
    }

    /// Powered seconds of the device: a lease granted from now on counts from here.
    pub fn set_powered(&mut self, seconds: u32) {
        self.powered = seconds;
    }

    /// True once per pairing: whether the end of the lease is still to be told.
    pub(crate) fn tell_lease_ended(&mut self) -> bool {
        !core::mem::replace(&mut self.lease_end_told, true)
    }

    /// The epoch that ended with `epoch` and its counts: sealed, opened, malformed, unknown key, replayed, not
    /// authentic. `None` when nothing was done in it.
    pub(crate) fn take_counts(&mut self, epoch: u32) -> Option<(u32, [u32; 6])> {
        let c = core::mem::replace(&mut self.counts, Counts { epoch, ..Counts::default() });
        let counts = [c.sealed, c.opened, c.malformed, c.unknown_key, c.replayed, c.not_authentic];
        (counts.iter().any(|n| *n > 0) && c.epoch != epoch).then_some((c.epoch, counts))
    }

    /// Erases everything in memory, the room of what is absent too (H9).
    pub(crate) fn erase(&mut self) {
        lct::secret::overwrite_stack();
        *self = Relation::new(self.slot);
    }

    /// Erases everything shared with a revoked peer, in RAM and in flash; a tombstone keeps its place.
    pub(crate) fn revoke(&mut self, peer: Cid, fx: &mut Effects) -> Result<(), Error> {
        let (slot, has_beside) = (self.slot, self.has_beside);
        self.erase();
        (self.revoked, self.has_beside) = (Some(peer), has_beside);
        self.forget_beside(fx)?;
        push(fx, Effect::Store(Record::new(key::session(slot), &[])?))?;
        push(fx, Effect::Store(Record::new(key::binding(slot), &[])?))?;
        push(fx, Effect::Store(Record::new(key::bond(slot), &[&[TOMBSTONE], &peer.0])?))?;
        push(fx, Effect::Store(Record::new(key::escalation(slot), &[])?))?;
        push(fx, Effect::Store(Record::new(key::lease(slot), &[])?))
    }

    /// Reads `1 | binding_id 16 | issued u32`; that of another binding is none.
    pub(super) fn restore_issued(&mut self, record: &[u8]) -> Result<(), Error> {
        let mut f = Fields::new(record);
        if f.u8()? != 1 {
            return Err(Error::Malformed);
        }
        let (of, issued) = (BindingId(f.array()?), f.u32()?);
        f.end()?;
        if self.binding().is_some_and(|(id, _)| id == of) {
            self.issued = issued;
        }
        Ok(())
    }

    /// Ends the pairing in force; the binding stays.
    pub(crate) fn end_pairing(&mut self, fx: &mut Effects) -> Result<(), Error> {
        self.forget_beside(fx)?;
        self.erase_pairing(fx)?;
        (self.pair, self.pairing_id, self.lease, self.answer) = (None, None, None, None);
        (self.run, self.timer, self.again, self.pending_pair) = (None, None, None, None);
        self.ending = None;
        Ok(())
    }

    /// Erases what a start would bring back of the pairing. The time before which no certificate serves its binding
    /// stays.
    pub(super) fn erase_pairing(&self, fx: &mut Effects) -> Result<(), Error> {
        if let Some((binding, _)) = self.binding() {
            let parts: [&[u8]; 3] = [&[1], &binding.0, &self.issued.to_be_bytes()];
            push(fx, Effect::Store(Record::new(key::issued(self.slot), &parts)?))?;
        }
        push(fx, Effect::Store(Record::new(key::session(self.slot), &[])?))?;
        push(fx, Effect::Store(Record::new(key::lease(self.slot), &[])?))
    }
}
