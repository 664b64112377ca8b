//! What the controller measures itself: its own records, the energy meter, signed statements.

use super::*;

impl Controller {
    pub(super) fn mean_cell_mv(&self) -> u32 {
        let means = self.slots.iter().filter_map(|s| s.status.map(|st| st.status2.cell_avg_mv));
        let (sum, n) = means.fold((0u32, 0u32), |(sum, n), mv| (sum + mv, n + 1));
        sum.checked_div(n).unwrap_or(0)
    }

    pub(super) fn report(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let (Some(time_ms), Some(key)) = (self.device.unix_ms(now), self.signing_key()) else {
            return Ok(());
        };
        if self.state == RelayState::On {
            self.meter_energy(now, time_ms, &key, rng)?;
            self.count_flows(now, time_ms);
        }
        self.observe(now, time_ms);
        let (seq, reservation) = self.batcher.reserve()?;
        if let Some(record) = reservation {
            self.device.store(record)?;
        }
        let body = self.status(Stamp { seq, time_ms }).encode();
        // The record is made of what the receiver can read, in the steps of the wire.
        let heard = PackStatusAll::decode(&body).map_err(|_| Error::Malformed)?;
        self.batcher.push(&pack_record(self.device.own.cid(), &heard)?, now)?;
        let id = SealedId::new(PackStatusAll::BASE, Level::Pair, Direction::Ba, self.pack)
            .map_err(|_| Error::Malformed)?;
        self.seal_app(now, id, PackStatusAll::BASE, &[&body])?;
        if self.batcher.is_due(time_ms) {
            self.batcher.close(&key, now, rng)?;
        }
        self.send_statements(now, rng)
    }

    /// Integrates the pack's own measurement. A cycle opens once every module has told its cells and there is room for its
    /// statements; it counts from the first measurement in state On.
    pub(super) fn meter_energy(
        &mut self,
        now: Instant,
        time_ms: u64,
        key: &SigningKey,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        if !self.meter.is_open() {
            let told = |s: &Slot| s.status.is_some_and(|st| st.status2.cell_avg_mv > 0);
            if !self.meter.can_open() || !self.slots.iter().filter(|s| s.healthy()).all(told) {
                self.meter.wait(time_ms, self.pack_mv, self.pack_ma, now);
                return Ok(());
            }
            let soc = crate::soc::from_cell_mv(self.mean_cell_mv());
            let record = self.meter.open(soc, time_ms, key, now, rng)?;
            self.device.store(record)?;
        }
        self.meter.sample(time_ms, self.pack_mv, self.pack_ma, key, now, rng)
    }

    pub(super) fn status(&self, stamp: Stamp) -> PackStatusAll {
        let healthy = self.slots.iter().filter(|s| s.healthy()).count() as u8;
        let registered = self.slots.iter().filter(|s| s.registered).count() as u8;
        crate::aggregate::pack_status(
            self.slots.iter().enumerate().filter(|(_, s)| s.healthy()).filter_map(|(i, s)| {
                s.status.map(|status| crate::aggregate::Part { node: i as u8 + 1, status, rating: s.rating })
            }),
            &crate::aggregate::Whole {
                state: self.state,
                modules_total: registered,
                modules_active: healthy,
                soc_ppm: self
                    .meter
                    .soc_ppm()
                    .unwrap_or_else(|| crate::soc::from_cell_mv(self.mean_cell_mv())),
                pack_mv: self.pack_mv,
                pack_ma: self.pack_ma,
                stamp,
            },
        )
    }

    pub(super) fn send_statements(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        self.want_flows(now);
        let Some(key) = self.signing_key().filter(|_| self.app.is_up()) else { return Ok(()) };
        while self.can1.is_idle()
            && let Some(p) = self.batcher.poll(now, &key, rng)?
        {
            let mut statement = [0; lct::record::BATCH_STATEMENT_MAX];
            let n = p.statement.encode(&mut statement)?;
            let head = [pdu::BATCH, 0, n as u8];
            self.seal_to_app_parts(now, Tier::Exch, &[&head, &statement[..n], &p.signature.0])?;
        }
        while self.can1.is_idle()
            && let Some(p) = self.meter.poll(now, &key, rng)?
        {
            let head = [pdu::ENERGY, p.statement.len() as u8];
            self.seal_to_app_parts(now, Tier::Exch, &[&head, &p.statement, &p.signature.0])?;
        }
        self.send_report(now, &key, rng)
    }
}
