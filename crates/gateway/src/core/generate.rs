//! Keys for a binding that the authority asks for over HTTP (`spec/api.md`, A91): its signed request goes to this app or, over
//! the buses, to pack or module, and what the device answers goes back.

use super::*;
use lct::{binding::BindRequest, id::Cid};
use pack::pdu::binding as op;

/// How long a device may take, and how often it is asked.
const PATIENCE: Duration = Duration::from_millis(1_500);
const TRIES: u8 = 4;
/// Most requests under way.
const ASKED_MAX: usize = 4;

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
    /// Commissioning or other requests are under way.
    #[error("other keys are being drawn; try again later")]
    Busy,
    /// The device did not answer.
    #[error("the device does not answer; check its power and the bus")]
    Silent,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Asked {
    id: BindingId,
    member: Member,
    request: Vec<u8>,
    due: Instant,
    tries: u8,
}

impl Gateway {
    /// Has `component_id` draw a key for the binding that `request` (H46) is about; [`Output::Keys`] tells the outcome of
    /// that binding.
    ///
    /// # Errors
    /// [`KeysRefused`], of which [`KeysRefused::Silent`] comes as outcome only.
    pub fn generate_keys(
        &mut self,
        now: Instant,
        component_id: &str,
        request: &[u8],
    ) -> Result<BindingId, KeysRefused> {
        let cid = Cid::of(component_id);
        let member = match self.cids.iter().find(|(_, known)| **known == cid) {
            Some((party, _)) => Some(*party),
            None if cid == self.app.identity().cid() => None,
            None => return Err(KeysRefused::Unknown),
        };
        let authority = self.app.identity().authority.sign_pub();
        let wanted = BindRequest::open(request, &authority).map_err(|_| KeysRefused::NotAuthentic)?;
        if wanted.own.0 != cid {
            return Err(KeysRefused::OtherEntity);
        }
        let settled = matches!(&self.phase, Phase::Operating(c) if c.is_finished());
        if !settled || self.keys_asked.len() >= ASKED_MAX {
            return Err(KeysRefused::Busy);
        }
        let id = wanted.binding_id;
        // The same again begins its tries anew.
        self.keys_asked.retain(|asked| asked.id != id);
        self.keys_asked.push(Asked { id, member, request: request.to_vec(), due: now, tries: 0 });
        Ok(id)
    }

    pub(super) fn keys_due(&self) -> Option<Instant> {
        self.keys_asked.iter().map(|asked| asked.due).min()
    }

    /// Asks for what is due.
    pub(super) fn ask_keys(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        while let Some(at) = self.keys_asked.iter().position(|asked| asked.due <= now) {
            let asked = &mut self.keys_asked[at];
            if asked.tries >= TRIES {
                let Asked { id, .. } = self.keys_asked.swap_remove(at);
                self.outputs.push_back(Output::Keys(id, Err(KeysRefused::Silent)));
                continue;
            }
            (asked.tries, asked.due) = (asked.tries + 1, now + PATIENCE);
            let (member, pdu) =
                (asked.member, [&[pdu::BINDING, op::REQUEST], asked.request.as_slice()].concat());
            self.go(now, Step::Send(member, pdu), rng)?;
        }
        Ok(())
    }

    /// Takes the keys that a device drew for such a request; false for anything else.
    pub(super) fn keys_drawn(&mut self, from: Member, bytes: &[u8]) -> bool {
        let [pdu::BINDING, op::KEYS, body @ ..] = bytes else { return false };
        let Ok((id, keys)) = DeviceKeys::read(body) else { return false };
        let asked = |asked: &Asked| (asked.id, asked.member) == (id, from);
        let Some(at) = self.keys_asked.iter().position(asked) else { return false };
        self.keys_asked.swap_remove(at);
        self.outputs.push_back(Output::Keys(id, Ok(keys)));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        core::service::tests::{at, operating},
        world::{APP, MODULE},
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

    fn told(gateway: &mut Gateway) -> Vec<(BindingId, Result<DeviceKeys, KeysRefused>)> {
        let outputs = gateway.outputs.drain(..).filter_map(|output| match output {
            Output::Keys(id, keys) => Some((id, keys)),
            _ => None,
        });
        outputs.collect()
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
        assert_eq!(refused(&mut gateway, "module-0001", &request), Ok(id));
        // An answer of somebody else, or for another binding, is none.
        assert!(!gateway.keys_drawn(APP, &answer(id)));
        assert!(!gateway.keys_drawn(MODULE, &answer(BindingId([8; 16]))));
        assert!(gateway.keys_drawn(MODULE, &answer(id)));
        assert!(!gateway.keys_drawn(MODULE, &answer(id)), "once");
        let told = told(&mut gateway);
        assert!(matches!(&told[..], [(known, Ok(keys))] if *known == id && keys.spk == [1; 68]), "{told:?}");
    }

    #[test]
    fn who_does_not_answer_is_asked_four_times() {
        let mut rng = ChaCha20Rng::seed_from_u64(14);
        let (mut gateway, request, id) = asked("module-0001", Role::Module);
        assert_eq!(gateway.generate_keys(at(0), "module-0001", &request), Ok(id));
        for s in 0..20 {
            gateway.ask_keys(at(s), &mut rng).unwrap();
        }
        assert!(matches!(&told(&mut gateway)[..], [(known, Err(KeysRefused::Silent))] if *known == id));
        assert_eq!(gateway.keys_due(), None);
    }
}
