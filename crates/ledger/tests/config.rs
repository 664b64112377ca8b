//! Configuration: every rejection in its order; who may tighten, who may loosen, and what is at odds stays visible.
//!
//! Rules L175 to L178.

use crate::world;

use lct::{
    command::SignedCommand,
    id::{Cid, PairingId, Role},
    validation::EventKind,
};
use ledger::{
    codec::Canonical,
    config::{PARAMETERS, Parameter, SETTABLE, Safety},
    records::{AccountRole, Direction, Setting, key as state_key},
    reject::Rejection::*,
    rules::allowed,
    state::load,
    tx::{Body, CommandReference, Config, Kind, Target, Tx},
};
use world::{bench::*, *};

const CHARGE: u8 = 1;

fn config(parameter: u8, version: u32, value: i32) -> Config {
    Config { cid: Cid::of("pack-1"), parameter, version, value, command: None }
}

fn setting(bench: &Bench, parameter: u8) -> Setting {
    load(&bench.state, &state_key::setting(&Cid::of("pack-1"), parameter)).unwrap().unwrap()
}

/// A command of the app's operator to write `value`, and the event that tells of it.
fn command(seq: u32, parameter: u8, value: i32) -> (CommandReference, Body) {
    let mut body = vec![Parameter::register(parameter), 0, 0, 0];
    body.extend_from_slice(&value.to_le_bytes());
    let signed = SignedCommand { base: 0x403, seq, challenge: 77, ttl_ms: 500, command: &body };
    // TH4 of the pairing that the bench made.
    let event = event(EventKind::Command, "app-1", seq, &signed.digest(&[4; 32], 2));
    let reference = CommandReference {
        event: event_bytes(&event),
        pairing: PairingId([1; 16]),
        epoch: 2,
        seq,
        challenge: 77,
        ttl_ms: 500,
        body,
    };
    let statement = signed_event(&event, &bound_key("app-1", "pack-1"));
    (reference, Body::Validate { signed: statement, witnesses: vec![] })
}

#[test]
pub fn rejections_of_a_setting_in_their_order() {
    let mut bench = Bench::running();
    bench.accept(register("pack-2", Role::Pack));
    bench.accept(Body::Revoke { target: Target::Component(Cid::of("pack-2")), reason: 2 });
    let (recorded, event) = command(1, CHARGE, 150_000);
    bench.accept(event);
    let (unrecorded, _) = command(2, CHARGE, 150_000);
    let of = |cid: &str, c: Config| Config { cid: Cid::of(cid), ..c };
    let with = |c: Config, change: &dyn Fn(&mut CommandReference)| {
        let mut reference = recorded.clone();
        change(&mut reference);
        Config { command: Some(reference), ..c }
    };
    let loose = config(CHARGE, 0, 150_000);
    let rows = [
        ("no parameter, no component", of("none", config(0, 9, 9)), ConfigParameter),
        ("without a range", of("none", config(5, 9, 9)), ConfigParameter),
        ("beyond the documented ones", of("none", config(19, 9, 9)), ConfigParameter),
        ("no component, out of range", of("none", config(CHARGE, 9, -1)), ConfigComponent),
        ("no pack, out of range", of("module-1", config(CHARGE, 9, -1)), ConfigComponent),
        ("withdrawn, out of range", of("pack-2", config(CHARGE, 9, -1)), ConfigComponent),
        ("below its range, version", config(CHARGE, 9, -1), ConfigRange),
        ("above its range, version", config(CHARGE, 9, 200_001), ConfigRange),
        ("version, loosens", config(CHARGE, 1, 150_000), ConfigVersion),
        ("a command nobody recorded", Config { command: Some(unrecorded), ..loose.clone() }, ConfigCommand),
        ("no event", with(loose.clone(), &|r| r.event = vec![0xa0]), ConfigCommand),
        ("another pairing", with(loose.clone(), &|r| r.pairing = PairingId([9; 16])), ConfigCommand),
        ("another epoch", with(loose.clone(), &|r| r.epoch = 3), ConfigCommand),
        ("another number", with(loose.clone(), &|r| r.seq = 3), ConfigCommand),
        ("another challenge", with(loose.clone(), &|r| r.challenge = 3), ConfigCommand),
        ("another time to live", with(loose.clone(), &|r| r.ttl_ms = 3), ConfigCommand),
        ("another message", with(loose.clone(), &|r| r.body[1] = 3), ConfigCommand),
        ("for another value", with(config(CHARGE, 0, 140_000), &|_| ()), ConfigCommand),
        ("for another parameter", with(config(2, 0, 150_000), &|_| ()), ConfigCommand),
        ("nothing is known that it would tighten", loose, ConfigLoosens),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, Body::ConfigSet(body), expected);
    }
    // An operator's account sets what it owns and nothing else; the authority sets every pack.
    let owned = || Body::ConfigSet(config(CHARGE, 9, 1));
    assert_eq!(bench.send(1, owned()), Some(ConfigDenied), "before the version is looked at");
    bench.accept(transfer_with(&first_hop("pack-1", "operator"), [&key("batch"), &key("operator")]));
    assert_eq!(bench.send(1, owned()), Some(ConfigVersion));
}

#[test]
pub fn the_ledger_tightens_and_an_operators_command_loosens_once() {
    let mut bench = Bench::running();
    bench.accept(Body::ConfigReport(config(CHARGE, 0, 50_000)));
    let first = setting(&bench, CHARGE);
    assert_eq!((first.value, first.version, first.direction), (50_000, 1, Direction::ToChain));
    bench.refuse("looser", Body::ConfigSet(config(CHARGE, 1, 50_001)), ConfigLoosens);
    bench.accept(Body::ConfigSet(config(CHARGE, 1, 40_000)));
    let tightened = setting(&bench, CHARGE);
    assert_eq!((tightened.value, tightened.version, tightened.local), (40_000, 2, 50_000));
    assert_eq!((tightened.direction, tightened.command), (Direction::FromChain, [0; 32]));
    bench.refuse("back", Body::ConfigSet(config(CHARGE, 2, 50_000)), ConfigLoosens);

    let (reference, event) = command(1, CHARGE, 60_000);
    bench.height += 1;
    bench.accept(event);
    let loosen = |version| {
        Body::ConfigSet(Config { command: Some(reference.clone()), ..config(CHARGE, version, 60_000) })
    };
    bench.accept(loosen(2));
    let loosened = setting(&bench, CHARGE);
    assert_eq!((loosened.value, loosened.version), (60_000, 3));
    assert_ne!(loosened.command, [0; 32], "the command is part of the record");
    // A pack that was found at 50 000 holds that until it says otherwise: nothing slips in between the two.
    bench.refuse("looser than the pack", Body::ConfigSet(config(CHARGE, 3, 55_000)), ConfigLoosens);
    bench.accept(Body::ConfigSet(config(CHARGE, 3, 45_000)));
    bench.refuse("the same command again", loosen(4), ConfigStale);
    bench.height += 1;
    bench.refuse("later too", loosen(4), ConfigStale);

    // Who is no longer paired with the pack commands nothing.
    let (reference, event) = command(2, CHARGE, 55_000);
    bench.accept(event);
    bench.accept(Body::Revoke { target: Target::Pairing(PairingId([1; 16])), reason: 1 });
    let late = Config { command: Some(reference), ..config(CHARGE, 4, 55_000) };
    bench.refuse("of a pairing that ended", Body::ConfigSet(late), ConfigCommand);
}

#[test]
pub fn reports_are_taken_over_are_late_or_are_a_conflict() {
    let mut bench = Bench::running();
    let report = |version, value| Body::ConfigReport(config(CHARGE, version, value));
    bench.refuse("unknown parameter", Body::ConfigReport(config(0, 0, 1)), ConfigParameter);
    bench.refuse("unknown parameter", Body::ConfigReport(config(PARAMETERS + 1, 0, 1)), ConfigParameter);
    let nobody = Config { cid: Cid::of("none"), ..config(CHARGE, 9, 1) };
    bench.refuse("no component, version", Body::ConfigReport(nobody), ConfigComponent);
    bench.refuse("about a version that is none", report(1, 50_000), ConfigVersion);
    bench.accept(report(0, 50_000));
    // Value in force, version, local value, at odds, conflicts so far.
    let state = |bench: &Bench| {
        let s = setting(bench, CHARGE);
        (s.value, s.version, s.local, s.conflict, s.conflicts)
    };
    bench.accept(report(1, 45_000));
    assert_eq!(state(&bench), (45_000, 2, 45_000, false, 0), "tighter on the pack: taken over");
    bench.accept(Body::ConfigSet(config(CHARGE, 2, 30_000)));
    bench.accept(report(2, 45_000));
    assert_eq!(state(&bench), (30_000, 3, 45_000, false, 0), "late");
    bench.accept(report(2, 44_000));
    assert_eq!(state(&bench), (30_000, 3, 44_000, true, 1), "changed on both sides");
    bench.accept(report(3, 44_000));
    assert_eq!(state(&bench), (30_000, 3, 44_000, true, 1), "still the same conflict");
    bench.accept(report(3, 30_000));
    assert_eq!(state(&bench), (30_000, 3, 30_000, false, 1), "settled by the pack");
    bench.accept(report(3, 80_000));
    assert_eq!(state(&bench), (30_000, 3, 80_000, true, 2), "looser without a command");
    bench.accept(Body::ConfigSet(config(CHARGE, 3, 29_000)));
    assert_eq!(state(&bench), (29_000, 4, 80_000, false, 2), "settled by the ledger");

    // What an operator's command did on the pack is taken over, looser or not.
    bench.height += 1;
    let (reference, event) = command(1, CHARGE, 90_000);
    bench.accept(event);
    let forged = Config { command: Some(reference.clone()), ..config(CHARGE, 4, 90_001) };
    bench.refuse("a command for another value", Body::ConfigReport(forged), ConfigCommand);
    bench
        .accept(Body::ConfigReport(Config { command: Some(reference.clone()), ..config(CHARGE, 4, 90_000) }));
    assert_eq!(state(&bench), (90_000, 5, 90_000, false, 2));
    let again = Config { command: Some(reference), ..config(CHARGE, 5, 90_000) };
    bench.refuse("once", Body::ConfigReport(again), ConfigStale);

    // What has no documented range is the pack's alone.
    bench.accept(Body::ConfigReport(config(13, 0, 5)));
    bench.accept(Body::ConfigReport(config(13, 1, 31)));
    assert_eq!((setting(&bench, 13).value, setting(&bench, 13).version), (31, 2));
}

#[test]
pub fn each_parameter_goes_its_safe_way() {
    let mut bench = Bench::running();
    for p in SETTABLE {
        let middle = i32::midpoint(p.least, p.greatest);
        bench.accept(Body::ConfigReport(config(p.id, 0, middle)));
        let steps = [(middle - 1, p.safety == Safety::Higher), (middle + 1, p.safety == Safety::Lower)];
        let mut version = 1;
        for (value, refused) in steps {
            let body = Body::ConfigSet(config(p.id, version, value));
            if refused || p.safety == Safety::Locked {
                bench.refuse(p.name, body, ConfigLoosens);
            } else {
                bench.accept(body);
                version += 1;
                bench.accept(Body::ConfigReport(config(p.id, version, value)));
            }
        }
    }
}

#[test]
fn who_sends_configuration_and_how_it_is_written() {
    use AccountRole::*;
    for (role, set, report) in [
        (Authority, true, true),
        (Operator, true, true),
        (Manufacturer, false, false),
        (Owner, true, false),
        (Auditor, false, false),
        (Controller, false, true),
    ] {
        let may = (allowed(role, Kind::ConfigSet), allowed(role, Kind::ConfigReport));
        assert_eq!(may, (set, report), "{}", role.name());
    }
    let (reference, _) = command(1, 8, -4_000);
    for body in [
        Body::ConfigSet(config(8, u32::MAX, i32::MIN)),
        Body::ConfigReport(Config { command: Some(reference), ..config(8, 0, -4_000) }),
    ] {
        let bytes = tx(&key("authority"), 1, body.clone());
        let read = Tx::from_bytes(&bytes).unwrap();
        assert_eq!((read.to_bytes(), read.unsigned.body), (bytes, body));
    }
}
