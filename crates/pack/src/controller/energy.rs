//! What flows through the modules: this pack counts it, asks for their word when it signs an event of its own, and is the
//! witness of what agrees (`spec/channel.md`, H240 to H242, H244).

use super::*;
use crate::{flow::Verdict, testimony};
use lct::validation::Event as Statement;

impl Controller {
    /// Counts a measurement of this pack for each module of the series.
    pub(super) fn count_flows(&mut self, now: Instant, time_ms: u64) {
        let paired = self.slots.iter().filter(|s| s.relation.is_paired()).count() as u32;
        let (Some(share_mv), ma) = (self.pack_mv.checked_div(paired), self.pack_ma) else { return };
        for slot in self.slots.iter_mut().filter(|s| s.relation.is_up()) {
            if let Some(told_mv) = slot.status.map(|status| status.status1.voltage_mv) {
                slot.energy.sample(now, time_ms, told_mv, share_mv, ma);
            }
        }
    }

    /// Where this pack signed what flowed, each module is to say what flowed through it meanwhile.
    pub(super) fn want_flows(&mut self, now: Instant) {
        let (cycle, event) = self.meter.last_event();
        if core::mem::replace(&mut self.flows_wanted, (cycle, event)) == (cycle, event) {
            return;
        }
        let end = !self.meter.is_open();
        for slot in self.slots.iter_mut().filter(|s| s.relation.is_up()) {
            slot.watch.due.energy |= slot.energy.want(cycle, event, end);
        }
        self.begin_giving(now);
    }

    /// Who did not answer is asked again, so often.
    pub(super) fn repeat_questions(&mut self, now: Instant) {
        for slot in &mut self.slots {
            slot.watch.due.energy |= slot.energy.is_awaited();
        }
        self.begin_giving(now);
    }

    pub(super) fn ask_for_energy(&mut self, index: usize, now: Instant) -> Result<(), Error> {
        let Some((cycle, event)) = self.slots[index].energy.ask() else { return Ok(()) };
        let head = [pdu::VALIDATION, events::STATE, 0, 0, testimony::ENERGY];
        let question = pdu::build(&[&head, &cycle.to_be_bytes(), &event.to_be_bytes()])?;
        self.seal_to_module(index, now, Tier::Exch, &question)
    }

    /// Whether this pack vouches for what a module said in `event`, which is verified. To what it does not the module gets
    /// the answer that ends its telling it; what differs from what this pack counted is a fault.
    pub(super) fn vouches_for(
        &mut self,
        index: usize,
        now: Instant,
        event: &Statement,
    ) -> Result<bool, Error> {
        match self.slots[index].energy.judge(event)? {
            Verdict::Agrees => {
                self.end_dispute();
                return Ok(true);
            }
            // It is told again.
            Verdict::Waits => return Ok(false),
            Verdict::Differs => {
                self.device.health.raise(now, FaultCode::EnergyDisputed, index as u32 + 1);
            }
            Verdict::Uncounted => {}
        }
        let number = testimony::number(event.position()).to_be_bytes();
        let done = pdu::build(&[&[pdu::RECEIVED, 0, pdu::VALIDATION], &number])?;
        self.seal_to_module(index, now, Tier::Exch, &done).map(|()| false)
    }

    /// The fault ends once nothing that any module said is disputed.
    pub(super) fn end_dispute(&mut self) {
        if !self.slots.iter().any(|slot| slot.energy.is_disputed()) {
            self.device.health.end(FaultCode::EnergyDisputed);
        }
    }
}
