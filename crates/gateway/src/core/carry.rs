//! Messages that authenticate themselves and that somebody brings over HTTP (`spec/api.md`, A96): delegations, what a delegate
//! ends, successions. They go to this app or, over the buses, to pack or module, and what the device answers goes back.

use super::{
    generate::{PATIENCE, TRIES},
    *,
};
use lct::{
    delegation::{DELEGATION_MAX, DelegationId, REVOCATION_LEN},
    succession::SUCCESSION_LEN,
};
use pack::pdu::delegation as op;

/// Longest message: a delegation of eight packs.
const MESSAGE_MAX: usize = 2 + DELEGATION_MAX;
/// Messages that begin within [`RATE`], at most: each of them takes the bus and a device's time to verify.
const RATE_MAX: usize = 16;
const RATE: Duration = Duration::from_secs(60);

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
    #[error("the part is being given a message, or too many were carried within a minute; try again later")]
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

impl Carried {
    /// Whether `bytes` answer this message: an answer names what was shown or ended (H161, H164). That to a succession names
    /// who is obeyed from then on, whether or not it was taken (H166).
    fn is_answered_by(&self, bytes: &[u8]) -> bool {
        let [pdu::DELEGATION, operation, named @ .., _status] = bytes else { return false };
        let about = match self.message.as_slice() {
            [_, op::SHOW, delegation @ ..] => &DelegationId::of(delegation).0[..],
            [_, op::REVOKE, end @ ..] => &end[ENDED],
            _ => named,
        };
        *operation == self.to.1 | ANSWER && named == about
    }
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
        let fits = match operation {
            op::REVOKE => message.len() == 2 + REVOCATION_LEN,
            op::SUCCEED => message.len() == 2 + SUCCESSION_LEN,
            _ => message.len() <= MESSAGE_MAX,
        };
        if !fits {
            return Err(CarryRefused::Kind);
        }
        self.carried_at.retain(|at| now < *at + RATE);
        if self.carried.iter().any(|carried| carried.to.0 == member) || self.carried_at.len() >= RATE_MAX {
            return Err(CarryRefused::Busy);
        }
        self.carried_at.push(now);
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
        let answered = self.carried.iter().find(|c| c.to.0 == from && c.is_answered_by(bytes));
        answered.map(|c| c.to).is_some_and(|to| self.carried_answer(to, Ok(bytes.to_vec())))
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
/// Where the end of a pairing or binding has the name of what it ends.
const ENDED: core::ops::Range<usize> = 18..34;

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
        let shown = DelegationId::of(&show[2..]).0;
        let answer = |operation| [&[pdu::DELEGATION, operation][..], &shown, &[0]].concat();
        assert!(!gateway.carried_answered(APP, &answer(op::TAKEN)), "of somebody else");
        assert!(!gateway.carried_answered(PACK, &answer(op::REVOKED)), "to something else");
        let other = [&[pdu::DELEGATION, op::TAKEN][..], &[9; 16], &[0]].concat();
        assert!(!gateway.carried_answered(PACK, &other), "to an earlier one");
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

    /// The end of a pairing names it; messages of another length, and more than so many within a minute, are not carried.
    #[test]
    fn an_end_is_told_by_its_name_and_no_flood_is_carried() {
        let mut rng = ChaCha20Rng::seed_from_u64(22);
        let mut gateway = operating();
        let mut end = [&[pdu::DELEGATION, op::REVOKE][..], &[7; REVOCATION_LEN]].concat();
        end[20..36].copy_from_slice(&[3; 16]);
        let short = &end[..end.len() - 1];
        assert_eq!(gateway.carry(at(0), "pack-0001", short), Err(CarryRefused::Kind));
        let told = |id: u8, status: u8| [&[pdu::DELEGATION, op::REVOKED][..], &[id; 16], &[status]].concat();
        for n in 0..RATE_MAX as u64 {
            assert_eq!(gateway.carry(at(n), "pack-0001", &end), Ok((PACK, op::REVOKE)), "{n}");
            gateway.give_carried(at(n), &mut rng);
            assert!(!gateway.carried_answered(PACK, &told(7, 0)), "of another pairing");
            assert!(gateway.carried_answered(PACK, &told(3, 2)));
        }
        assert_eq!(gateway.carry(at(59), "pack-0001", &end), Err(CarryRefused::Busy));
        assert_eq!(gateway.carry(at(60), "pack-0001", &end), Ok((PACK, op::REVOKE)));
    }
}
