//! Keys for a binding that the authority asks for over HTTP (`spec/api.md`, A91): its signed request goes to this app or, over
//! the buses, to pack or module, and what the device answers goes back.

use super::*;
use lct::{binding::BindRequest, id::Cid};
use pack::pdu::binding as op;

/// How long a device may take, and how often it is asked.
pub(super) const PATIENCE: Duration = Duration::from_millis(1_500);
pub(super) const TRIES: u8 = 4;
/// Most requests under way.
const ASKED_MAX: usize = 4;
/// How long a request serves: as long as a ceremony runs at the authority (A20). It carries no time of its own.
const SERVES: Duration = Duration::from_secs(3_600);
/// Most requests that begin to serve within [`RATE`]: each costs a device a key and a signature.
const RATE_MAX: usize = 16;
const RATE: Duration = Duration::from_secs(60);
/// Requests that are remembered; the oldest go first.
const SEEN_MAX: usize = 512;

/// Names a request: both sides of a binding are asked under its one id.
pub type KeysFor = (BindingId, Member);

/// Why nobody draws a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysRefused {
    /// It answered on no bus of this gateway, whatever the ledger knows of the name.
    #[error("no part of this pack answers to that name")]
    Unknown,
    /// The authority of this pack did not sign the request, or its form is unknown.
    #[error("the authority of this pack did not sign the request")]
    NotAuthentic,
    /// The request is addressed to another component.
    #[error("the request is for another component")]
    OtherEntity,
    /// Commissioning or other requests are under way, or many began within a minute.
    #[error("other keys are being drawn; try again later")]
    Busy,
    /// It was first seen longer ago than its ceremony lasts.
    #[error("the ceremony of this request ran out; begin another one")]
    Over,
    /// The device refused, with this reason.
    #[error("the device refuses: {0:?}")]
    Declined(Status),
    /// The device did not answer.
    #[error("the device does not answer; check its power and the bus")]
    Silent,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Asked {
    of: KeysFor,
    request: Vec<u8>,
    due: Instant,
    tries: u8,
}

/// Requests for keys: those under way, and which began to serve when.
#[derive(Debug, Default)]
pub(super) struct KeyRequests {
    under_way: Vec<Asked>,
    /// In the order in which they were first seen.
    seen: VecDeque<(KeysFor, Instant)>,
}

impl KeyRequests {
    /// Whether another request may be served now; one that is served for the first time is remembered.
    fn admit(&mut self, now: Instant, of: KeysFor) -> Result<(), KeysRefused> {
        match self.seen.iter().find(|(known, _)| *known == of) {
            Some((_, first)) if now >= *first + SERVES => return Err(KeysRefused::Over),
            Some(_) => return Ok(()),
            None => {}
        }
        if self.seen.iter().filter(|(_, first)| now < *first + RATE).count() >= RATE_MAX {
            return Err(KeysRefused::Busy);
        }
        if self.seen.len() >= SEEN_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back((of, now));
        Ok(())
    }

    pub fn due(&self) -> Option<Instant> {
        self.under_way.iter().map(|asked| asked.due).min()
    }

    fn take(&mut self, of: KeysFor) -> bool {
        let at = self.under_way.iter().position(|asked| asked.of == of);
        at.map(|at| self.under_way.swap_remove(at)).is_some()
    }
}

impl Gateway {
    /// Has `component_id` draw a key for the binding that `request` (H46) is about; [`Output::Keys`] tells the outcome under
    /// the same name.
    ///
    /// # Errors
    /// [`KeysRefused`], of which [`KeysRefused::Silent`] and [`KeysRefused::Declined`] come as outcome only.
    pub fn generate_keys(
        &mut self,
        now: Instant,
        component_id: &str,
        request: &[u8],
    ) -> Result<KeysFor, KeysRefused> {
        let cid = Cid::of(component_id);
        let member = self.member_of(component_id).ok_or(KeysRefused::Unknown)?;
        let authority = self.app.identity().authority.sign_pub();
        let wanted = BindRequest::open(request, &authority).map_err(|_| KeysRefused::NotAuthentic)?;
        if wanted.own.0 != cid {
            return Err(KeysRefused::OtherEntity);
        }
        let settled = matches!(&self.phase, Phase::Operating(c) if c.is_finished());
        let of = (wanted.binding_id, member);
        // The same again begins its tries anew.
        self.key_requests.take(of);
        if !settled || self.key_requests.under_way.len() >= ASKED_MAX {
            return Err(KeysRefused::Busy);
        }
        self.key_requests.admit(now, of)?;
        self.key_requests.under_way.push(Asked { of, request: request.to_vec(), due: now, tries: 0 });
        Ok(of)
    }

    /// Who has this name: this app, or who was found on a bus.
    pub(super) fn member_of(&self, component_id: &str) -> Option<Member> {
        let cid = Cid::of(component_id);
        match self.cids.iter().find(|(_, known)| **known == cid) {
            Some((party, _)) => Some(Some(*party)),
            None => (cid == self.app.identity().cid()).then_some(None),
        }
    }

    /// Asks for what is due.
    pub(super) fn ask_keys(&mut self, now: Instant, rng: &mut impl CryptoRng) {
        while let Some(asked) = self.key_requests.under_way.iter_mut().find(|asked| asked.due <= now) {
            let of = asked.of;
            if asked.tries >= TRIES {
                self.keys_told(of, Err(KeysRefused::Silent));
                continue;
            }
            (asked.tries, asked.due) = (asked.tries + 1, now + PATIENCE);
            let pdu = [&[pdu::BINDING, op::REQUEST], asked.request.as_slice()].concat();
            // What the app itself does not take is its own refusal, and nothing that ends a run.
            if let Err(Error::Link(e)) = self.give(now, Step::Send(of.1, pdu), rng) {
                self.keys_told(of, Err(KeysRefused::Declined(e.into())));
            }
        }
    }

    /// Takes what a device answers to such a request, its keys or that it refuses; false for anything else. A refusal comes in
    /// clear and may be anybody's: it costs whoever asked another try.
    pub(super) fn keys_answered(&mut self, from: Member, bytes: &[u8]) -> bool {
        let [pdu::BINDING, operation, body @ ..] = bytes else { return false };
        let answer = match *operation {
            op::KEYS => DeviceKeys::read(body).map(|(id, keys)| (id, Ok(keys))),
            op::STATUS => pack::answers::status(body)
                .map(|(id, status)| (BindingId(id), Err(KeysRefused::Declined(status)))),
            _ => return false,
        };
        let Ok((id, outcome)) = answer else { return false };
        if matches!(outcome, Err(KeysRefused::Declined(Status::Accepted))) {
            return false;
        }
        self.keys_told((id, from), outcome)
    }

    fn keys_told(&mut self, of: KeysFor, outcome: Result<DeviceKeys, KeysRefused>) -> bool {
        let asked = self.key_requests.take(of);
        if asked {
            self.outputs.push_back(Output::Keys(of, outcome));
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        core::service::tests::{at, operating},
        world::{APP, MODULE, PACK},
    };
    use lct::spk::SpkSecret;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    /// The request of the authority for a key of `own` towards the pack, and a gateway that pins that authority.
    fn asked(own: &str, role: Role) -> (Gateway, Vec<u8>, BindingId) {
        let mut rng = ChaCha20Rng::seed_from_u64(11);
        let authority = crate::world::authority();
        let request = BindRequest {
            binding_id: BindingId([7; 16]),
            own: (Cid::of(own), role),
            partner: (Cid::of("pack-0001"), Role::Pack),
            nonce: [3; 16],
            partner_access: b"can:pack-0001".iter().copied().collect(),
        };
        let bytes = request.issue(authority.signing_key(), &mut rng).unwrap().to_vec();
        (operating(), bytes, request.binding_id)
    }

    fn answer(id: BindingId) -> Vec<u8> {
        [&[pdu::BINDING, op::KEYS][..], &id.0, &[1; 68], &[2; 64]].concat()
    }

    fn told(gateway: &mut Gateway) -> Vec<(KeysFor, Result<DeviceKeys, KeysRefused>)> {
        let outputs = gateway.outputs.drain(..).filter_map(|output| match output {
            Output::Keys(of, keys) => Some((of, keys)),
            _ => None,
        });
        outputs.collect()
    }

    fn refusal(id: BindingId, status: Status) -> Vec<u8> {
        [&[pdu::BINDING, op::STATUS][..], &id.0, &[status as u8]].concat()
    }

    /// Only who was found on the bus draws keys, for the authority that the pack pins and for nobody else.
    #[test]
    fn a_stranger_and_a_strangers_request_get_nothing() {
        let (mut gateway, request, id) = asked("module-0001", Role::Module);
        let refused =
            |gateway: &mut Gateway, name: &str, bytes: &[u8]| gateway.generate_keys(at(0), name, bytes);
        assert_eq!(refused(&mut gateway, "module-0009", &request), Err(KeysRefused::Unknown));
        assert_eq!(refused(&mut gateway, "app-0001", &request), Err(KeysRefused::OtherEntity));
        let mut forged = request.clone();
        forged[60] ^= 1;
        assert_eq!(refused(&mut gateway, "module-0001", &forged), Err(KeysRefused::NotAuthentic));
        let stranger = SpkSecret::generate(&mut ChaCha20Rng::seed_from_u64(12)).unwrap();
        let other = BindRequest::open(&request, &crate::world::authority().public().sign_pub()).unwrap();
        let other = other.issue(stranger.signing_key(), &mut ChaCha20Rng::seed_from_u64(13)).unwrap();
        assert_eq!(refused(&mut gateway, "module-0001", &other), Err(KeysRefused::NotAuthentic));
        let of = (id, MODULE);
        assert_eq!(refused(&mut gateway, "module-0001", &request), Ok(of));
        // An answer of somebody else, or for another binding, is none.
        assert!(!gateway.keys_answered(APP, &answer(id)));
        assert!(!gateway.keys_answered(MODULE, &answer(BindingId([8; 16]))));
        assert!(!gateway.keys_answered(MODULE, &refusal(id, Status::Accepted)));
        assert!(gateway.keys_answered(MODULE, &answer(id)));
        assert!(!gateway.keys_answered(MODULE, &answer(id)), "once");
        let told = told(&mut gateway);
        assert!(matches!(&told[..], [(known, Ok(keys))] if *known == of && keys.spk == [1; 68]), "{told:?}");
    }

    /// Both sides of one binding are asked at the same time, under one id.
    #[test]
    fn both_sides_of_a_binding_get_their_answers() {
        let (mut gateway, of_module, id) = asked("module-0001", Role::Module);
        let (_, of_pack, _) = asked("pack-0001", Role::Pack);
        assert_eq!(gateway.generate_keys(at(0), "module-0001", &of_module), Ok((id, MODULE)));
        assert_eq!(gateway.generate_keys(at(0), "pack-0001", &of_pack), Ok((id, PACK)));
        assert!(gateway.keys_answered(PACK, &answer(id)) && gateway.keys_answered(MODULE, &answer(id)));
        let of: Vec<KeysFor> = told(&mut gateway).into_iter().map(|(of, _)| of).collect();
        assert_eq!(of, [(id, PACK), (id, MODULE)]);
    }

    /// A device that refuses says so, and the app's own refusal ends nothing but the request.
    #[test]
    fn a_refusal_is_told_at_once() {
        let mut rng = ChaCha20Rng::seed_from_u64(15);
        let (mut gateway, request, id) = asked("module-0001", Role::Module);
        gateway.generate_keys(at(0), "module-0001", &request).unwrap();
        assert!(gateway.keys_answered(MODULE, &refusal(id, Status::WrongParty)));
        let (_, own, id) = asked("app-0001", Role::Module);
        gateway.generate_keys(at(1), "app-0001", &own).unwrap();
        gateway.ask_keys(at(1), &mut rng);
        let told = told(&mut gateway);
        let declined = |member| ((id, member), Err(KeysRefused::Declined(Status::WrongParty)));
        let told: Vec<_> = told.into_iter().map(|(of, keys)| (of, keys.map(drop))).collect();
        assert_eq!(told, [declined(MODULE), declined(APP)]);
    }

    /// What is authentic is authentic for ever: how often it costs a device something, and for how long, is bounded.
    #[test]
    fn a_request_serves_for_an_hour_and_few_begin_in_a_minute() {
        let mut requests = KeyRequests::default();
        let of = |n: u16| (BindingId([(n >> 8) as u8, n as u8].repeat(8).try_into().unwrap()), MODULE);
        for n in 0..RATE_MAX as u16 {
            assert_eq!(requests.admit(at(1), of(n)), Ok(()), "{n}");
        }
        assert_eq!(requests.admit(at(60), of(99)), Err(KeysRefused::Busy));
        assert_eq!(requests.admit(at(60), of(0)), Ok(()), "it serves already");
        assert_eq!(requests.admit(at(61), of(99)), Ok(()));
        assert_eq!(requests.admit(at(3_600), of(0)), Ok(()));
        assert_eq!(requests.admit(at(3_601), of(0)), Err(KeysRefused::Over));
        for n in 100..1_000 {
            assert_eq!(requests.admit(at(4_000 + 4 * u64::from(n)), of(n)), Ok(()), "{n}");
        }
        assert_eq!(requests.seen.len(), SEEN_MAX);
    }

    #[test]
    fn who_does_not_answer_is_asked_four_times() {
        let mut rng = ChaCha20Rng::seed_from_u64(14);
        let (mut gateway, request, id) = asked("module-0001", Role::Module);
        assert_eq!(gateway.generate_keys(at(0), "module-0001", &request), Ok((id, MODULE)));
        for s in 0..20 {
            gateway.ask_keys(at(s), &mut rng);
        }
        let told = told(&mut gateway);
        assert!(
            matches!(&told[..], [(known, Err(KeysRefused::Silent))] if *known == (id, MODULE)),
            "{told:?}"
        );
        assert_eq!(gateway.key_requests.due(), None);
    }
}
