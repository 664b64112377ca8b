//! Messages that authenticate themselves and that somebody brings over HTTP (`spec/api.md`, A96): delegations, what a delegate
//! ends, successions. They go to this app or, over the buses, to pack or module, and what the device answers goes back.

use super::{
    generate::{PATIENCE, TRIES},
    *,
};
use pack::pdu::delegation as op;

/// Longest message: a delegation of eight packs.
const MESSAGE_MAX: usize = 2 + lct::delegation::DELEGATION_MAX;

/// Names a message under way: to whom, and which operation of the PDU.
pub type CarriedTo = (Member, u8);

/// Why a message is not carried, or not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CarryRefused {
    /// It answered on no bus of this gateway.
    #[error("no part of this pack answers to that name")]
    Unknown,
    /// Other messages are not carried: they need a channel, or whoever makes them brings them.
    #[error("only delegations, what a delegate ends and successions are carried")]
    Kind,
    /// The same part is being given one, or not everybody was found yet.
    #[error("the part is being given a message; try again later")]
    Busy,
    /// The device did not answer.
    #[error("the device does not answer; check its power and the bus, and the message")]
    Silent,
}

/// A message under way.
#[derive(Debug)]
pub(super) struct Carried {
    to: CarriedTo,
    message: Vec<u8>,
    due: Instant,
    tries: u8,
}

impl Gateway {
    /// Gives `component_id` a message of type 1C; [`Output::Carried`] tells its answer.
    ///
    /// # Errors
    /// [`CarryRefused`], of which [`CarryRefused::Silent`] comes as outcome only.
    pub fn carry(
        &mut self,
        now: Instant,
        component_id: &str,
        message: &[u8],
    ) -> Result<CarriedTo, CarryRefused> {
        let member = self.member_of(component_id).ok_or(CarryRefused::Unknown)?;
        let operation = match *message {
            [pdu::DELEGATION, operation @ (op::SHOW | op::REVOKE | op::SUCCEED), ..] => operation,
            _ => return Err(CarryRefused::Kind),
        };
        if message.len() > MESSAGE_MAX {
            return Err(CarryRefused::Kind);
        }
        if self.carried.iter().any(|carried| carried.to.0 == member) {
            return Err(CarryRefused::Busy);
        }
        let to = (member, operation);
        self.carried.push(Carried { to, message: message.to_vec(), due: now, tries: 0 });
        Ok(to)
    }

    pub(super) fn carry_due(&self) -> Option<Instant> {
        self.carried.iter().map(|carried| carried.due).min()
    }

    /// Gives what is due.
    pub(super) fn give_carried(&mut self, now: Instant, rng: &mut impl CryptoRng) {
        while let Some(carried) = self.carried.iter_mut().find(|carried| carried.due <= now) {
            let to = carried.to;
            if carried.tries >= TRIES {
                self.carried_answer(to, Err(CarryRefused::Silent));
                continue;
            }
            (carried.tries, carried.due) = (carried.tries + 1, now + PATIENCE);
            let message = carried.message.clone();
            // The app itself says nothing to what it cannot read either.
            if self.go(now, Step::Send(to.0, message), rng).is_err() {
                self.carried_answer(to, Err(CarryRefused::Silent));
            }
        }
    }

    /// Takes the answer of a device to such a message; false for anything else.
    pub(super) fn carried_answered(&mut self, from: Member, bytes: &[u8]) -> bool {
        match *bytes {
            [pdu::DELEGATION, operation @ (op::TAKEN | op::REVOKED | op::SUCCEEDED), ..] => {
                let request = operation & !ANSWER;
                self.carried_answer((from, request), Ok(bytes.to_vec()))
            }
            _ => false,
        }
    }

    fn carried_answer(&mut self, to: CarriedTo, outcome: Result<Vec<u8>, CarryRefused>) -> bool {
        let at = self.carried.iter().position(|carried| carried.to == to);
        if let Some(at) = at {
            self.carried.swap_remove(at);
            self.outputs.push_back(Output::Carried(to, outcome));
        }
        at.is_some()
    }
}

/// What an answer's operation has besides that of its question.
const ANSWER: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        core::service::tests::{at, operating},
        world::{APP, MODULE, PACK},
    };
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    /// Each part is given one message at a time, of this type only, and who does not answer is asked four times.
    #[test]
    fn a_message_gets_its_answer_and_no_other_is_carried() {
        let mut rng = ChaCha20Rng::seed_from_u64(21);
        let mut gateway = operating();
        let show = [&[pdu::DELEGATION, op::SHOW][..], &[7; 171]].concat();
        let revoke = [&[pdu::DELEGATION, op::REVOKE][..], &[7; 103]].concat();
        let carry = |gateway: &mut Gateway, id: &str, m: &[u8]| gateway.carry(at(0), id, m);
        assert_eq!(carry(&mut gateway, "module-0009", &show), Err(CarryRefused::Unknown));
        for other in [&[pdu::BINDING, 1][..], &[pdu::DELEGATION, op::TAKEN], &[pdu::DELEGATION], &[]] {
            assert_eq!(carry(&mut gateway, "pack-0001", other), Err(CarryRefused::Kind), "{other:?}");
        }
        let long = [&[pdu::DELEGATION, op::SHOW][..], &[7; MESSAGE_MAX]].concat();
        assert_eq!(carry(&mut gateway, "pack-0001", &long), Err(CarryRefused::Kind));
        assert_eq!(carry(&mut gateway, "pack-0001", &show), Ok((PACK, op::SHOW)));
        assert_eq!(carry(&mut gateway, "pack-0001", &revoke), Err(CarryRefused::Busy));
        assert_eq!(carry(&mut gateway, "module-0001", &revoke), Ok((MODULE, op::REVOKE)));
        gateway.give_carried(at(0), &mut rng);
        let answer = |operation| [&[pdu::DELEGATION, operation][..], &[9; 16], &[0]].concat();
        assert!(!gateway.carried_answered(APP, &answer(op::TAKEN)), "of somebody else");
        assert!(!gateway.carried_answered(PACK, &answer(op::REVOKED)), "to something else");
        assert!(gateway.carried_answered(PACK, &answer(op::TAKEN)));
        assert!(!gateway.carried_answered(PACK, &answer(op::TAKEN)), "once");
        for s in 1..20 {
            gateway.give_carried(at(s), &mut rng);
        }
        let told = gateway.outputs.drain(..).filter_map(|output| match output {
            Output::Carried(to, outcome) => Some((to, outcome)),
            _ => None,
        });
        let told: Vec<_> = told.collect();
        let silent = Err(CarryRefused::Silent);
        let expected = [((PACK, op::SHOW), Ok(answer(op::TAKEN))), ((MODULE, op::REVOKE), silent)];
        assert_eq!(told, expected);
        assert_eq!(gateway.carry_due(), None);
    }
}
