//! Who may be paired with whom, in the open and under commitments: every rejection in its order, and every answer.
//!
//! Rules L135 to L140.

use crate::world;

use lct::{
    Digest,
    commitment::{Field, commit, opening},
    id::{Cid, Role},
    lifecycle::State,
    revocation::Reason,
    secret::Secret,
};
use ledger::{
    anonymous::{self, EVERYTHING, pair_id},
    authorization::{self, Denied, LIFETIME_MS, Question, id_of},
    codec::Canonical,
    records::{
        Component, Status, key as state_key,
        registry::{Authorization, AuthorizationId, Authorizations, MAX_AUTHORIZATIONS, Opened},
    },
    reject::Rejection::*,
    state::load,
    tx::{Body, Registry, registry::Anonymous},
};
use world::{bench::*, *};

const DAY_MS: u64 = 86_400_000;

fn get<T: Canonical>(bench: &Bench, key: &[u8]) -> T {
    load(&bench.state, key).unwrap().unwrap()
}

fn grant(a: &str, b: &str, context: &str, level: u8, rule: &str) -> Body {
    let (a, b) = (Cid::of(a), Cid::of(b));
    Body::Registry(Registry::Grant { a, b, context: context.into(), level, rule: rule.into() })
}

fn revoke(id: AuthorizationId) -> Body {
    Body::Registry(Registry::RevokeGrant { id, reason: Reason::Unspecified })
}

fn id(a: &str, b: &str, context: &str) -> AuthorizationId {
    id_of(&chain_id(), &Cid::of(a), &Cid::of(b), context)
}

/// Whether `a` lets itself be paired with `b`, whose trust is `trust_ppm`.
fn asked(bench: &Bench, a: &str, b: &str, trust_ppm: Option<u32>) -> Result<u32, Denied> {
    let (a, b) = (Cid::of(a), Cid::of(b));
    let chain_id = &chain_id();
    let least_ppm = [500_000, 700_000, 850_000];
    let question =
        Question { chain_id, a: &a, b: &b, context: "energy", now_ms: bench.time_ms, trust_ppm, least_ppm };
    authorization::check(&bench.state, &question).unwrap().map(|found| found.version)
}

fn put_state(bench: &mut Bench, id: &str, to: State) {
    bench.change(state_key::component(&Cid::of(id)), |c: &mut Component| c.status = to);
}

#[test]
pub fn rules_of_authorisations() {
    let mut bench = Bench::running();
    bench.accept(register("sensor-1", Role::Sensor));
    bench.accept(register("module-2", Role::Module));
    put_state(&mut bench, "module-2", State::Maintenance);
    let bad = "trust > 0.7";
    let rows = [
        ("itself, no context", grant("pack-1", "pack-1", "", 9, bad), AuthorizationParties),
        ("no context, unknown", grant("pack-1", "unknown", "a b", 9, bad), AuthorizationContext),
        ("unknown", grant("pack-1", "unknown", "energy", 9, bad), AuthorizationComponent),
        ("in the workshop", grant("pack-1", "module-2", "energy", 9, bad), AuthorizationComponent),
        ("no level, no rule", grant("pack-1", "module-1", "energy", 9, bad), AuthorizationLevel),
        (
            "no partners at this level, no rule",
            grant("pack-1", "sensor-1", "energy", 1, bad),
            AuthorizationLevel,
        ),
        ("no rule", grant("pack-1", "module-1", "energy", 1, bad), AuthorizationRule),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    let denied = bench.send(1, grant("pack-1", "module-1", "energy", 9, bad));
    assert_eq!(denied, Some(AuthorizationDenied), "an operator that owns nothing, no level");
    let full = Authorizations((0..MAX_AUTHORIZATIONS as u8).map(|n| AuthorizationId([n; 16])).collect());
    let template = {
        bench.accept(grant("pack-1", "module-1", "energy", 1, ""));
        get::<Authorization>(&bench, &state_key::authorization(&id("pack-1", "module-1", "energy")))
    };
    for other in &full.0 {
        bench.state.put(state_key::authorization(other), &template);
    }
    bench.state.put(state_key::authorizations_of(&Cid::of("pack-1")), &full);
    bench.refuse("no room", grant("pack-1", "module-1", "other", 1, ""), AuthorizationLimit);
    bench.time_ms += LIFETIME_MS;
    bench.accept(grant("pack-1", "module-1", "other", 1, ""));
    let left: Authorizations = get(&bench, &state_key::authorizations_of(&Cid::of("pack-1")));
    assert_eq!(left.0, [id("pack-1", "module-1", "other")], "what has expired makes room");

    // The owner gives and takes back; somebody else's operator does neither.
    let owner = key("operator");
    bench.accept(transfer_with(&first_hop("module-1", "operator"), [&key("batch"), &owner]));
    assert_eq!(bench.send(1, grant("module-1", "pack-1", "energy", 3, "trust_score > 0.9")), None);
    assert_eq!(bench.send(1, revoke(id("pack-1", "module-1", "other"))), Some(AuthorizationDenied));
    bench.refuse("unknown", revoke(AuthorizationId([0xee; 16])), AuthorizationUnknown);
    bench.refuse("expired", revoke(AuthorizationId([8; 16])), AuthorizationEnded);
    assert_eq!(bench.send(1, revoke(id("module-1", "pack-1", "energy"))), None);
    bench.refuse("twice", revoke(id("module-1", "pack-1", "energy")), AuthorizationEnded);
    let gone: Authorization = get(&bench, &state_key::authorization(&id("module-1", "pack-1", "energy")));
    assert_eq!((gone.status, gone.version), (Status::Revoked, 1));
}

/// Every answer, and the first reason where several hold.
#[test]
fn questions() {
    let mut bench = Bench::running();
    assert_eq!(asked(&bench, "pack-1", "module-1", None), Err(Denied::Unknown));
    bench.accept(grant("pack-1", "module-1", "energy", 2, "trust_score < 0.9"));
    assert_eq!(
        asked(&bench, "module-1", "pack-1", Some(800_000)),
        Err(Denied::Unknown),
        "it speaks for one side"
    );
    assert_eq!(asked(&bench, "pack-1", "module-1", None), Err(Denied::TrustUnknown));
    for (ppm, answer) in
        [(699_999, Err(Denied::Trust)), (700_000, Ok(1)), (899_999, Ok(1)), (900_000, Err(Denied::Trust))]
    {
        assert_eq!(asked(&bench, "pack-1", "module-1", Some(ppm)), answer, "{ppm}");
    }
    // Given anew it holds for another day, with what it says now.
    bench.time_ms += DAY_MS / 2;
    bench.accept(grant("pack-1", "module-1", "energy", 1, ""));
    assert_eq!(asked(&bench, "pack-1", "module-1", Some(500_000)), Ok(2));
    assert_eq!(asked(&bench, "pack-1", "module-1", Some(499_999)), Err(Denied::Trust));
    put_state(&mut bench, "module-1", State::Suspended);
    assert_eq!(asked(&bench, "pack-1", "module-1", None), Err(Denied::Component));
    put_state(&mut bench, "module-1", State::Active);
    bench.time_ms += DAY_MS - 1;
    assert_eq!(asked(&bench, "pack-1", "module-1", Some(500_000)), Ok(2), "the last millisecond");
    bench.time_ms += 1;
    put_state(&mut bench, "module-1", State::Suspended);
    assert_eq!(asked(&bench, "pack-1", "module-1", None), Err(Denied::Ended));
}

fn secret() -> Secret<32> {
    Secret::new([0x5c; 32])
}

/// What the owner commits to: the component, `cells-inc` and `module`.
fn committed(id: &str) -> Digest {
    commit(&secret(), Field::Component, id.as_bytes())
}

fn maker() -> Digest {
    commit(&secret(), Field::Manufacturer, b"cells-inc")
}

fn category(of: &str) -> Digest {
    commit(&secret(), Field::Category, of.as_bytes())
}

fn rule() -> Digest {
    commit(&secret(), Field::Rule, b"trust_score >= 0.9")
}

fn anonymous(entry: Anonymous) -> Body {
    Body::Registry(Registry::Anonymous(entry))
}

fn recorded(id: &str, of: &str) -> Body {
    anonymous(Anonymous::Register { component: committed(id), manufacturer: maker(), category: category(of) })
}

fn authorized(a: &str, b: &str, level: u8, trust_ppm: u32) -> Body {
    anonymous(Anonymous::Authorize { a: committed(a), b: committed(b), rule: rule(), level, trust_ppm })
}

fn withdrawn(scope: u8, target: Digest, urgency: u8, category: u8) -> Body {
    anonymous(Anonymous::Revoke { scope, target, urgency, category })
}

fn opened(field: Field, id: Digest, value: &str) -> Body {
    let shown = opening(&secret(), field, value.as_bytes());
    anonymous(Anonymous::Open { field: field as u8, id, opening: shown, value: value.into() })
}

fn hidden(bench: &Bench, trust_ppm: Option<u32>) -> Option<Denied> {
    let parties = (&chain_id(), &committed("pack-9"), &committed("module-9"));
    anonymous::check(&bench.state, parties, bench.time_ms, trust_ppm).unwrap().err()
}

#[test]
pub fn rules_of_what_is_recorded_under_commitments() {
    let mut bench = Bench::new();
    bench.accept(recorded("pack-9", "pack"));
    bench.accept(recorded("module-9", "module"));
    bench.accept(recorded("module-8", "module"));
    bench.accept(withdrawn(1, committed("module-8"), 1, 3));
    bench.refuse("twice", recorded("pack-9", "module"), AnonymousExists);

    let rows = [
        ("unknown", authorized("pack-7", "module-7", 9, 0), AnonymousUnknown),
        ("withdrawn, the other unknown", authorized("module-8", "module-7", 9, 0), AnonymousEnded),
        ("the other unknown", authorized("pack-9", "module-7", 9, 0), AnonymousUnknown),
        ("the other withdrawn", authorized("pack-9", "module-8", 9, 0), AnonymousEnded),
        ("no level", authorized("pack-9", "module-9", 4, 900_000), AnonymousLevel),
        ("less than the level's", authorized("pack-9", "module-9", 3, 849_999), AnonymousLevel),
        ("more than there is", authorized("pack-9", "module-9", 3, 1_000_001), AnonymousLevel),
        ("itself", authorized("pack-9", "pack-9", 3, 850_000), AnonymousLevel),
        ("no scope, unknown", withdrawn(4, committed("pack-7"), 1, 1), AnonymousRevocation),
        ("no urgency, unknown", withdrawn(1, committed("pack-7"), 4, 1), AnonymousRevocation),
        ("no category, unknown", withdrawn(1, committed("pack-7"), 1, 4), AnonymousRevocation),
        ("everything with a name", withdrawn(3, committed("pack-9"), 1, 1), AnonymousRevocation),
        ("one without", withdrawn(1, EVERYTHING, 1, 1), AnonymousRevocation),
        ("unknown to withdraw", withdrawn(1, committed("pack-7"), 1, 1), AnonymousUnknown),
        ("withdrawn before", withdrawn(1, committed("module-8"), 1, 1), AnonymousRepeated),
        ("unknown to open", opened(Field::Component, committed("pack-7"), "pack-7"), AnonymousUnknown),
        ("no rule there", opened(Field::Rule, committed("pack-9"), "trust_score > 0"), AnonymousUnknown),
        ("opened to another", opened(Field::Component, committed("pack-9"), "pack-7"), AnonymousOpening),
        ("opened as another field", opened(Field::Category, committed("pack-9"), "pack-9"), AnonymousOpening),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    assert_eq!(
        bench.send(1, authorized("pack-9", "module-8", 9, 0)),
        Some(AnonymousDenied),
        "the operator's not"
    );
    assert_eq!(bench.send(1, withdrawn(1, committed("pack-9"), 1, 1)), Some(AnonymousDenied));
    // What is committed to may be nothing of its field, and then it opens to nothing.
    let nothing = commit(&secret(), Field::Component, b"x");
    bench.accept(anonymous(Anonymous::Register {
        component: nothing,
        manufacturer: maker(),
        category: category("module"),
    }));
    bench.refuse("opened to no component id", opened(Field::Component, nothing, "x"), AnonymousValue);

    bench.accept(opened(Field::Component, committed("pack-9"), "pack-9"));
    let shown: Opened = get(&bench, &state_key::opened(&committed("pack-9")));
    assert_eq!((shown.field, shown.value.as_str()), (Field::Component as u8, "pack-9"));
    bench.refuse("opened again", opened(Field::Component, committed("pack-9"), "pack-9"), AnonymousOpened);
    assert!(
        load::<Opened>(&bench.state, &state_key::opened(&maker())).unwrap().is_none(),
        "nothing else opens with it"
    );
}

#[test]
pub fn what_holds_under_commitments() {
    let mut bench = Bench::new();
    assert_eq!(hidden(&bench, None), Some(Denied::Unknown));
    for body in [
        recorded("pack-9", "pack"),
        recorded("module-9", "module"),
        authorized("pack-9", "module-9", 2, 800_000),
    ] {
        bench.accept(body);
    }
    assert_eq!(hidden(&bench, None), Some(Denied::TrustUnknown));
    assert_eq!(hidden(&bench, Some(799_999)), Some(Denied::Trust));
    assert_eq!(hidden(&bench, Some(800_000)), None, "a rule counts once it is opened");
    let pair = pair_id(&chain_id(), &committed("pack-9"), &committed("module-9"));
    bench.accept(opened(Field::Rule, pair, "trust_score >= 0.9"));
    assert_eq!(hidden(&bench, Some(899_999)), Some(Denied::Trust));
    assert_eq!(hidden(&bench, Some(900_000)), None);

    // Each withdrawal counts from its time on, and for what it is of.
    let start = (bench.time_ms, bench.nonces);
    for (what, scope, target, urgency, wait_ms, answer) in [
        ("the module", 1, committed("module-9"), 1, 0, Denied::Component),
        ("the pack, urgently", 1, committed("pack-9"), 2, 3_600_000, Denied::Component),
        ("the authorisation", 1, pair, 1, 0, Denied::Ended),
        ("all of a maker", 2, maker(), 3, DAY_MS, Denied::Component),
        ("all modules", 2, category("module"), 1, 0, Denied::Component),
        ("everything", 3, EVERYTHING, 2, 3_600_000, Denied::Component),
    ] {
        let mut bench = Bench::new();
        for body in [
            recorded("pack-9", "pack"),
            recorded("module-9", "module"),
            authorized("pack-9", "module-9", 2, 800_000),
        ] {
            bench.accept(body);
        }
        bench.accept(withdrawn(scope, target, urgency, 1));
        if wait_ms > 0 {
            bench.time_ms += wait_ms - 1;
            assert_eq!(hidden(&bench, Some(900_000)), None, "{what}: a moment before");
            bench.time_ms += 1;
        }
        assert_eq!(hidden(&bench, Some(900_000)), Some(answer), "{what}");
        if target == EVERYTHING {
            bench.time_ms += 1;
            bench.accept(recorded("pack-8", "pack"));
            bench.accept(recorded("module-7", "module"));
            bench.accept(authorized("pack-8", "module-7", 1, 500_000));
        }
    }
    // Withdrawn for later, it may be withdrawn sooner.
    (bench.time_ms, bench.nonces) = start;
    bench.accept(withdrawn(1, committed("module-9"), 3, 1));
    bench.accept(withdrawn(1, committed("module-9"), 2, 1));
    bench.refuse("not later", withdrawn(1, committed("module-9"), 3, 1), AnonymousRepeated);
    // All that was recorded: sooner than what is to come, and anew at once, but never for later.
    bench.accept(withdrawn(3, EVERYTHING, 3, 1));
    bench.accept(withdrawn(3, EVERYTHING, 2, 1));
    bench.refuse("all for later", withdrawn(3, EVERYTHING, 3, 1), AnonymousRepeated);
    bench.time_ms += 3_600_000;
    let gone = hidden(&bench, Some(900_000));
    bench.refuse("all for later, while in effect", withdrawn(3, EVERYTHING, 2, 1), AnonymousRepeated);
    assert_eq!(hidden(&bench, Some(900_000)), gone, "what is withdrawn stays so");
    bench.accept(withdrawn(3, EVERYTHING, 1, 1));
    assert_eq!(hidden(&bench, Some(900_000)), gone);
    bench.time_ms += 8760 * 3_600_000;
    assert_eq!(hidden(&bench, Some(900_000)), Some(Denied::Ended), "a year is over");
}
