//! Delegations and what their holders did without network, brought later: every rejection in its order, what becomes of
//! an act, and what stands when two of them want the same (`spec/ledger.md`, L120 to L124).
//!
//! Rules L120 and L122 to L124.

use crate::world;

use lct::{
    binding::BindingRecord,
    delegation::{Act, Delegation, DelegationId},
    hash::sha256,
    id::{BindingId, Cid, PairingId},
    rebind::Rebind,
    revocation::Reason,
    sign::{Signature, SigningKey},
    spk::SpkSecret,
};
use ledger::{
    codec::Canonical,
    records::{ActRecord, Binding, Delegated, Pairing, Revocation, RulesVersion, Status, key as state_key},
    reject::Rejection::{self, *},
    state::load,
    tx::{Body, Target},
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use world::{bench::*, *};

const START_S: u32 = (START_MS / 1000) as u32;

/// A laptop and its journal.
#[derive(Clone)]
struct Laptop {
    key: SpkSecret,
    statement: Vec<u8>,
    acts: u32,
    last: [u8; 32],
}

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(4)
}

fn spk(label: u8) -> SpkSecret {
    SpkSecret::generate(&mut ChaCha20Rng::seed_from_u64(label.into())).unwrap()
}

fn delegation(label: u8) -> Delegation {
    Delegation {
        number: label.into(),
        delegate: spk(label).public(),
        issued: START_S,
        not_before: START_S,
        not_after: START_S + 86_400,
        lease_s: 43_200,
        operations: 7,
        packs: [Cid::of("pack-1")].into_iter().collect(),
    }
}

fn body_of(d: &Delegation, signer: &SigningKey) -> Body {
    Body::Delegate { statement: d.issue(signer, &mut rng()).unwrap().to_vec() }
}

impl Laptop {
    /// With a delegation that is recorded.
    fn recorded(bench: &mut Bench, d: &Delegation, label: u8) -> Self {
        let body = body_of(d, &key("authority"));
        let Body::Delegate { statement } = &body else { unreachable!() };
        let laptop = Laptop { key: spk(label), statement: statement.clone(), acts: 0, last: [0; 32] };
        bench.accept(body);
        laptop
    }

    fn id(&self) -> DelegationId {
        DelegationId::of(&self.statement)
    }

    fn act(&self, time: u32, body: &Body) -> (Act, Vec<u8>) {
        let (bytes, number) = (body.to_bytes(), self.acts + 1);
        let act = Act { delegation: self.id(), number, previous: self.last, time, body: sha256(&[&bytes]) };
        (act, bytes)
    }

    fn sign(&self, act: &Act, body: Vec<u8>) -> Body {
        Body::DelegateAct { statement: act.issue(self.key.signing_key(), &mut rng()).to_vec(), body }
    }

    /// Does `body` at `time`, brings it, and says what became of it. Anybody with an account may bring it.
    fn does(&mut self, bench: &mut Bench, time: u32, body: &Body) -> Option<Rejection> {
        let (act, bytes) = self.act(time, body);
        let sent = self.sign(&act, bytes);
        let Body::DelegateAct { statement, .. } = &sent else { unreachable!() };
        (self.acts, self.last) = (act.number, Act::hash_of(statement));
        assert_eq!(bench.send(1, sent), None, "an act in its place is recorded, whatever becomes of it");
        let row: ActRecord = load(&bench.state, &state_key::act(&self.id(), act.number)).unwrap().unwrap();
        assert_eq!((row.kind, row.done, row.time_ms), (body.kind() as u8, time, bench.time_ms));
        assert_eq!(Rejection::from_number(row.outcome).is_some(), row.outcome != 0);
        Rejection::from_number(row.outcome)
    }

    fn paired(&self, a: &str, b: &str, id: u8, lease_s: u32) -> Body {
        pair_with(a, b, id, lease_s, [&bound_key(a, b), &bound_key(b, a), self.key.signing_key()])
    }

    /// Pack and module bound anew, with fresh keys, in the place of `old`.
    fn rebound(&self, id: u8, old: BindingId, seq: u32) -> (BindingRecord, Body) {
        let keys = [key(&format!("again-a-{id}")), key(&format!("again-b-{id}"))];
        let mut record = binding(PACK, MODULE);
        record.binding_id = BindingId([id; 16]);
        (record.entities[0].sign_pub, record.entities[1].sign_pub) = (keys[0].public(), keys[1].public());
        let signers = [&keys[0], &keys[1], self.key.signing_key()];
        let mut body = rebind_with(&record, signers, ("module-1", seq, old), None);
        if let Body::Rebind { token, .. } = &mut body {
            let leave = Rebind { device: Cid::of("module-1"), nonce: [6; 16], old };
            *token = leave.issue(self.key.signing_key(), &mut rng()).to_vec();
        }
        (record, body)
    }
}

fn revoke(target: Target) -> Body {
    Body::Revoke { target, reason: Reason::Lost as u8 }
}

fn pack_module() -> BindingId {
    binding_id("pack-1", "module-1")
}

#[test]
pub fn delegation_rules() {
    let mut bench = Bench::running();
    let (authority, stranger) = (key("authority"), key("stranger"));
    let future = ((bench.time_ms + bench.params.max_future_ms) / 1000) as u32 + 1;
    let good = delegation(1);
    let of = |name: &str| [Cid::of(name)].into_iter().collect();
    let both = |other: &str| {
        let mut packs = ["pack-1", other].map(Cid::of);
        packs.sort();
        packs.into_iter().collect()
    };
    let later = Delegation { issued: future, not_before: future, not_after: future + 1, ..good.clone() };
    let later = |packs| Delegation { packs, ..later.clone() };
    let rows = [
        ("no delegation", Body::Delegate { statement: vec![1] }, StatementFormat),
        ("by another, of no pack", body_of(&later(of("module-1")), &stranger), DelegationAuthority),
        ("of a module, in the future", body_of(&later(of("module-1")), &authority), DelegationPack),
        ("of nobody, in the future", body_of(&later(of("nobody")), &authority), DelegationPack),
        (
            "with a module besides, in the future",
            body_of(&later(both("module-1")), &authority),
            DelegationPack,
        ),
        ("in the future", body_of(&later(of("pack-1")), &authority), DelegationTime),
        ("with a spare one, in the future", body_of(&later(both("nobody")), &authority), DelegationTime),
    ];
    let spare = body_of(&later(both("nobody")), &authority);
    bench.refuse("with a spare one, in the future, under the first rules", spare, DelegationPack);
    bench.state.put(state_key::RULES.into(), &RulesVersion { version: 2 });
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    assert_eq!(bench.send(1, body_of(&good, &key("operator"))), Some(RoleForbidden), "not an operator's");
    bench.nonces[1] -= 1;
    let laptop = Laptop::recorded(&mut bench, &good, 1);
    bench.refuse("once more", Body::Delegate { statement: laptop.statement.clone() }, DelegationExists);
    let row: Delegated = load(&bench.state, &state_key::delegation(&laptop.id())).unwrap().unwrap();
    assert_eq!((row.statement, row.acts, row.last), (laptop.statement.clone(), 0, [0; 32]));

    let target = Target::Delegation(laptop.id());
    let unknown = revoke(Target::Delegation(DelegationId([9; 16])));
    bench.refuse("unknown delegation", unknown, RevokeUnknown);
    assert_eq!(bench.send(1, revoke(target)), Some(RevokeDenied), "not an operator's either");
    bench.accept(revoke(target));
    bench.refuse("taken back twice", revoke(target), RevokeRepeated);
}

/// What refuses the transaction itself: it is not the next entry of a journal.
#[test]
pub fn act_rules() {
    let mut bench = Bench::running();
    let laptop = Laptop::recorded(&mut bench, &delegation(1), 1);
    let other = Laptop { key: spk(2), ..laptop.clone() };
    let now = START_S + 600;
    let body = laptop.paired("pack-1", "module-1", 9, 3_600);
    let (act, bytes) = laptop.act(now, &body);
    let future = ((bench.time_ms + bench.params.max_future_ms) / 1000) as u32 + 1;
    let signed = |act: Act, by: &Laptop| by.sign(&act, bytes.clone());
    let unknown = DelegationId([9; 16]);
    let statement = act.issue(laptop.key.signing_key(), &mut rng()).to_vec();
    let rows = [
        ("no act", Body::DelegateAct { statement: vec![1], body: vec![1] }, StatementFormat),
        ("no body", Body::DelegateAct { statement: statement.clone(), body: vec![0xa0] }, StatementFormat),
        ("unknown, by another", signed(Act { delegation: unknown, ..act }, &other), ActUnknown),
        ("by another, of another body", signed(Act { body: [1; 32], ..act }, &other), ActProof),
        ("of another body, number 2", signed(Act { body: [1; 32], number: 2, ..act }, &laptop), ActBody),
        ("number 2, too early", signed(Act { number: 2, time: START_S - 1, ..act }, &laptop), ActSequence),
        ("after another, too early", signed(Act { previous: [1; 32], time: 5, ..act }, &laptop), ActSequence),
        ("before its window", signed(Act { time: START_S - 1, ..act }, &laptop), ActTime),
        ("in the future", signed(Act { time: future, ..act }, &laptop), ActTime),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    let first = signed(act, &laptop);
    bench.accept(first.clone());
    bench.refuse("the same again", first.clone(), ActSequence);
    let Body::DelegateAct { statement, .. } = first else { unreachable!() };
    let mut next = laptop.clone();
    (next.acts, next.last) = (1, Act::hash_of(&statement));
    let (second, bytes) = next.act(now - 1, &body);
    bench.refuse("dated before the one before", next.sign(&second, bytes), ActTime);
}

/// What becomes of an act that is in its place, in the order in which it is judged.
#[test]
pub fn outcomes() {
    let mut bench = Bench::running();
    bench.accept(register("pack-2", lct::id::Role::Pack));
    bench.accept(bind(APP, ("pack-2", lct::id::Role::Pack)));
    bench.time_ms += 10 * 86_400_000;
    let at = START_S + 600;
    let (late, stranger) = (START_S + 86_400, key("stranger"));
    let foreign = |l: &Laptop, lease| l.paired("app-1", "pack-2", 30, lease);
    let mut row = |what: &str, change: &dyn Fn(&mut Delegation), time, body: &dyn Fn(&Laptop) -> Body| {
        let mut d = delegation(1);
        d.number = bench.height as u32 + bench.nonces[0] as u32;
        change(&mut d);
        let mut laptop = Laptop::recorded(&mut bench, &d, 1);
        let body = body(&laptop);
        let before = bench.nonces[1];
        let outcome = laptop.does(&mut bench, time, &body);
        assert_eq!(bench.nonces[1], before + 1, "{what}");
        outcome
    };
    let no_pair = |d: &mut Delegation| d.operations = 6;
    let same = |_: &mut Delegation| ();
    assert_eq!(row("late, no right", &no_pair, late, &|l| foreign(l, 99_999)), Some(ActWindow));
    assert_eq!(row("no right, foreign", &no_pair, at, &|l| foreign(l, 99_999)), Some(ActOperation));
    assert_eq!(row("foreign, long lease", &same, at, &|l| foreign(l, 99_999)), Some(ActScope));
    let long = |l: &Laptop| l.paired("pack-1", "module-1", 31, 43_201);
    assert_eq!(row("a long lease", &same, at, &long), Some(ActGrant));
    let keep = |l: &Laptop| Body::DelegateAct { statement: l.statement.clone(), body: vec![1] };
    assert_eq!(row("an act of acts", &same, at, &keep), Some(ActOperation));
    let again = |l: &Laptop| body_of(&delegation(7), l.key.signing_key());
    assert_eq!(row("a delegate of a delegate", &same, at, &again), Some(ActOperation));
    for target in [Target::Component(Cid::of("pack-1")), Target::SigningKey(pack_key().public())] {
        assert_eq!(row("more than a relation", &same, at, &|_| revoke(target)), Some(ActOperation));
    }
    let no_revoke = |d: &mut Delegation| d.operations = 3;
    let end = |_: &Laptop| revoke(Target::Binding(pack_module()));
    assert_eq!(row("no right to revoke", &no_revoke, at, &end), Some(ActOperation));
    let nothing = |_: &Laptop| revoke(Target::Pairing(PairingId([99; 16])));
    assert_eq!(row("nothing there, no right", &no_revoke, at, &nothing), Some(ActOperation));
    assert_eq!(row("nothing there", &same, at, &nothing), Some(RevokeUnknown));
    let by_other = |_: &Laptop| {
        let signers = [&bound_key("pack-1", "module-1"), &bound_key("module-1", "pack-1"), &stranger];
        pair_with("pack-1", "module-1", 32, 3_600, signers)
    };
    assert_eq!(row("not signed by the delegate", &same, at, &by_other), Some(PairingAuthority));
    let by_authority = |_: &Laptop| pair("pack-1", "module-1", 32);
    assert_eq!(row("a long lease of the authority's", &same, at, &by_authority), Some(ActGrant));
    let no_bind = |d: &mut Delegation| d.operations = 5;
    let anew = |l: &Laptop| l.rebound(33, pack_module(), 1).1;
    assert_eq!(row("no right to bind", &no_bind, at, &anew), Some(ActOperation));
    let takes = |l: &Laptop| l.rebound(33, binding_id("app-1", "pack-2"), 1).1;
    assert_eq!(row("in the place of a binding of another pack", &same, at, &takes), Some(ActScope));
    let garbled = |_: &Laptop| Body::Bind {
        record: vec![1],
        signature_a: Signature([1; 64]),
        signature_b: Signature([1; 64]),
        signature_authority: Signature([1; 64]),
    };
    assert_eq!(row("no record", &same, at, &garbled), Some(StatementFormat));

    // Good ones, each in its window, brought ten days later.
    assert_eq!(row("paired", &same, at, &|l| l.paired("pack-1", "module-1", 34, 43_200)), None);
    let pairing: Pairing = load(&bench.state, &state_key::pairing(&PairingId([34; 16]))).unwrap().unwrap();
    assert_eq!(pairing.expires_ms, u64::from(at + 43_200) * 1000, "its lease counts from when it was made");
    assert!(!pairing.in_force(bench.time_ms));
}

/// A name that nobody had when it was delegated may be a spare pack's, which is registered later; a module that got it since
/// lets nobody reach into another pack.
#[test]
pub fn a_name_that_is_registered_later_counts_for_a_pack_only() {
    use lct::id::Role;
    let mut bench = Bench::running();
    bench.state.put(state_key::RULES.into(), &RulesVersion { version: 2 });
    let mut d = delegation(1);
    let mut packs = ["pack-1", "pack-8", "module-9"].map(Cid::of);
    packs.sort();
    d.packs = packs.into_iter().collect();
    let mut laptop = Laptop::recorded(&mut bench, &d, 1);
    for (id, role) in [("pack-2", Role::Pack), ("pack-8", Role::Pack), ("module-9", Role::Module)] {
        bench.accept(register(id, role));
    }
    bench.accept(bind(("pack-2", Role::Pack), ("module-9", Role::Module)));
    bench.accept(bind(APP, ("pack-8", Role::Pack)));
    let at = START_S + 600;
    let foreign = revoke(Target::Binding(binding_id("pack-2", "module-9")));
    assert_eq!(laptop.does(&mut bench, at, &foreign), Some(ActScope));
    // Nor by the binding that a new one of the laptop's own pack is to take the place of.
    let (_, body) = laptop.rebound(40, binding_id("pack-2", "module-9"), 1);
    assert_eq!(laptop.does(&mut bench, at, &body), Some(ActScope));
    let spare = revoke(Target::Binding(binding_id("app-1", "pack-8")));
    assert_eq!(laptop.does(&mut bench, at, &spare), None);
}

/// Two laptops were away at the same time; what is recorded first stands, and the other hears that it was second.
#[test]
pub fn of_two_the_first_recorded_stands() {
    let mut bench = Bench::running();
    let [mut a, mut b] = [1, 2].map(|label| Laptop::recorded(&mut bench, &delegation(label), label));
    let at = START_S + 600;
    bench.time_ms += 10 * 86_400_000;
    let (first, body) = a.rebound(40, pack_module(), 1);
    assert_eq!(a.does(&mut bench, at + 50, &body), None);
    let (second, body) = b.rebound(41, pack_module(), 2);
    let outcome = b.does(&mut bench, at, &body).unwrap();
    assert_eq!(outcome, RebindRepeated, "though it was done before");
    assert!(outcome.is_superseded());
    let status = |bench: &Bench, id: &BindingId| {
        load::<Binding>(&bench.state, &state_key::binding(id)).unwrap().map(|b| b.status)
    };
    assert_eq!(status(&bench, &first.binding_id), Some(Status::Active));
    assert_eq!(status(&bench, &second.binding_id), None, "nothing of it is left");
    assert_eq!(status(&bench, &pack_module()), Some(Status::Revoked));

    // The journal goes on behind it: a later act of the same laptop takes effect.
    assert_eq!(b.does(&mut bench, at + 1, &revoke(Target::Binding(first.binding_id))), None);
    let twice = a.does(&mut bench, at + 60, &revoke(Target::Binding(first.binding_id))).unwrap();
    assert_eq!(twice, RevokeRepeated);
    assert!(twice.is_superseded());
    // What the ledger withdrew stays withdrawn, whenever the laptop says that it used it.
    let late = a.does(&mut bench, at + 61, &a.clone().paired("pack-1", "module-1", 42, 3_600)).unwrap();
    assert_eq!(late, PairingBindingRevoked);
    assert!(!late.is_superseded());
}

/// A delegation is taken back: for a reason that leaves its holder honest, what was done before stands; from a thief
/// nothing does.
#[test]
pub fn what_a_revoked_delegate_did_before() {
    for (reason, before, after) in [
        (Reason::Retired, None, Some(ActRevoked)),
        (Reason::Unspecified, None, Some(ActRevoked)),
        (Reason::Superseded, None, Some(ActRevoked)),
        (Reason::Lost, Some(ActRevoked), Some(ActRevoked)),
        (Reason::KeyCompromise, Some(ActRevoked), Some(ActRevoked)),
        (Reason::Violation, Some(ActRevoked), Some(ActRevoked)),
    ] {
        let mut bench = Bench::running();
        let mut laptop = Laptop::recorded(&mut bench, &delegation(1), 1);
        let at = (bench.time_ms / 1000) as u32;
        let target = Target::Delegation(laptop.id());
        bench.accept(Body::Revoke { target, reason: reason as u8 });
        bench.time_ms += 7_200_000;
        let pairing = |l: &Laptop, id| l.paired("pack-1", "module-1", id, 3_600);
        let body = pairing(&laptop, 50);
        assert_eq!(laptop.does(&mut bench, at - 1, &body), before, "{reason:?}");
        let body = pairing(&laptop, 51);
        assert_eq!(laptop.does(&mut bench, at, &body), after, "{reason:?}");

        // The same when not the delegation is withdrawn but the account of the authority that gave it.
        let mut bench = Bench::running();
        let mut laptop = Laptop::recorded(&mut bench, &delegation(1), 1);
        let account = Target::Account(key("authority").public());
        let (reason, time_ms) = (reason as u8, bench.time_ms);
        let withdrawn = Revocation { reason, height: bench.height, time_ms, tx: [0; 32] };
        bench.state.put(state_key::revocation(&account), &withdrawn);
        bench.time_ms += 7_200_000;
        let body = pairing(&laptop, 50);
        assert_eq!(laptop.does(&mut bench, at - 1, &body), before, "account, {reason}");
        let body = pairing(&laptop, 51);
        assert_eq!(laptop.does(&mut bench, at, &body), after, "account, {reason}");
    }
}
