//! What a module tells of itself: measurements, signed statements, its audit log, and lists that it was given.

use super::*;

impl Module {
    /// Reports the last measurement, if that is still to be done.
    pub(super) fn report(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let Some((_, time_ms)) = self.report_due.take() else { return Ok(()) };
        let Some(m) = self.last.as_ref().filter(|_| self.relation.is_up()) else { return Ok(()) };
        let (seq, reservation) = self.batcher.reserve()?;
        let scan = ModuleScan {
            first: 0,
            cells: m.cells.clone(),
            status: self.status(),
            stamp: Stamp { seq, time_ms },
        };
        if let Some(record) = reservation {
            self.device.store(record)?;
        }
        let body = scan.encode();
        // The record is made of what the receiver can read, in the steps of the wire.
        let heard = ModuleScan::decode(&body).map_err(|_| Error::Malformed)?;
        self.batcher.push(&module_record(self.device.own.cid(), &heard)?, now)?;
        let id = self.data_id(ModuleScan::BASE, Level::Exch)?;
        self.seal(now, id, ModuleScan::BASE, 0, &body)?;
        if self.batcher.is_due(time_ms) {
            self.close_batch(now, rng)?;
        }
        self.send_statements(now, rng)
    }

    /// Signs what is open, so that nothing measured stays unsigned.
    pub(super) fn close_batch(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        match self.relation.own_spk() {
            // Modules sign at the same time too; their statements need longer on the bus than their reports.
            Some(spk) => self.batcher.close(spk.signing_key(), now + self.turn(), rng),
            None => Ok(()),
        }
    }

    /// Takes a revocation list and answers.
    pub(super) fn revocation(&mut self, now: Instant, list: &[u8]) -> Result<(), Error> {
        let (answer, _) = self.device.take_list(now, list)?;
        self.send_pack(now, &answer)?;
        self.enforce_list(now)
    }

    /// Takes a delegation, what its holder revokes, or a succession, and answers.
    pub(super) fn delegation(&mut self, now: Instant, operation: u8, m: &[u8]) -> Result<(), Error> {
        let answer = match operation {
            pdu::delegation::SHOW => self.device.take_delegation(now, m)?,
            pdu::delegation::SUCCEED => self.device.take_succession(now, m)?,
            pdu::delegation::REVOKE => {
                let own = [(0, &mut self.relation)];
                let (answer, gone) = self.device.take_delegate_revocation(now, m, own)?;
                if gone.is_some() {
                    self.group = None;
                }
                answer
            }
            _ => return Err(Error::Malformed),
        };
        self.send_pack(now, &answer)
    }

    pub(super) fn enforce_list(&mut self, now: Instant) -> Result<(), Error> {
        if self.device.enforce(now, 0, &mut self.relation)? {
            self.group = None;
        }
        Ok(())
    }

    pub(super) fn send_log(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let Some(key) = self.relation.own_spk().map(|spk| spk.signing_key().clone()) else {
            return Ok(());
        };
        if !self.relation.is_up() || !self.link.is_idle() {
            return Ok(());
        }
        match self.device.journal_pdu(now, &key, rng)? {
            Some(part) => self.seal_pdu(now, Tier::Exch, &pdu::build(&[&[pdu::AUDIT, 0], &part])?),
            None => Ok(()),
        }
    }

    pub(super) fn send_statements(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let own = self.relation.own_spk().filter(|_| self.relation.is_up());
        let Some(key) = own.map(|spk| spk.signing_key().clone()) else { return Ok(()) };
        while self.link.is_idle()
            && let Some(pending) = self.batcher.poll(now, &key, rng)?
        {
            let mut statement = [0; lct::record::BATCH_STATEMENT_MAX];
            let n = pending.statement.encode(&mut statement)?;
            let body: Pdu = pdu::build(&[&[pdu::BATCH, 0, n as u8], &statement[..n], &pending.signature.0])?;
            // Signed, so they need no strict order; long, so they would break one.
            self.seal_pdu(now, Tier::Exch, &body)?;
        }
        Ok(())
    }
}
