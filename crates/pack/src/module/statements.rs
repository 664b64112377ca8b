//! What a module states, and what it witnesses of its pack (`spec/channel.md`, H170 to H174).

use super::*;
use crate::testimony::asked_witness;
use core::fmt::Write;
use lct::{
    codec::Fields,
    validation::{Access, Escalation, EventKind, Protocol},
};

impl Module {
    /// Tells the statement that is first in turn.
    pub(super) fn send_statement(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        if !self.relation.is_up() || !self.link.is_idle() {
            return Ok(());
        }
        match self.device.statement_pdu(now, &self.relation, self.access(), rng)? {
            Some(pdu) => self.seal_pdu(now, Tier::Exch, &pdu),
            None => Ok(()),
        }
    }

    /// Where this module is found.
    fn access(&self) -> Option<Access> {
        let endpoint = heapless::String::try_from("can2").ok()?;
        let mut device = heapless::String::new();
        write!(device, "{}", self.node).ok()?;
        Some(Access { protocol: Protocol::Can, endpoint, device })
    }

    /// Counts what flows while the relay is on and somebody could be told (H241).
    pub(super) fn count_energy(&mut self, now: Instant) {
        let time = self.device.unix_ms(now).filter(|_| self.relation.is_up());
        match (self.relay, time, &self.last) {
            (RelayState::On, Some(time_ms), Some(m)) => {
                let mv = m.cells.iter().map(|cell| u32::from(cell.mv)).sum();
                self.flow.sample(now, time_ms, mv, m.current_ma);
            }
            _ => self.flow.pause(),
        }
    }

    /// The pack signed an event of its energy: this module states what flowed through it, once, if it was anything.
    pub(super) fn asked_for_energy(&mut self, now: Instant, asked: &[u8]) -> Result<(), Error> {
        let mut f = Fields::new(asked);
        let (cycle, event) = (f.u32()?, f.u32()?);
        f.end()?;
        if !self.device.testimony.has_room() {
            return Err(Error::Exhausted);
        }
        if let Some(said) = self.flow.state(cycle, event) {
            self.device.state(now, EventKind::Energy, 0, &[&said.encode()]);
        }
        Ok(())
    }

    /// Judges the highest temperature by the operator's limit. Beyond it the module states the fault and asks for level 5,
    /// unless it asked too often.
    pub(super) fn judge_alarm(&mut self, now: Instant, hot_mc: i32) -> Result<(), Error> {
        let code = FaultCode::TemperatureHigh;
        match self.alarm_mc {
            Some(limit) if hot_mc > limit => {
                if !self.device.health.raise(now, code, hot_mc as u32) {
                    return Ok(());
                }
            }
            Some(limit) if hot_mc.saturating_add(self.limits.hysteresis_mc) > limit => return Ok(()),
            _ => {
                self.device.health.end(code);
                return Ok(());
            }
        }
        let asked = Escalation {
            target: ValidationLevel::Command,
            reason: EscalationReason::Anomaly,
            urgency: Urgency::Immediate,
        };
        let mut fx = Effects::new();
        let begun = self.relation.escalate(now, asked.target, asked.reason, asked.urgency, &mut fx);
        if self.relation.is_paired() {
            let detail = [&(code as u16).to_be_bytes()[..], &hot_mc.to_be_bytes()];
            let escalation = begun.is_ok().then_some(asked);
            self.device.state_and_ask(now, EventKind::Fault, 0, &detail, escalation);
        }
        self.apply(now, fx)
    }

    /// Gives the word of this module about an event of its pack.
    pub(super) fn be_witness(
        &mut self,
        now: Instant,
        body: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let signed = asked_witness(body)?;
        let key = self.relation.own_spk().map(|spk| spk.signing_key().clone());
        let (Some(time_ms), Some(key)) = (self.device.unix_ms(now), key) else {
            return Ok(());
        };
        let event = self.relation.witness(&signed)?;
        let word = self.device.attest(time_ms, (&event, &signed.signature), &key, rng)?;
        let answer = pdu::build(&[&[pdu::VALIDATION, events::WITNESSED], &word.encode()])?;
        self.seal_pdu(now, Tier::Exch, &answer)
    }
}
