//! Whoever holds a delegation acts in the authority's place: in its window, for its packs, in its operations, and
//! nothing beyond (`spec/channel.md`, H160 to H164). Nobody here has a network: the authority is far away.

use crate::world;

use lct::{
    binding::{Assurance, BindRequest, Introduction},
    clock::TimeToken,
    delegation::{DelegateRevocation, Delegation, DelegationId, PACKS_MAX},
    id::{BindingId, Cid, PairingId, Role},
    journal::Code,
    metadata::PairingContext,
    revocation::{Reason, RevocationList, Revoked, Subject, hash_of},
    sign::SigningKey,
    spk::SpkSecret,
    succession::Succession,
};
use pack::{
    app::{self, Party},
    pdu::{self, Status, binding as bind, delegation as op},
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use world::{BOUND, World, keeper::Keeper};

const APP: (Option<Party>, usize) = (None, 0);
const PACK: (Option<Party>, usize) = (Some(Party::Pack), 1);
const FIRST: (Option<Party>, usize) = (Some(Party::Module(1)), 2);
const EVERYONE: [(Option<Party>, usize); 3] = [APP, PACK, FIRST];
/// When the technician leaves.
const LEFT: u32 = BOUND + 100;

/// A commissioned pack with one module, and a laptop whose delegation is as `change` makes it.
struct Field {
    w: World,
    laptop: SpkSecret,
    delegation: Vec<u8>,
}

fn packs(names: &[&str]) -> heapless::Vec<Cid, PACKS_MAX> {
    names.iter().map(|name| Cid::of(name)).collect()
}

impl Field {
    fn new(seed: u64, change: impl FnOnce(Delegation) -> Delegation) -> Field {
        let mut w = World::new(1, seed);
        w.commission();
        let mut rng = ChaCha20Rng::seed_from_u64(seed + 1_000);
        let laptop = SpkSecret::generate(&mut rng).unwrap();
        let delegation = change(Delegation {
            number: 4,
            delegate: laptop.public(),
            issued: LEFT,
            not_before: LEFT,
            not_after: LEFT + 86_400,
            lease_s: 7 * 86_400,
            operations: 7,
            packs: packs(&["pack-0001"]),
        });
        let delegation = delegation.issue(w.authority.spk.signing_key(), &mut rng).unwrap().to_vec();
        (w.timing.created, w.timing.valid_from, w.timing.expires) = (LEFT + 50, LEFT + 50, LEFT + 3_600);
        w.delegate = Some(laptop.clone());
        w.events.retain(|event| matches!(event, app::Event::Log(..)));
        Field { w, laptop, delegation }
    }

    fn id(&self) -> DelegationId {
        DelegationId::of(&self.delegation)
    }

    /// Gives `to` a PDU and returns the status of its answer.
    fn ask(&mut self, to: Option<Party>, message: &[u8], answer: (u8, u8)) -> Option<Status> {
        self.w.give(to, message);
        self.w.run_for(1_500);
        let answer = self.w.answer(to, answer.0, answer.1)?;
        Some(Status::from_code(*answer.last().unwrap()))
    }

    fn show(&mut self, to: Option<Party>, delegation: &[u8]) -> Option<Status> {
        let message = [&[pdu::DELEGATION, op::SHOW], delegation].concat();
        self.ask(to, &message, (pdu::DELEGATION, op::TAKEN))
    }

    fn show_all(&mut self) {
        let delegation = self.delegation.clone();
        for (party, _) in EVERYONE {
            assert_eq!(self.show(party, &delegation), Some(Status::Accepted), "{party:?}");
        }
    }

    fn certificate(&mut self, to: Option<Party>, a: usize, b: usize) -> Option<Status> {
        let cert = self.w.certificate(a, b);
        let message = [&[pdu::CERTIFICATE], cert.as_slice()].concat();
        self.ask(to, &message, (pdu::CERTIFICATE, pdu::CERTIFICATE_STATUS))
    }

    fn revoke(&mut self, to: Option<Party>, subject: Subject, key: &SigningKey) -> Option<Status> {
        let (delegation, reason) = (self.id(), Reason::Lost);
        let statement = DelegateRevocation { delegation, subject, reason, time: LEFT + 60 };
        let bytes = statement.issue(key, &mut self.w.rng);
        let message = [&[pdu::DELEGATION, op::REVOKE], bytes.as_slice()].concat();
        self.ask(to, &message, (pdu::DELEGATION, op::REVOKED))
    }

    /// The authority's time, told to the app and the pack.
    fn time(&mut self, time: u32) {
        let token = TimeToken { time }.issue(self.w.authority.spk.signing_key(), &mut self.w.rng);
        let now = self.w.now;
        self.w.app.time_token(now, &token).unwrap();
        self.w.run_for(500);
    }

    fn list(&mut self, number: u32, previous: [u8; 32], subjects: &[Subject]) -> Vec<u8> {
        let entries = subjects.iter().map(|s| Revoked { subject: *s, reason: Reason::Lost, time: LEFT });
        let list = RevocationList {
            number,
            this_update: LEFT,
            next_update: LEFT + 604_800,
            previous,
            entries: entries.collect(),
        };
        list.issue(self.w.authority.spk.signing_key(), &mut self.w.rng).unwrap().to_vec()
    }

    fn give_list(&mut self, to: Option<Party>, list: &[u8]) -> Option<Status> {
        let message = [&[pdu::REVOCATION], list].concat();
        self.ask(to, &message, (pdu::REVOCATION, pdu::REVOCATION_STATUS))
    }

    fn binding(&self) -> BindingId {
        self.w.app.relation().binding().unwrap().0
    }

    fn pairing(&self) -> PairingId {
        self.w.app.relation().pairing_id().unwrap()
    }
}

/// Fresh keys for the whole pack, and every device has it in its log.
#[test]
fn a_laptop_pairs_a_pack_anew_and_every_device_says_so_in_its_log() {
    let mut f = Field::new(300, |d| d);
    let before = f.pairing();
    assert_eq!(f.certificate(PACK.0, 0, 1), None, "without its delegation the laptop is a stranger");
    f.show_all();
    assert!(f.w.pair(APP, PACK) && f.w.pair(PACK, FIRST), "paired under the delegate's certificates");
    let paired = f.pairing();
    assert!(f.w.app.relation().is_up() && f.w.modules[0].relation().is_up() && paired != before);
    let mut keeper = Keeper::default();
    keeper.collect(&mut f.w, 15_000);
    let number = 4u32.to_be_bytes();
    let shown = [&number[..], &f.id().0, &(LEFT + 86_400).to_be_bytes()].concat();
    for (party, who) in [PACK, FIRST] {
        let log = keeper.of(party);
        assert_eq!(log.details(Code::DelegationShown), std::slice::from_ref(&shown), "{who}");
        let acts = log.details(Code::DelegateActed);
        assert!(acts.iter().all(|a| a[..5] == [&number[..], &[pdu::CERTIFICATE]].concat()), "{acts:?}");
        assert_eq!(acts.len(), if who == 1 { 2 } else { 1 }, "one act, however often it is sent: {acts:?}");
    }
    assert_eq!(keeper.of(PACK.0).details(Code::DelegateActed)[0][5..], paired.0);
}

/// Lost keys in the field: the binding is replaced with the delegate's leave, in a ceremony that is its own throughout.
#[test]
fn a_laptop_binds_anew_with_leave_of_its_own() {
    let mut f = Field::new(301, |d| d);
    let before = f.binding();
    assert!(!f.w.bind(APP, PACK), "not before its delegation is shown");
    f.show_all();
    let leave = std::mem::replace(&mut f.w.leave, |_| None);
    assert!(!f.w.bind(APP, PACK), "without leave nothing is replaced");
    f.w.leave = leave;
    assert!(f.w.bind(APP, PACK));
    assert_ne!(f.binding(), before);
    assert!(f.w.pair(APP, PACK) && f.w.app.relation().is_up());
    assert!(f.w.bind(PACK, FIRST) && f.w.pair(PACK, FIRST));
    f.w.packages = [true; 2];
    assert!(f.w.bind(APP, PACK) && f.w.pair(APP, PACK), "with halves in packages that it sealed");
}

/// H228: to have a binding give way is to end it, which a right to bind alone does not cover.
#[test]
fn who_may_bind_and_not_revoke_replaces_nothing() {
    let mut f = Field::new(330, |d| Delegation { operations: 3, ..d });
    let before = f.binding();
    f.show_all();
    assert!(!f.w.bind(APP, PACK), "with leave, and without the right to revoke");
    assert_eq!(f.binding(), before);
    assert!(f.w.app.relation().is_up(), "what is in force stays");
}

/// H228: the same under the id of the binding in force.
#[test]
fn a_binding_does_not_give_way_under_its_own_id_either() {
    let mut f = Field::new(331, |d| Delegation { operations: 3, ..d });
    let (before, keys) = (f.binding(), f.w.spk_of(0, 1));
    f.show_all();
    assert!(!f.w.bind_as(before, APP, PACK), "under the id in force");
    assert!((f.binding(), f.w.spk_of(0, 1)) == (before, keys), "the keys in force stay");
    assert!(f.w.app.relation().is_up());
    let mut f = Field::new(332, |d| d);
    let (before, keys) = (f.binding(), f.w.spk_of(0, 1));
    f.show_all();
    f.w.bind_as(before, APP, PACK);
    assert!(f.w.spk_of(0, 1) != keys, "who may revoke too");
}

/// H162: whoever asked for the keys introduces.
#[test]
fn a_ceremony_has_one_issuer() {
    let mut f = Field::new(302, |d| d);
    f.show_all();
    let before = f.binding();
    let authority = f.w.authority.spk.clone();
    let spy = f.laptop.clone();
    for (asks, introduces) in [(spy.clone(), authority.clone()), (authority, spy)] {
        let (a, b) = (&f.w.identities[0], &f.w.identities[1]);
        let ids = [(a.cid(), a.role), (b.cid(), b.role)];
        let binding_id = BindingId([asks.public().0[10]; 16]);
        let request = lct::binding::BindRequest {
            binding_id,
            own: ids[1],
            partner: ids[0],
            nonce: [3; 16],
            partner_access: heapless::Vec::new(),
        };
        let request = request.issue(asks.signing_key(), &mut f.w.rng).unwrap();
        f.w.give(PACK.0, &[&[pdu::BINDING, pdu::binding::REQUEST], request.as_slice()].concat());
        f.w.run_for(500);
        let keys = f.w.answer(PACK.0, pdu::BINDING, pdu::binding::KEYS).unwrap();
        let question = lct::rebind::Rebind {
            device: ids[1].0,
            nonce: keys[150..166].try_into().unwrap(),
            old: BindingId(keys[166..182].try_into().unwrap()),
        };
        let introduction = lct::binding::Introduction {
            binding_id,
            own: ids[1].0,
            device: f.w.identities[0].device,
            batch: f.w.authority.batch_cert,
            spk: f.w.spk_of(0, 1),
            nonce: [4; 16],
            attestation: lct::sign::Signature([1; 64]),
            access_commits: [[0; 32]; 2],
            time: BOUND,
            assurance: lct::binding::Assurance::Attested,
        };
        let refused = f.w.pack.refused().security;
        let bytes = introduction.issue(introduces.signing_key(), &mut f.w.rng).unwrap();
        let token = question.issue(introduces.signing_key(), &mut f.w.rng);
        let head = [pdu::BINDING, pdu::binding::INTRODUCTION];
        f.w.give(PACK.0, &[&head, bytes.as_slice(), &token].concat());
        f.w.run_for(1_000);
        assert_eq!(f.w.answer(PACK.0, pdu::BINDING, pdu::binding::STATUS), None);
        assert!(f.w.pack.refused().security > refused);
    }
    assert_eq!(f.binding(), before);
}

/// Each attacker holds a real delegation and wants one thing more than it says.
#[test]
fn nothing_beyond_window_packs_operations_and_grant() {
    type Change = fn(Delegation) -> Delegation;
    type Setup = fn(&mut Field);
    let none: Setup = |_| {};
    let cases: [(&str, Change, Setup, Status); 10] = [
        ("it may only revoke", |d| Delegation { operations: 4, ..d }, none, Status::WrongParty),
        ("for another pack", |d| Delegation { packs: packs(&["pack-0002"]), ..d }, none, Status::WrongParty),
        ("a longer lease", |d| d, |f| f.w.timing.expires = LEFT + 100 + 7 * 86_400, Status::WrongParty),
        (
            "a long lease that begins before its date",
            |d| Delegation { not_after: LEFT + 20 * 86_400, ..d },
            |f| {
                f.w.timing.created = LEFT + 20 * 86_400 - 60;
                f.w.timing.expires = LEFT + 27 * 86_400 - 60;
            },
            Status::WrongParty,
        ),
        ("firmware", |d| d, |f| f.w.rights.0 = PairingContext::FirmwareUpdate, Status::WrongParty),
        ("emergency", |d| d, |f| f.w.rights.0 = PairingContext::Emergency, Status::WrongParty),
        ("values in clear", |d| d, |f| f.w.stay_clear = vec![0x421], Status::WrongParty),
        ("compact values", |d| d, |f| f.w.compact = vec![0x421], Status::WrongParty),
        ("dated before its window", |d| d, |f| f.w.timing.created = LEFT - 10, Status::WrongState),
        ("after its window", |d| d, |f| f.time(LEFT + 86_400), Status::WrongState),
    ];
    for (case, change, setup, status) in cases {
        let mut f = Field::new(303, change);
        f.show_all();
        let before = f.pairing();
        setup(&mut f);
        let mut seen = Vec::new();
        for (party, _) in [APP, PACK] {
            seen.push(f.certificate(party, 0, 1));
        }
        assert_eq!(seen, [Some(status); 2], "{case}");
        assert_eq!(f.pairing(), before, "{case}");
        assert!(f.w.app.relation().is_up(), "{case}: what is in force stays");
        let mut keeper = Keeper::default();
        keeper.collect(&mut f.w, 15_000);
        let refused = [&4u32.to_be_bytes()[..], &[pdu::CERTIFICATE, status as u8]].concat();
        assert_eq!(keeper.of(PACK.0).details(Code::DelegateRefused), [refused], "{case}");
        assert_eq!(keeper.of(PACK.0).details(Code::DelegateActed), [[0u8; 0]; 0], "{case}");
    }
}

#[test]
fn a_delegation_itself_is_the_authoritys_and_of_its_time() {
    let mut f = Field::new(304, |d| d);
    let laptop = f.laptop.clone();
    let again = Delegation { number: 5, ..Delegation::read(&f.delegation).unwrap() };
    let sign = |d: &Delegation, key: &SigningKey, f: &mut Field| d.issue(key, &mut f.w.rng).unwrap().to_vec();
    let by_delegate = sign(&again, laptop.signing_key(), &mut f);
    f.show_all();
    for (party, _) in EVERYONE {
        assert_eq!(f.show(party, &by_delegate), Some(Status::NotAuthentic), "a delegate of a delegate");
    }
    let authority = f.w.authority.spk.signing_key().clone();
    let old = Delegation {
        issued: BOUND - 9_000,
        not_before: BOUND - 9_000,
        not_after: BOUND - 10,
        ..again.clone()
    };
    let early = Delegation { not_before: LEFT + 5_000, ..again.clone() };
    for (case, shown) in [("it ended", old), ("it has not begun", early.clone())] {
        let bytes = sign(&shown, &authority, &mut f);
        for (party, _) in EVERYONE {
            assert_eq!(f.show(party, &bytes), Some(Status::WrongState), "{case}");
        }
    }
    // The same once the authority said that its time has come.
    f.time(LEFT + 5_000);
    let bytes = sign(&early, &authority, &mut f);
    assert_eq!(f.show(PACK.0, &bytes), Some(Status::Accepted));
}

/// A device that lay in a store knows an old time; what the authority signed with the delegation is later.
#[test]
fn a_clock_that_is_behind_follows_the_delegation_and_not_the_delegate() {
    let late = LEFT + 400 * 86_400;
    let mut f =
        Field::new(305, |d| Delegation { issued: late, not_before: late, not_after: late + 3_600, ..d });
    (f.w.timing.created, f.w.timing.valid_from, f.w.timing.expires) = (late + 10, late + 10, late + 900);
    f.show_all();
    assert!(f.w.pair(APP, PACK), "its window is that of the authority's time");
    // An hour of power later it is over, though nobody told the time.
    f.w.run_for(3_600_000);
    f.w.events.clear();
    let before = f.pairing();
    f.w.timing.created = late + 3_000;
    assert_eq!(f.certificate(PACK.0, 0, 1), Some(Status::WrongState));
    assert_eq!(f.pairing(), before);
}

/// The authority takes a delegation back: devices that hold the list refuse it, shown before or after, also after a
/// start, which forgets what was shown but not the list.
#[test]
fn a_revoked_delegation_is_refused_for_good() {
    let mut f = Field::new(306, |d| d);
    f.show_all();
    let list = f.list(1, [0; 32], &[Subject::Delegation(f.id())]);
    for (party, _) in EVERYONE {
        assert_eq!(f.give_list(party, &list), Some(Status::Accepted), "{party:?}");
    }
    let before = f.pairing();
    assert_eq!(f.certificate(PACK.0, 0, 1), Some(Status::WrongParty), "shown before");
    assert_eq!(
        f.revoke(PACK.0, Subject::Pairing(before), &f.laptop.signing_key().clone()),
        Some(Status::WrongParty)
    );
    let delegation = f.delegation.clone();
    for restarts in 0..2 {
        for (party, _) in EVERYONE {
            assert_eq!(
                f.show(party, &delegation),
                Some(Status::WrongParty),
                "{party:?}, {restarts} restarts"
            );
        }
        f.w.restart(0);
        f.w.restart(1);
        f.w.restart(2);
        f.w.run_for(8_000);
        f.w.events.clear();
    }
    assert_eq!(f.pairing(), before);
    // Another list that names another delegation lets this one in again only if the authority dropped it.
    let other = f.list(2, hash_of(&list), &[Subject::Delegation(DelegationId([9; 16]))]);
    assert_eq!(f.give_list(PACK.0, &other), Some(Status::Accepted));
    assert_eq!(f.show(PACK.0, &delegation), Some(Status::Accepted));
}

#[test]
fn a_laptop_ends_pairings_and_bindings_of_its_packs() {
    let key = |f: &Field| f.laptop.signing_key().clone();
    let mut f = Field::new(307, |d| d);
    let pairing = Subject::Pairing(f.pairing());
    assert_eq!(f.revoke(PACK.0, pairing, &key(&f)), Some(Status::WrongState), "nothing was shown");
    f.show_all();
    let authority = f.w.authority.spk.signing_key().clone();
    assert_eq!(f.revoke(PACK.0, pairing, &authority), Some(Status::NotAuthentic), "that is a list's to say");
    assert_eq!(f.revoke(PACK.0, Subject::Pairing(PairingId([1; 16])), &key(&f)), Some(Status::WrongParty));
    for (party, _) in [APP, PACK] {
        assert_eq!(f.revoke(party, pairing, &key(&f)), Some(Status::Accepted));
    }
    assert!(!f.w.app.relation().is_paired() && f.w.app.relation().binding().is_some(), "the binding stays");
    assert!(f.w.pair(APP, PACK), "and serves again");

    let module = f.w.modules[0].relation().binding().unwrap().0;
    for (party, _) in [FIRST, PACK] {
        assert_eq!(f.revoke(party, Subject::Binding(module), &key(&f)), Some(Status::Accepted), "{party:?}");
    }
    assert!(f.w.modules[0].relation().binding().is_none(), "its keys are erased");
    f.w.restart(1);
    f.w.restart(2);
    f.w.run_for(8_000);
    assert!(f.w.modules[0].relation().binding().is_none(), "in flash too");

    for (case, change) in [
        ("not its operation", (|d| Delegation { operations: 3, ..d }) as fn(Delegation) -> Delegation),
        ("not its pack", |d| Delegation { packs: packs(&["pack-0002"]), ..d }),
    ] {
        let mut f = Field::new(308, change);
        f.show_all();
        let binding = f.binding();
        assert_eq!(f.revoke(PACK.0, Subject::Binding(binding), &key(&f)), Some(Status::WrongParty), "{case}");
        assert_eq!(f.revoke(APP.0, Subject::Binding(binding), &key(&f)), Some(Status::WrongParty), "{case}");
        assert!(f.w.app.relation().is_up(), "{case}");
    }
}

/// What is the authority's alone: its list, its time, its policies.
#[test]
fn a_delegate_has_neither_lists_nor_time() {
    let mut f = Field::new(309, |d| d);
    f.show_all();
    let key = f.laptop.signing_key().clone();
    let list = RevocationList {
        number: 1,
        this_update: LEFT,
        next_update: LEFT + 1,
        previous: [0; 32],
        entries: heapless::Vec::new(),
    };
    let list = list.issue(&key, &mut f.w.rng).unwrap().to_vec();
    assert_eq!(f.give_list(PACK.0, &list), Some(Status::NotAuthentic));
    let token = TimeToken { time: LEFT + 999_999 }.issue(&key, &mut f.w.rng);
    let now = f.w.now;
    assert!(f.w.app.time_token(now, &token).is_err());
    // Nor does the time in its certificates move a clock: it stays in its window.
    (f.w.timing.created, f.w.timing.expires) = (LEFT + 80_000, LEFT + 90_000);
    assert!(f.w.pair(APP, PACK));
    f.w.run_for(10_000);
    let now = f.w.now;
    assert!(f.w.pack.judged_time(now).unwrap() < LEFT + 1_000, "by the device's clock it is early");
    let mut keeper = Keeper::default();
    keeper.collect(&mut f.w, 12_000);
    assert_eq!(keeper.of(PACK.0).details(Code::TimeToken), [[0u8; 0]; 0]);
}

/// A taken-over app has one old word of the authority: it moves the clock of a pack by its credit and no further.
#[test]
fn an_old_delegation_gives_nobody_credit_again() {
    let mut f = Field::new(311, |d| d);
    f.show_all();
    let authority = f.w.authority.spk.signing_key().clone();
    let old = Delegation { number: 3, not_after: LEFT + 1, ..Delegation::read(&f.delegation).unwrap() };
    let old = old.issue(&authority, &mut f.w.rng).unwrap().to_vec();
    f.time(LEFT + 10);
    let now = f.w.now;
    let before = f.w.pack.judged_time(now).unwrap();
    for _ in 0..5 {
        assert_eq!(f.show(PACK.0, &old), Some(Status::WrongState), "its window is over");
        let now = f.w.now;
        let ahead = (u64::from(f.w.pack.judged_time(now).unwrap()) + 3_600) * 1_000;
        f.w.app.set_time(now, ahead).unwrap();
        f.w.run_for(1_500);
    }
    let now = f.w.now;
    let moved = f.w.pack.judged_time(now).unwrap() - before;
    assert!((3_500..3_700).contains(&moved), "{moved} s");
}

/// A delegate may bind an app of its own to a pack that is bound to somebody else's only where that is in scope too.
#[test]
fn a_binding_beyond_the_packs_is_not_replaced() {
    for (scope, status) in
        [(["app-0002", "pack-0009"], Some(Status::WrongParty)), (["app-0001", "app-0002"], None)]
    {
        let mut scope = packs(&scope);
        scope.sort();
        let mut f = Field::new(312, |d| Delegation { packs: scope, ..d });
        f.show_all();
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let other = world::identity(&f.w.authority, "app-0002", Role::App, 0, &mut rng);
        let (own, partner) = ((f.w.identities[1].cid(), Role::Pack), (other.cid(), Role::App));
        let (binding_id, nonce) = (BindingId([5; 16]), [7; 16]);
        let access = heapless::Vec::from_slice(b"can").unwrap();
        let request = BindRequest { binding_id, own, partner, nonce, partner_access: access };
        let request = request.issue(f.laptop.signing_key(), &mut rng).unwrap();
        f.w.give(PACK.0, &[&[pdu::BINDING, bind::REQUEST], request.as_slice()].concat());
        f.w.run_for(1_500);
        assert!(f.w.answer(PACK.0, pdu::BINDING, bind::KEYS).is_some(), "by itself that is in scope");
        let introduction = Introduction {
            binding_id,
            own: own.0,
            device: other.device,
            batch: f.w.authority.batch_cert,
            spk: SpkSecret::generate(&mut rng).unwrap().public(),
            nonce,
            attestation: other.key.sign(&[1; 32], &mut rng),
            access_commits: [[1; 32]; 2],
            time: LEFT + 50,
            assurance: Assurance::Attested,
        };
        let introduction = introduction.issue(f.laptop.signing_key(), &mut rng).unwrap();
        let message = [&[pdu::BINDING, bind::INTRODUCTION], introduction.as_slice()].concat();
        // Where it is in scope the forged attestation is refused next, and that is not answered.
        assert_eq!(f.ask(PACK.0, &message, (pdu::BINDING, bind::STATUS)), status);
        let mut keeper = Keeper::default();
        keeper.collect(&mut f.w, 15_000);
        let refused = keeper.of(PACK.0).details(Code::DelegateRefused).len();
        assert_eq!(refused, usize::from(status.is_some()));
    }
}

/// The controller is replaced: the old one and the new one sign, everybody takes it once, and the old one is a stranger
/// from then on, over starts and a factory reset.
#[test]
fn devices_follow_the_authority_to_its_successor() {
    let mut f = Field::new(310, |d| d);
    let (old, mut rng) = (f.w.authority.spk.clone(), ChaCha20Rng::seed_from_u64(77));
    let [new, other] = core::array::from_fn(|_| SpkSecret::generate(&mut rng).unwrap());
    let succeed = |f: &mut Field, to: Option<Party>, bytes: &[u8]| {
        let message = [&[pdu::DELEGATION, op::SUCCEED], bytes].concat();
        f.w.give(to, &message);
        f.w.run_for(1_500);
        let answer = f.w.answer(to, pdu::DELEGATION, op::SUCCEEDED).unwrap();
        (answer[2..10].to_vec(), Status::from_code(answer[10]))
    };
    f.show_all();
    let forged = Succession::issue(
        LEFT,
        (&other.public(), other.signing_key()),
        (&new.public(), new.signing_key()),
        &mut rng,
    );
    let follows = Succession::issue(
        LEFT,
        (&old.public(), old.signing_key()),
        (&new.public(), new.signing_key()),
        &mut rng,
    );
    for (party, _) in EVERYONE {
        let stays = old.public().id().0.to_vec();
        assert_eq!(succeed(&mut f, party, &forged), (stays, Status::WrongParty), "{party:?}");
        for _ in 0..2 {
            let taken = (new.public().id().0.to_vec(), Status::Accepted);
            assert_eq!(succeed(&mut f, party, &follows), taken, "{party:?}");
        }
        let back = Succession::issue(
            LEFT,
            (&old.public(), old.signing_key()),
            (&other.public(), other.signing_key()),
            &mut rng,
        );
        assert_eq!(succeed(&mut f, party, &back).1, Status::WrongParty, "the old one names nobody else");
    }
    f.w.restart(1);
    f.w.restart(2);
    f.w.restart(0);
    f.w.run_for(8_000);
    f.w.events.clear();
    // The old authority comes back to one pack, and what led away from it before leads nowhere, also after a start.
    let back = Succession::issue(
        LEFT,
        (&new.public(), new.signing_key()),
        (&old.public(), old.signing_key()),
        &mut rng,
    );
    assert_eq!(succeed(&mut f, PACK.0, &back).1, Status::WrongState, "not later than the one before");
    let back = Succession::issue(
        LEFT + 1,
        (&new.public(), new.signing_key()),
        (&old.public(), old.signing_key()),
        &mut rng,
    );
    assert_eq!(succeed(&mut f, PACK.0, &back).1, Status::Accepted);
    f.w.restart(1);
    f.w.run_for(8_000);
    f.w.events.clear();
    assert_eq!(succeed(&mut f, PACK.0, &follows).1, Status::WrongState, "it was followed once");
    let again = Succession::issue(
        LEFT + 2,
        (&old.public(), old.signing_key()),
        (&new.public(), new.signing_key()),
        &mut rng,
    );
    assert_eq!(succeed(&mut f, PACK.0, &again).1, Status::Accepted);
    let delegation = f.delegation.clone();
    assert_eq!(f.show(PACK.0, &delegation), Some(Status::NotAuthentic), "delegated by the old authority");
    let before = f.pairing();
    (f.w.delegate, f.w.timing.created) = (Some(old), LEFT + 500);
    assert!(!f.w.pair(APP, PACK), "the old authority is a stranger");
    assert_eq!(f.pairing(), before);
    f.w.delegate = Some(new.clone());
    assert!(f.w.pair(APP, PACK) && f.w.bind(PACK, FIRST) && f.w.pair(PACK, FIRST));

    let now = f.w.now;
    f.w.modules[0].command(now, pack::module::Command::FactoryReset, &mut f.w.rng).unwrap();
    f.w.run_for(3_000);
    f.w.restart(2);
    f.w.run_for(8_000);
    f.w.events.clear();
    let (taken, status) = succeed(&mut f, FIRST.0, &follows);
    assert_eq!((taken, status), (new.public().id().0.to_vec(), Status::Accepted), "it was not forgotten");
}
