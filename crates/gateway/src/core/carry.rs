//! Messages that somebody brings over HTTP (`spec/api.md`, A96): delegations, what a delegate ends, successions, and what a
//! delegate says in a ceremony of binding or pairing. They go to this app or, over the buses, to pack or module, and what
//! the device answers goes back.

use super::{
    generate::{PATIENCE, TRIES},
    *,
};
use lct::{
    attest::{CERTIFICATE_LEN, DeviceCertificate},
    binding::{INTRODUCTION_LEN, REQUEST_MAX},
    certificate::CERTIFICATE_MAX,
    delegation::{DELEGATION_MAX, DelegationId, REVOCATION_LEN},
    key_package::SEALED_LEN,
    rebind::TOKEN_LEN,
    registration::REGISTRATION_MAX,
    revocation::LIST_MAX,
    succession::SUCCESSION_LEN,
};
use pack::pdu::{binding as bind, delegation as op, key_package as package};

/// Messages that begin within [`RATE`], at most: each of them takes the bus and a device's time to verify. To bind, pair and
/// end takes about thirty.
const RATE_MAX: usize = 48;
const RATE: Duration = Duration::from_secs(60);
/// Where the end of a pairing or binding has the name of what it ends.
const ENDED: core::ops::Range<usize> = 18..34;
/// Where a bind request and an introduction have the binding, and where a certificate has the pairing.
const BOUND: core::ops::Range<usize> = 1..17;
const PAIRED: core::ops::Range<usize> = 2..18;

/// Where an introduction has the device certificate of the partner (H48).
const PARTNER: core::ops::Range<usize> = 33..33 + CERTIFICATE_LEN;

/// Names a message under way: to whom, and of which type.
pub type CarriedTo = (Member, u8);

/// Why a message is not carried, or not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CarryRefused {
    /// It answered on no bus of this gateway.
    #[error("no part of this pack answers to that name")]
    Unknown,
    /// Other messages are not carried: they need a channel, or whoever makes them brings them.
    #[error("only delegations, successions and what a delegate says to end, bind and pair are carried")]
    Kind,
    /// The same part is being given one, this gateway itself binds or pairs, or what keys signed that may end is on its way to
    /// the ledger.
    #[error(
        "the part is being given a message, too many were carried within a minute, or what keys signed that may end \
         is on its way to the ledger; try again later"
    )]
    Busy,
    /// What keys signed that would end is held here, until the journal of another laptop tells the ledger of them (H253).
    #[error(
        "what the part signed under another laptop's keys, which would end, is held until that laptop's journal is brought: \
         `modbatt delegate bring`, or `modbatt demo --give-up-held`; then again"
    )]
    Held,
    /// The device did not answer.
    #[error("the device does not answer; check its power and the bus, and the message")]
    Silent,
}

/// A message under way.
#[derive(Debug)]
pub(super) struct Carried {
    to: CarriedTo,
    message: Vec<u8>,
    awaited: Awaited,
    due: Instant,
    tries: u8,
}

/// How an answer begins: of one type, one of these operations, and what it is about where it says so.
#[derive(Debug)]
struct Awaited {
    kind: u8,
    operations: &'static [u8],
    about: Vec<u8>,
}

impl Awaited {
    /// What answers `message`; `None` for what is not carried. An answer names what was shown, ended, bound or paired (H161,
    /// H164; C31, C32). That to a succession names who is obeyed from then on, whether or not it was taken (H166).
    fn of(message: &[u8]) -> Option<Self> {
        let (operations, about): (&'static [u8], &[u8]) = match message {
            [pdu::DELEGATION, op::SHOW, shown @ ..] if shown.len() <= DELEGATION_MAX => (&[op::TAKEN], shown),
            [pdu::DELEGATION, op::REVOKE, end @ ..] if end.len() == REVOCATION_LEN => {
                (&[op::REVOKED], end.get(ENDED)?)
            }
            [pdu::DELEGATION, op::SUCCEED, new @ ..] if new.len() == SUCCESSION_LEN => {
                (&[op::SUCCEEDED], &[])
            }
            [pdu::REVOCATION, list @ ..] if list.len() <= LIST_MAX => (&[pdu::REVOCATION_STATUS], &[]),
            [pdu::BINDING, bind::CERTIFICATES] => (&[bind::IDENTITY], &[]),
            [pdu::BINDING, bind::REGISTER, stated @ ..] if stated.len() <= REGISTRATION_MAX => {
                (&[bind::REGISTERED], &[])
            }
            [pdu::BINDING, bind::REQUEST, asked @ ..] if asked.len() <= REQUEST_MAX => {
                (&[bind::KEYS, bind::STATUS], asked.get(BOUND)?)
            }
            [pdu::KEY_PACKAGE, package::SEALED, sealed @ ..] if sealed.len() == 16 + SEALED_LEN => {
                (&[package::STATUS], sealed.get(..16)?)
            }
            [pdu::BINDING, bind::INTRODUCTION, who @ ..] if who.len() <= INTRODUCTION_LEN + TOKEN_LEN => {
                (&[bind::STATUS, bind::SIGNED], who.get(BOUND)?)
            }
            [pdu::CERTIFICATE, certificate @ ..] if certificate.len() <= CERTIFICATE_MAX => {
                (&[pdu::CERTIFICATE_STATUS, pdu::PAIRING_COMPLETE], certificate.get(PAIRED)?)
            }
            _ => return None,
        };
        let about = match operations {
            [op::TAKEN] if message.first() == Some(&pdu::DELEGATION) => DelegationId::of(about).0.to_vec(),
            _ => about.to_vec(),
        };
        Some(Awaited { kind: *message.first()?, operations, about })
    }

    fn is(&self, answer: &[u8]) -> bool {
        let [kind, operation, body @ ..] = answer else { return false };
        *kind == self.kind && self.operations.contains(operation) && body.starts_with(&self.about)
    }
}

/// The status in an answer; what a device hands out instead of one it gives because it accepted.
pub(crate) fn status_of(answer: &[u8]) -> Status {
    match *answer {
        [pdu::BINDING, bind::KEYS | bind::SIGNED | bind::IDENTITY | bind::REGISTERED, ..]
        | [pdu::CERTIFICATE, pdu::PAIRING_COMPLETE, ..] => Status::Accepted,
        [.., status] => Status::from_code(status),
        [] => Status::Malformed,
    }
}

impl Gateway {
    /// Gives `component_id` a message; [`Output::Carried`] tells its answer. What belongs to a ceremony waits for those of this
    /// gateway.
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
        let awaited = Awaited::of(message).ok_or(CarryRefused::Kind)?;
        let settled = matches!(&self.phase, Phase::Operating(c) if c.is_finished());
        let alone = awaited.kind == pdu::DELEGATION || settled;
        self.carried_at.retain(|at| now < *at + RATE);
        let under_way = self.carried.iter().any(|carried| carried.to.0 == member);
        if !alone || under_way || self.carried_at.len() >= RATE_MAX {
            return Err(CarryRefused::Busy);
        }
        self.carried_at.push(now);
        let to = (member, awaited.kind);
        self.carried.push(Carried { to, message: message.to_vec(), awaited, due: now, tries: 0 });
        Ok(to)
    }

    /// The keys that end when `component_id` takes this introduction, as far as it is bound here with whom it is introduced to (H147):
    /// what they signed has to reach the ledger before (A166). None for a first binding, nor those of a binding that the same delegate
    /// made: its journal tells of both, and is brought up to the end of the first one (H238).
    pub fn keys_ending(&self, component_id: &str, message: &[u8]) -> Vec<PublicKey> {
        let Some(pair) = self.introduces(component_id, message) else { return Vec::new() };
        let by = message.get(2..).and_then(|introduction| self.introduced_by(introduction));
        let own = |key: &PublicKey| by.is_some_and(|by| self.field.is_of(key, &by));
        let mut keys = self.keys_of(pair);
        keys.retain(|key| !own(key));
        keys
    }

    /// With what the two of `pair` sign towards each other.
    fn keys_of(&self, [a, b]: [Member; 2]) -> Vec<PublicKey> {
        self.keys_between(a, b).chain(self.keys_between(b, a)).collect()
    }

    /// The keys that end with what this gateway itself asks the authority for: those of the two that it is binding.
    pub fn keys_replaced(&self) -> Vec<PublicKey> {
        let (Phase::Commissioning(c) | Phase::Operating(c)) = &self.phase else { return Vec::new() };
        c.binds().map_or_else(Vec::new, |pair| self.keys_of(pair))
    }

    /// Whom an introduction is for and whom it names. A pack has one app, and a module one pack: whoever comes takes that place.
    fn introduces(&self, component_id: &str, message: &[u8]) -> Option<[Member; 2]> {
        let [pdu::BINDING, bind::INTRODUCTION, introduction @ ..] = message else { return None };
        let partner = DeviceCertificate::from_slice(introduction.get(PARTNER)?).ok()?.subject().ok()?;
        let known = || self.cids.iter().find(|(_, cid)| **cid == partner.cid).map(|(party, _)| *party);
        let with = match partner.role {
            Role::App => None,
            Role::Pack => Some(Party::Pack),
            _ => Some(known()?),
        };
        Some([self.member_of(component_id)?, with])
    }

    /// The key of `of` in its binding with `with`, as the ledger has it.
    pub(super) fn key_between(&self, of: Member, with: Member) -> Option<PublicKey> {
        match of {
            Some(of) => self.keys.with(of, with),
            None => self.app.relation().own_spk().map(|own| own.signing_key().public()),
        }
    }

    /// From now on nothing is taken that these keys sign, and its device tells it again: so that what they signed before is soon all
    /// on the ledger, however much everybody else has to say.
    pub fn hold(&mut self, keys: Vec<PublicKey>) {
        self.held = keys;
    }

    pub(super) fn is_held(&self, key: &PublicKey) -> bool {
        self.held.contains(key)
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
        let answered = self.carried.iter().find(|c| c.to.0 == from && c.awaited.is(bytes));
        let Some((to, message)) = answered.map(|c| (c.to, c.message.clone())) else { return false };
        self.overheard(to.0, &message, bytes);
        self.carried_answer(to, Ok(bytes.to_vec()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        core::service::tests::{at, operating},
        world::{APP, MODULE, PACK},
    };
    use lct::{
        attest::{CertificateType, Subject},
        id::Cid,
        sign::SigningKey,
        validation::Attestation,
    };
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    /// Each part is given one message at a time, and who does not answer is asked four times.
    #[test]
    fn a_message_gets_its_answer_and_no_other_is_carried() {
        let mut rng = ChaCha20Rng::seed_from_u64(21);
        let mut gateway = operating();
        let show = [&[pdu::DELEGATION, op::SHOW][..], &[7; 171]].concat();
        let revoke = [&[pdu::DELEGATION, op::REVOKE][..], &[7; 103]].concat();
        let carry = |gateway: &mut Gateway, id: &str, m: &[u8]| gateway.carry(at(0), id, m);
        assert_eq!(carry(&mut gateway, "module-0009", &show), Err(CarryRefused::Unknown));
        for other in [
            &[pdu::BINDING, bind::KEYS][..],
            &[pdu::DELEGATION, op::TAKEN],
            &[pdu::DELEGATION],
            &[pdu::CERTIFICATE, 1],
            &[],
        ] {
            assert_eq!(carry(&mut gateway, "pack-0001", other), Err(CarryRefused::Kind), "{other:?}");
        }
        let long = [&[pdu::DELEGATION, op::SHOW][..], &[7; DELEGATION_MAX + 1]].concat();
        assert_eq!(carry(&mut gateway, "pack-0001", &long), Err(CarryRefused::Kind));
        assert_eq!(carry(&mut gateway, "pack-0001", &show), Ok((PACK, pdu::DELEGATION)));
        assert_eq!(carry(&mut gateway, "pack-0001", &revoke), Err(CarryRefused::Busy));
        assert_eq!(carry(&mut gateway, "module-0001", &revoke), Ok((MODULE, pdu::DELEGATION)));
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
        let expected =
            [((PACK, pdu::DELEGATION), Ok(answer(op::TAKEN))), ((MODULE, pdu::DELEGATION), silent)];
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
            assert_eq!(gateway.carry(at(n), "pack-0001", &end), Ok((PACK, pdu::DELEGATION)), "{n}");
            gateway.give_carried(at(n), &mut rng);
            assert!(!gateway.carried_answered(PACK, &told(7, 0)), "of another pairing");
            assert!(gateway.carried_answered(PACK, &told(3, 2)));
        }
        assert_eq!(gateway.carry(at(59), "pack-0001", &end), Err(CarryRefused::Busy));
        assert_eq!(gateway.carry(at(60), "pack-0001", &end), Ok((PACK, pdu::DELEGATION)));
    }

    /// An introduction ends the keys of the binding between the two and no others: of a module that is new here none, however much
    /// the rest of the pack has to say (A166). What they sign is not taken while they are held, and everything else is.
    #[test]
    fn what_an_introduction_ends_is_held_back_and_nothing_else() {
        let key = |n: u8| SigningKey::from_bytes(&[n; 32]).unwrap().public();
        let mut gateway = operating();
        let mut keys = Keys::default();
        keys.insert(Party::Pack, None, key(1));
        keys.insert(Party::Pack, MODULE, key(2));
        keys.insert(Party::Module(1), PACK, key(3));
        gateway.set_keys(keys);
        let introduction = |id: &str, role: Role| {
            let issuer = SigningKey::from_bytes(&[9; 32]).unwrap();
            let subject = Subject {
                kind: CertificateType::Device,
                cid: Cid::of(id),
                role,
                flags: 0,
                not_before: 0,
                not_after: u32::MAX,
                hw: [0; 8],
                key: issuer.public(),
                code_commit: [0; 32],
            };
            let partner = DeviceCertificate::issue(&subject, &issuer, &mut ChaCha20Rng::seed_from_u64(5));
            let head = [&[pdu::BINDING, bind::INTRODUCTION][..], &[2; 33]].concat();
            [&head[..], &partner.0, &[0; 448]].concat()
        };
        let of_module = introduction("module-0001", Role::Module);
        let (stranger, of_pack) =
            (introduction("module-0009", Role::Module), introduction("pack-0009", Role::Pack));
        let of_app = introduction("app-0009", Role::App);
        for (what, id, message, ends) in [
            ("pack and module", "pack-0001", &of_module, vec![key(2), key(3)]),
            ("module and any pack", "module-0001", &of_pack, vec![key(3), key(2)]),
            ("a module that is new here", "pack-0001", &stranger, vec![]),
            ("pack and another app", "pack-0001", &of_app, vec![key(1)]),
            ("nobody here", "module-0009", &of_pack, vec![]),
            ("another message", "pack-0001", &vec![pdu::BINDING, bind::REQUEST], vec![]),
            ("one that is cut", "pack-0001", &of_module[..90].to_vec(), vec![]),
        ] {
            assert_eq!(gateway.keys_ending(id, message), ends, "{what}");
        }
        gateway.outputs.clear();
        let job = |n| Job::Energy { statement: vec![1], key: key(n), signature: Signature([0; 64]) };
        let of = |kind, number| Kept { party: PACK, kind, number, by: (key(1), None), again: false };
        let kept = |number| of(pdu::ENERGY, number);
        gateway.hold(gateway.keys_ending("module-0001", &of_pack));
        assert!(gateway.keep(job(1), kept(1)) && !gateway.keep(job(2), kept(2)));
        assert!(!gateway.keep(job(3), kept(3)));
        let word = Attestation { witness: Cid([9; 16]), time_ms: 4, sig: Signature([8; 64]) };
        let stated = |n: u8, by: u8| {
            let (statement, signature) = (vec![4], Signature([7; 64]));
            Job::Statement { statement, key: key(n), signature, witness: Some((word, key(by))) }
        };
        let told = |number| of(pdu::VALIDATION, number);
        assert!(gateway.keep(stated(3, 1), told(4)), "of the binding itself, which no other key can say");
        assert!(!gateway.keep(stated(1, 2), told(5)), "its witness signs it anew");
        let whole =
            Job::Batch { statement: vec![5], key: key(3), signature: Signature([0; 64]), entries: vec![] };
        assert!(gateway.keep(whole, of(pdu::BATCH, 6)), "told before, and whole only now");
        assert_eq!(gateway.outputs.len(), 3);
        gateway.hold(Vec::new());
        assert!(gateway.keep(job(3), kept(3)), "its device tells it again");
    }

    /// What belongs to a ceremony gets the answer of that ceremony, and waits while this gateway binds or pairs.
    #[test]
    fn the_messages_of_a_ceremony_are_carried_and_told_apart() {
        let mut rng = ChaCha20Rng::seed_from_u64(23);
        let mut gateway = operating();
        let named = |head: &[u8], id: u8, rest: usize| [head, &[id; 16], &vec![0; rest]].concat();
        let request = named(&[pdu::BINDING, bind::REQUEST, 1], 5, 60);
        let package = named(&[pdu::KEY_PACKAGE, package::SEALED], 5, SEALED_LEN);
        let introduction = named(&[pdu::BINDING, bind::INTRODUCTION, 2], 5, INTRODUCTION_LEN - 17);
        let certificate = named(&[pdu::CERTIFICATE, 1, 1], 6, 400);
        let list = named(&[pdu::REVOCATION], 1, 80);
        let keys = named(&[pdu::BINDING, bind::KEYS], 5, 132);
        let signed = named(&[pdu::BINDING, bind::SIGNED], 5, 64);
        let refused = named(&[pdu::BINDING, bind::STATUS], 5, 0);
        let refused = [&refused[..], &[Status::WrongParty as u8]].concat();
        let completed = named(&[pdu::CERTIFICATE, pdu::PAIRING_COMPLETE], 6, 128);
        let declined = [&named(&[pdu::CERTIFICATE, pdu::CERTIFICATE_STATUS], 6, 0)[..], &[3]].concat();
        let taken = [&named(&[pdu::KEY_PACKAGE, package::STATUS], 5, 0)[..], &[0]].concat();
        let held = vec![pdu::REVOCATION, pdu::REVOCATION_STATUS, 0, 0, 0, 2, 0];
        let identity = vec![pdu::BINDING, bind::IDENTITY, 9];
        for (message, answer, status) in [
            (&request, &keys, Status::Accepted),
            (&request, &refused, Status::WrongParty),
            (&package, &taken, Status::Accepted),
            (&introduction, &signed, Status::Accepted),
            (&introduction, &refused, Status::WrongParty),
            (&certificate, &completed, Status::Accepted),
            (&certificate, &declined, Status::WrongState),
            (&list, &held, Status::Accepted),
            (&vec![pdu::BINDING, bind::CERTIFICATES], &identity, Status::Accepted),
        ] {
            assert_eq!(gateway.carry(at(0), "pack-0001", message), Ok((PACK, message[0])));
            gateway.give_carried(at(0), &mut rng);
            let mut of_another = answer.clone();
            of_another[2] ^= 1;
            if *answer != held && *answer != identity {
                assert!(!gateway.carried_answered(PACK, &of_another), "of another ceremony: {answer:?}");
            }
            assert!(gateway.carried_answered(PACK, answer), "{answer:?}");
            assert_eq!(status_of(answer), status);
        }
        let long = named(&[pdu::CERTIFICATE, 1, 1], 6, CERTIFICATE_MAX);
        assert_eq!(gateway.carry(at(0), "pack-0001", &long), Err(CarryRefused::Kind));
        let Phase::Operating(c) = &mut gateway.phase else { panic!("it operates") };
        c.pair_anew(PACK, MODULE);
        assert_eq!(gateway.carry(at(0), "pack-0001", &certificate), Err(CarryRefused::Busy));
        let show = [&[pdu::DELEGATION, op::SHOW][..], &[7; 171]].concat();
        assert_eq!(gateway.carry(at(0), "pack-0001", &show), Ok((PACK, pdu::DELEGATION)));
    }
}
