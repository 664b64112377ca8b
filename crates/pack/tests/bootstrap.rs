//! Bootstrap before a binding, with the roles on their buses: B0 in a commissioning window, B2 with the printed code,
//! what each of them allows, and what is refused.

use crate::world;

use lct::{
    binding::Assurance,
    id::{Cid, Role},
    pake::ProverSecret,
    revocation::{Reason, RevocationList, Revoked, Subject},
    secret::Secret,
    sign::SigningKey,
    spk::SpkSecret,
};
use pack::{
    app::{self, Party},
    bootstrap::{Event, Failure},
    can::Bus,
    controller,
    identity::key,
    pdu,
    relation::RelationEvent,
    sealed_id::{Class, classify},
};
use world::World;

const APP: usize = 0;
const PACK: usize = 1;
const BOTH: [(Option<Party>, usize); 2] = [(None, APP), (Some(Party::Pack), PACK)];

fn secret(byte: u8) -> ProverSecret {
    ProverSecret::from_stretched(&Secret::new([byte; 80])).unwrap()
}

/// A pack on which the code of `secret(7)` is printed.
fn coded(seed: u64) -> World {
    let mut w = World::new(0, seed);
    let record = [&[1], secret(7).record().expose().as_slice()].concat();
    w.flash[PACK].insert(key::CODE, record);
    w.restart(PACK);
    w
}

fn pack_cid() -> Cid {
    Cid::of("pack-0001")
}

fn press(w: &mut World) {
    let now = w.now;
    w.pack.command(now, controller::Command::Button, &mut w.rng).unwrap();
}

fn begin_plain(w: &mut World) {
    let now = w.now;
    w.app.begin_plain(now, pack_cid(), &mut w.rng).unwrap();
}

fn try_code(w: &mut World, byte: u8) {
    let now = w.now;
    w.app.begin_code(now, pack_cid(), &secret(byte), &mut w.rng).unwrap();
}

fn compare(w: &mut World, app: bool, pack: bool) {
    let now = w.now;
    w.app.compare(now, app).unwrap();
    w.run_for(50);
    let now = w.now;
    let _gone = w.pack.command(now, controller::Command::Compare { equal: pack }, &mut w.rng);
    w.run_for(100);
}

/// Events of the app's and of the pack's side since the last call.
fn told(w: &mut World) -> [Vec<Event>; 2] {
    let app = w.events.iter().filter_map(|e| match e {
        app::Event::Bootstrap(e) => Some(*e),
        _ => None,
    });
    let pack = w.pack_events.iter().filter_map(|e| match e {
        controller::Event::Bootstrap(e) => Some(*e),
        _ => None,
    });
    let told = [app.collect(), pack.collect()];
    w.events.retain(|e| !matches!(e, app::Event::Bootstrap(_)));
    w.pack_events.retain(|e| !matches!(e, controller::Event::Bootstrap(_)));
    told
}

fn up(w: &World) -> [bool; 2] {
    [w.app.bootstrap().is_up(), w.pack.bootstrap().is_up()]
}

/// A world with the device channel of `assurance` (none for B1).
fn channel(assurance: Assurance, seed: u64) -> World {
    let mut w = coded(seed);
    match assurance {
        Assurance::Plain => {
            press(&mut w);
            begin_plain(&mut w);
            w.run_for(300);
            compare(&mut w, true, true);
        }
        Assurance::Attested => return w,
        Assurance::Code | Assurance::AttestedAndCode => {
            try_code(&mut w, 7);
            w.run_for(300);
        }
    }
    assert_eq!(up(&w), [true; 2], "{}", assurance.name());
    w
}

fn bind(w: &mut World, assurance: Assurance) -> bool {
    w.assurance = assurance;
    let [a, b] = BOTH;
    w.bind(a, b)
}

fn bound_with(w: &World) -> [Option<Assurance>; 2] {
    let app = w.app.relation().binding().map(|(_, a)| a);
    let pack = w.pack_events.iter().rev().find_map(|e| match e {
        controller::Event::Relation { node: 0, event: RelationEvent::Bound { assurance, .. } } => {
            Some(*assurance)
        }
        _ => None,
    });
    [app, pack]
}

/// State and assurance that the pack tells who asks.
fn identified(w: &mut World, sealed: bool) -> Option<(u8, u8)> {
    w.events.clear();
    let now = w.now;
    if sealed {
        w.app.send_device(now, &[pdu::IDENTIFY, 0]).ok()?;
    } else {
        w.app.send(now, Party::Pack, &[pdu::IDENTIFY, 0]).unwrap();
    }
    w.run_for(50);
    w.events.iter().find_map(|e| match e {
        app::Event::Identified(Party::Pack, who) => Some((who.state, who.assurance)),
        _ => None,
    })
}

#[test]
fn b0_stands_once_both_sides_accepted_the_same_digits() {
    let mut w = World::new(0, 1);
    press(&mut w);
    assert!(w.pack.bootstrap().is_window_open(w.now));
    begin_plain(&mut w);
    w.run_for(300);
    let (of_app, of_pack) = (w.app.bootstrap().digits(), w.pack.bootstrap().digits());
    assert!(of_app.is_some());
    assert_eq!(of_app, of_pack);
    assert_eq!(up(&w), [false; 2], "nobody compared yet");
    let now = w.now;
    w.app.compare(now, true).unwrap();
    w.run_for(20_000);
    assert_eq!(up(&w), [false; 2], "only one side compared");
    let now = w.now;
    w.pack.command(now, controller::Command::Compare { equal: true }, &mut w.rng).unwrap();
    w.run_for(100);
    assert_eq!(up(&w), [true; 2]);
    let digits = of_app.unwrap();
    let [app, pack] = told(&mut w);
    let stands = Event::ChannelUp { assurance: Assurance::Plain };
    assert_eq!(app, [Event::Compare { digits }, stands]);
    assert_eq!(pack, [Event::WindowOpened, Event::Compare { digits }, stands, Event::WindowClosed]);
    assert_eq!(identified(&mut w, true), Some((1, 0)));
    assert_eq!(w.app.refused(), Default::default());
    assert_eq!(w.pack.refused(), Default::default());
}

#[test]
fn b2_stands_by_the_code_alone() {
    let mut w = channel(Assurance::Code, 2);
    let [app, pack] = told(&mut w);
    let stands = Event::ChannelUp { assurance: Assurance::Code };
    assert_eq!(app, [stands]);
    assert_eq!(pack, [Event::Tried { tries: 1 }, stands]);
    assert_eq!(w.flash[PACK][&key::CODE_TRIES], [1, 0], "a right try is no try");
    assert_eq!(identified(&mut w, true), Some((1, 2)));
    assert_eq!(identified(&mut w, false), Some((1, 2)));
}

/// Epoch in which the record of the device channel is, by its place in it (H61).
fn kept_epoch(w: &World, who: usize) -> Option<u32> {
    let record = w.flash[who].get(&key::device(0))?;
    Some(u32::from_be_bytes(record[88..92].try_into().unwrap()))
}

/// H86: a device channel is resumed after a start of either side and of both, each time in a fresh epoch, and a binding
/// is made inside it as before.
#[test]
fn a_device_channel_outlives_starts() {
    for (assurance, code) in [(Assurance::Plain, 0), (Assurance::Code, 2)] {
        let mut w = channel(assurance, 50);
        assert_eq!([APP, PACK].map(|who| kept_epoch(&w, who)), [Some(0); 2], "kept when it stands");
        let starts: [&[usize]; 5] = [&[PACK], &[APP], &[PACK, APP], &[APP, PACK], &[PACK]];
        for (n, starts) in (1..).zip(starts) {
            told(&mut w);
            starts.iter().for_each(|who| w.restart(*who));
            assert_ne!(up(&w), [true; 2], "not before RESUME");
            w.run_for(3_000);
            assert_eq!(up(&w), [true; 2], "{} after start {n}", assurance.name());
            assert_eq!([APP, PACK].map(|who| kept_epoch(&w, who)), [Some(n); 2]);
            assert_eq!(
                told(&mut w),
                [vec![Event::ChannelUp { assurance }], vec![Event::ChannelUp { assurance }]]
            );
            assert_eq!(identified(&mut w, true), Some((1, code)), "{} after start {n}", assurance.name());
        }
        let start = w.log.len();
        assert!(bind(&mut w, assurance));
        assert_eq!(bound_with(&w), [Some(assurance); 2]);
        let in_clear = w.log[start..].iter().any(|(_, bus, frame)| {
            matches!(classify(*bus, frame), Ok(Class::Security(..)))
                && frame.data().starts_with(&[pdu::HANDSHAKE, 1, 2])
        });
        assert!(!in_clear, "inside the channel");
        // Between binding and pairing it is still there, and the pairing ends it for good.
        w.restart(PACK);
        w.run_for(3_000);
        assert_eq!(up(&w), [true; 2]);
        let stale = [APP, PACK].map(|who| w.flash[who][&key::device(0)].clone());
        let [a, b] = BOTH;
        assert!(w.pair(a, b));
        assert_eq!(up(&w), [false; 2]);
        assert_eq!([APP, PACK].map(|who| kept_epoch(&w, who)), [None; 2]);
        // The power went between the record of the pairing and the erasure of the channel.
        for (who, record) in [APP, PACK].into_iter().zip(stale) {
            w.flash[who].insert(key::device(0), record);
        }
        [PACK, APP].into_iter().for_each(|who| w.restart(who));
        w.run_for(5_000);
        assert!(w.app.relation().is_up());
        assert_eq!(up(&w), [false; 2]);
        assert!(!w.app.bootstrap().is_waiting() && !w.pack.bootstrap().is_waiting());
        assert_eq!([APP, PACK].map(|who| kept_epoch(&w, who)), [None; 2]);
    }
}

/// What was recorded before a start opens nothing after it, and an older flash image of one side gets no channel.
#[test]
fn neither_a_recording_nor_an_old_image_revives_a_device_channel() {
    let mut w = channel(Assurance::Code, 51);
    assert_eq!(identified(&mut w, true), Some((1, 2)));
    let images = [APP, PACK].map(|who| w.flash[who].clone());
    w.restart(PACK);
    let recorded: Vec<_> = w
        .log
        .iter()
        .filter(|(_, bus, f)| matches!(classify(*bus, f), Ok(Class::Sealed(..))))
        .copied()
        .collect();
    assert!(recorded.len() > 20);
    let replay = |w: &mut World| {
        let before = w.pack.refused();
        for (_, bus, frame) in &recorded {
            let now = w.now;
            w.pack.frame(now, *bus, frame, &mut w.rng).unwrap();
        }
        let after = w.pack.refused();
        (after.sealed + after.policy) - (before.sealed + before.policy)
    };
    assert!(replay(&mut w) > 0 && !w.pack.bootstrap().is_up(), "before RESUME");
    w.run_for(3_000);
    assert_eq!(up(&w), [true; 2]);
    assert!(replay(&mut w) > 0, "after it");
    assert_eq!(identified(&mut w, true), Some((1, 2)), "the channel goes on");
    for who in [APP, PACK] {
        w.restart(PACK);
        w.restart(APP);
        w.run_for(3_000);
        assert_eq!(up(&w), [true; 2]);
        let newest = w.flash[who].clone();
        w.flash[who] = images[who].clone();
        [PACK, APP].into_iter().for_each(|who| w.restart(who));
        w.run_for(20_000);
        assert_eq!(up(&w), [false; 2], "image of {who}");
        w.flash[who] = newest;
    }
}

/// Who lost the channel makes another one; the side that still has it gives way once the new one stands, not before.
#[test]
fn a_run_replaces_a_channel_only_when_it_stands() {
    for lost in [APP, PACK] {
        let mut w = channel(Assurance::Code, 52);
        w.flash[lost].remove(&key::device(0));
        w.restart(lost);
        w.run_for(20_000);
        assert!(!up(&w)[lost]);
        let before = up(&w);
        try_code(&mut w, 8);
        w.run_for(5_000);
        assert_eq!(up(&w), before, "a wrong code changes nothing");
        try_code(&mut w, 7);
        w.run_for(300);
        assert_eq!(identified(&mut w, true), Some((1, 2)));
        // A stranger's try leaves a standing channel alone.
        try_code(&mut w, 8);
        w.run_for(2_000);
        assert_eq!(up(&w), [true; 2]);
        assert_eq!(identified(&mut w, true), Some((1, 2)));
        assert!(bind(&mut w, Assurance::Code));
    }
}

/// Each frame of a RESUME is lost once.
#[test]
fn a_lost_frame_of_a_resume_costs_time_and_nothing_else() {
    let mut points = 0;
    for lost in 0..40 {
        let mut w = channel(Assurance::Code, 53);
        let hit = std::rc::Rc::new(std::cell::Cell::new(false));
        let (mark, mut seen) = (hit.clone(), 0);
        w.filter = Box::new(move |frame| {
            let counts = frame.id().raw() > 0x7FF;
            seen += u32::from(counts);
            let lose = counts && seen == lost + 1;
            mark.set(mark.get() || lose);
            !lose
        });
        [APP, PACK].into_iter().for_each(|who| w.restart(who));
        w.run_for(15_000);
        w.filter = Box::new(|_| true);
        assert_eq!(up(&w), [true; 2], "frame {lost}");
        assert_eq!(identified(&mut w, true), Some((1, 2)), "frame {lost}");
        points += u32::from(hit.get());
    }
    println!("came up although each of {points} frames was lost once");
    assert!(points > 20);
}

/// H107: the device channel of a revoked peer ends, and is gone after a start.
#[test]
fn the_channel_of_a_revoked_app_ends() {
    let mut w = channel(Assurance::Code, 54);
    let entry = Revoked { subject: Subject::Component(Cid::of("app-0001")), reason: Reason::Lost, time: 1 };
    let entries = [entry].into_iter().collect();
    let list =
        RevocationList { number: 1, this_update: 1, next_update: u32::MAX, previous: [0; 32], entries };
    let list = list.issue(w.authority.spk.signing_key(), &mut w.rng).unwrap();
    w.give(Some(Party::Pack), &[&[pdu::REVOCATION], list.as_slice()].concat());
    w.run_for(1_500);
    assert!(!w.pack.bootstrap().is_up() && !w.pack.bootstrap().is_waiting());
    assert_eq!(kept_epoch(&w, PACK), None);
    w.restart(PACK);
    w.run_for(5_000);
    assert!(!w.pack.bootstrap().is_up());
}

#[test]
fn each_mode_binds_and_pairs_with_its_assurance() {
    for assurance in [Assurance::Plain, Assurance::Attested, Assurance::Code, Assurance::AttestedAndCode] {
        let mut w = channel(assurance, 3);
        let start = w.log.len();
        assert!(bind(&mut w, assurance), "{}", assurance.name());
        assert_eq!(bound_with(&w), [Some(assurance); 2]);
        assert_eq!(identified(&mut w, false), Some((1, assurance as u8)));
        let bind_in_clear = w.log[start..].iter().any(|(_, bus, frame)| {
            matches!(classify(*bus, frame), Ok(Class::Security(..)))
                && frame.data().starts_with(&[pdu::HANDSHAKE, 1, 2])
        });
        assert_eq!(bind_in_clear, assurance == Assurance::Attested, "{}", assurance.name());
        let [a, b] = BOTH;
        assert!(w.pair(a, b), "{}", assurance.name());
        assert_eq!(up(&w), [false; 2], "the pairing takes the place of the device channel");
        assert_eq!(identified(&mut w, false), Some((2, assurance as u8)));
        w.restart(PACK);
        w.restart(APP);
        w.run_for(5_000);
        assert_eq!(identified(&mut w, false), Some((2, assurance as u8)), "stored");
        assert!(w.app.relation().is_up());
    }
}

/// An authority cannot ask for less proof than a binding needs, nor claim more than the devices found.
#[test]
fn only_what_was_established_is_bound() {
    use Assurance::{Attested, AttestedAndCode, Code, Plain};
    let rows = [
        (Attested, Plain, false),
        (Attested, Code, false),
        (Attested, AttestedAndCode, false),
        (Plain, Plain, true),
        (Plain, Attested, true),
        (Plain, Code, false),
        (Plain, AttestedAndCode, false),
        (Code, Plain, true),
        (Code, Attested, true),
        (Code, Code, true),
        (Code, AttestedAndCode, true),
    ];
    for (established, asked, possible) in rows {
        let mut w = channel(established, 4);
        let case = format!("{} asked after {}", asked.name(), established.name());
        assert_eq!(bind(&mut w, asked), possible, "{case}");
        assert_eq!(w.app.relation().binding().is_some(), possible, "{case}");
    }
}

#[test]
fn b0_never_takes_the_place_of_a_binding_and_is_upgraded_by_b1_or_b2() {
    for better in [Assurance::Attested, Assurance::Code, Assurance::AttestedAndCode] {
        let mut w = channel(Assurance::Plain, 5);
        assert!(bind(&mut w, Assurance::Plain));
        assert!(!bind(&mut w, Assurance::Plain), "B0 again");
        press(&mut w);
        assert!(!w.pack.bootstrap().is_window_open(w.now), "no window for a bound pack");
        if better.has_code() {
            w.restart(PACK);
            w.restart(APP);
            try_code(&mut w, 7);
            w.run_for(300);
        }
        assert!(bind(&mut w, better), "{}", better.name());
        assert_eq!(bound_with(&w), [Some(better); 2]);
        let before = w.app.relation().binding();
        assert!(!bind(&mut w, Assurance::Plain), "back to B0");
        assert_eq!(w.app.relation().binding(), before);
    }
}

/// The authority passes its own relationship key off as the pack's: attestation or code reveal it.
#[test]
fn a_substituted_key_is_not_bound() {
    for assurance in [Assurance::Attested, Assurance::Code, Assurance::AttestedAndCode] {
        let mut w = channel(assurance, 6);
        let (own, key) = (SpkSecret::generate(&mut w.rng).unwrap(), SigningKey::generate(&mut w.rng));
        let spk = own.public();
        let digest = lct::attest::spk_attestation_digest(
            &pack_cid(),
            Role::Pack,
            &spk,
            &w.identities[APP].cid(),
            &[2; 16],
        );
        let attestation = key.sign(&digest, &mut w.rng);
        w.forged = Some((spk, attestation));
        assert!(!bind(&mut w, assurance), "{}", assurance.name());
        assert!(w.app.relation().binding().is_none(), "{}", assurance.name());
        assert_eq!(bound_with(&w), [None; 2], "{}", assurance.name());
        // The same ceremony without the substitution succeeds.
        w.forged = None;
        assert!(bind(&mut w, assurance), "{}", assurance.name());
    }
}

#[test]
fn a_package_needs_an_open_window_of_a_pack_in_factory_state() {
    // (name, what happens before the package, whether digits follow)
    type Case = (&'static str, fn(&mut World), bool);
    let cases: [Case; 6] = [
        ("no button", |_| {}, false),
        ("button", press, true),
        (
            "ten minutes after",
            |w| {
                press(w);
                w.run_for(600_000);
            },
            false,
        ),
        (
            "just before the end",
            |w| {
                press(w);
                w.run_for(599_000);
            },
            true,
        ),
        (
            "after a start",
            |w| {
                press(w);
                w.restart(PACK);
            },
            false,
        ),
        (
            "bound",
            |w| {
                assert!(bind(w, Assurance::Attested));
                press(w);
            },
            false,
        ),
    ];
    for (name, before, possible) in cases {
        let mut w = World::new(0, 7);
        before(&mut w);
        begin_plain(&mut w);
        w.run_for(300);
        assert_eq!(w.pack.bootstrap().digits().is_some(), possible, "{name}");
        assert_eq!(w.app.bootstrap().digits().is_some(), possible, "{name}");
        if !possible {
            assert!(w.pack.refused().security > 0, "{name}: counted");
            w.run_for(20_000);
            let [app, _] = told(&mut w);
            assert_eq!(app.last(), Some(&Event::Failed(Failure::Silent)), "{name}");
        }
    }
}

#[test]
fn a_window_admits_five_runs() {
    let mut w = World::new(0, 9);
    press(&mut w);
    for run in 0..5 {
        begin_plain(&mut w);
        // The app vanishes after the commitment: its M1 is lost.
        w.filter = Box::new(|frame| !frame.data().starts_with(&[pdu::HANDSHAKE, 1, 1]));
        w.run_for(1_500);
        assert!(w.pack.bootstrap().is_busy(), "run {run}");
        w.restart(APP);
        w.filter = Box::new(|_| true);
        w.run_for(5_000);
        assert!(!w.pack.bootstrap().is_busy(), "run {run}");
    }
    begin_plain(&mut w);
    w.run_for(1_000);
    assert_eq!(w.app.bootstrap().digits(), None, "the runs of the window are spent");
    assert!(w.pack.bootstrap().is_window_open(w.now));
    press(&mut w);
    begin_plain(&mut w);
    w.run_for(1_000);
    assert!(w.app.bootstrap().digits().is_some(), "the button gives a new window");
    // While the installer looks at the digits, no other package takes their place.
    let digits = w.pack.bootstrap().digits();
    w.restart(APP);
    begin_plain(&mut w);
    w.run_for(1_500);
    assert_eq!(w.pack.bootstrap().digits(), digits);
    assert_eq!(w.app.bootstrap().digits(), None);
}

#[test]
fn one_rejected_comparison_ends_it_on_both_sides() {
    for (app, pack) in [(false, true), (true, false), (false, false)] {
        let mut w = World::new(0, 10);
        press(&mut w);
        begin_plain(&mut w);
        w.run_for(300);
        compare(&mut w, app, pack);
        w.run_for(1_000);
        assert_eq!(up(&w), [false; 2], "{app} {pack}");
        let told = told(&mut w);
        for side in &told {
            assert!(side.contains(&Event::Failed(Failure::Different)), "{app} {pack}: {side:?}");
        }
        assert!(!w.pack.bootstrap().is_window_open(w.now));
        assert!(w.app.send_device(w.now, &[pdu::IDENTIFY, 0]).is_err());
        assert!(!bind(&mut w, Assurance::Plain));
    }
}

#[test]
fn a_comparison_that_nobody_makes_ends_with_the_window() {
    let mut w = World::new(0, 11);
    press(&mut w);
    begin_plain(&mut w);
    w.run_for(601_000);
    assert_eq!(up(&w), [false; 2]);
    for side in told(&mut w) {
        assert!(side.contains(&Event::Failed(Failure::Closed)), "{side:?}");
    }
}

/// Each frame of a run is lost once: both modes come up all the same.
#[test]
fn a_lost_frame_costs_time_and_nothing_else() {
    for code in [false, true] {
        let mut points = 0;
        for lost in 0..200 {
            let mut w = coded(12);
            w.run_for(20);
            press(&mut w);
            let mut seen = 0;
            let hit = std::rc::Rc::new(std::cell::Cell::new(false));
            let mark = hit.clone();
            w.filter = Box::new(move |frame| {
                let counts = frame.id().raw() > 0x7FF;
                seen += u32::from(counts);
                let lose = counts && seen == lost + 1;
                mark.set(mark.get() || lose);
                !lose
            });
            if code {
                try_code(&mut w, 7)
            } else {
                begin_plain(&mut w)
            }
            w.run_for(9_000);
            if !code {
                assert_eq!(w.app.bootstrap().digits(), w.pack.bootstrap().digits(), "frame {lost}");
                compare(&mut w, true, true);
                w.run_for(5_000);
            }
            assert_eq!(up(&w), [true; 2], "code {code}, frame {lost}");
            if !hit.get() {
                break;
            }
            points += 1;
        }
        println!("{} came up although each of {points} frames was lost once", if code { "B2" } else { "B0" });
        assert!(points > 20 && points < 199);
    }
}

#[test]
fn a_wrong_code_is_told_to_the_app_and_counted_by_the_pack() {
    let mut w = coded(13);
    try_code(&mut w, 8);
    w.run_for(300);
    let [app, pack] = told(&mut w);
    assert_eq!(app, [Event::Failed(Failure::WrongCode)]);
    assert_eq!(pack, [Event::Tried { tries: 1 }]);
    assert_eq!(w.flash[PACK][&key::CODE_TRIES], [1, 1]);
    assert_eq!(up(&w), [false; 2]);
    // The prover said nothing after the answer: no confirmation, no handshake.
    let said = w.log.iter().any(|(_, _, f)| {
        f.data().starts_with(&[pdu::PAKE, pdu::pake::CONFIRM])
            || f.data().starts_with(&[pdu::HANDSHAKE, 1, 5])
    });
    assert!(!said);
    w.run_for(1_500);
    try_code(&mut w, 7);
    w.run_for(300);
    assert_eq!(up(&w), [true; 2]);
    assert_eq!(w.flash[PACK][&key::CODE_TRIES], [1, 0]);
}

#[test]
fn five_wrong_codes_lock_and_a_restart_does_not_unlock() {
    let mut w = coded(14);
    for _ in 0..5 {
        try_code(&mut w, 8);
        w.run_for(1_500);
    }
    let locked = |w: &mut World| {
        told(w);
        try_code(w, 7);
        w.run_for(15_000);
        told(w)[0].iter().find_map(|e| match e {
            Event::Failed(Failure::Locked(seconds)) => Some(*seconds),
            _ => None,
        })
    };
    assert!(locked(&mut w).is_some_and(|s| (40..60).contains(&s)), "after five");
    w.restart(PACK);
    assert!(locked(&mut w).is_some_and(|s| (40..=60).contains(&s)), "the wait begins anew");
    w.run_for(60_000);
    try_code(&mut w, 8);
    w.run_for(1_500);
    assert_eq!(w.flash[PACK][&key::CODE_TRIES], [1, 6]);
    assert!(locked(&mut w).is_some_and(|s| (100..120).contains(&s)), "after six");
    w.run_for(120_000);
    try_code(&mut w, 7);
    w.run_for(300);
    assert_eq!(up(&w), [true; 2]);
}

/// A thief guesses, cuts the power as soon as the answer is on the bus, and begins again.
#[test]
fn a_storm_of_guesses_across_restarts_gets_twenty_answers() {
    let mut w = coded(15);
    let mut answers = 0;
    for _ in 0..40 {
        let from = w.log.len();
        try_code(&mut w, 8);
        w.run_for(80);
        answers += w.log[from..]
            .iter()
            .filter(|(_, bus, f)| *bus == Bus::Can1 && f.data().starts_with(&[pdu::PAKE, pdu::pake::ANSWER]))
            .count();
        // Waits while it must, so that only the count stops it.
        w.run_for(3_601_000);
        w.restart(PACK);
        w.restart(APP);
        w.run_for(3_601_000);
    }
    assert_eq!(answers, 20);
    assert_eq!(w.flash[PACK][&key::CODE_TRIES], [1, 20]);
    // The right code does not help any more; the button does, within ten seconds of a start.
    try_code(&mut w, 7);
    w.run_for(15_000);
    assert_eq!(told(&mut w)[0].last(), Some(&Event::Failed(Failure::Locked(u16::MAX))));
    press(&mut w);
    assert_eq!(w.pack.bootstrap().tries(), 20, "not without a start");
    w.restart(PACK);
    w.run_for(10_000);
    press(&mut w);
    assert_eq!(w.pack.bootstrap().tries(), 20, "too late");
    w.restart(PACK);
    w.run_for(9_000);
    press(&mut w);
    w.run_for(10);
    assert_eq!(w.flash[PACK][&key::CODE_TRIES], [1, 0]);
    try_code(&mut w, 7);
    w.run_for(300);
    assert_eq!(up(&w), [true; 2]);
}

/// The count of a try is durable before the first frame of its answer.
#[test]
fn a_try_is_stored_before_it_is_answered() {
    let mut w = coded(16);
    w.run_for(20);
    let now = w.now;
    w.app.begin_code(now, pack_cid(), &secret(8), &mut w.rng).unwrap();
    while let Some(out) = w.app.poll(now) {
        if let app::Output::Transmit(frame) = out {
            w.pack.frame(now, Bus::Can1, &frame, &mut w.rng).unwrap();
        }
    }
    let mut order = Vec::new();
    while let Some(out) = w.pack.poll(now) {
        match out {
            controller::Output::Store(record) => order.push(record.key),
            controller::Output::Transmit(Bus::Can1, _) => order.push(0),
            _ => {}
        }
    }
    assert_eq!(order.first(), Some(&key::CODE_TRIES));
    assert!(order.contains(&0));
}

#[test]
fn malformed_and_reflected_proofs_cost_no_try_and_open_nothing() {
    let mut w = coded(17);
    let app = w.identities[APP].cid();
    let send = |w: &mut World, body: &[u8]| {
        let now = w.now;
        w.app.send(now, Party::Pack, body).unwrap();
        w.run_for(1_200);
    };
    let mut point = [0; 65];
    point[0] = 4;
    let head = [&[pdu::PAKE, pdu::pake::SHARE], app.0.as_slice()].concat();
    for body in [
        vec![pdu::PAKE],
        vec![pdu::PAKE, 9],
        head.clone(),
        [head.as_slice(), &[0; 65]].concat(),
        [head.as_slice(), &point].concat(),
        [head.as_slice(), &[2; 33]].concat(),
        [&[pdu::PAKE, pdu::pake::CONFIRM], [0u8; 32].as_slice()].concat(),
        [&[pdu::PAKE, pdu::pake::CONFIRM], [0u8; 31].as_slice()].concat(),
        vec![pdu::HANDSHAKE, 1, 5, 0, 1],
        [&[pdu::HANDSHAKE, 1, 5, 0, 1], [0; 57].as_slice()].concat(),
        vec![pdu::KEY_PACKAGE, 2, 0],
    ] {
        send(&mut w, &body);
        assert_eq!(w.pack.bootstrap().tries(), 0, "{body:02x?}");
        assert!(!w.pack.bootstrap().is_busy() && !w.pack.bootstrap().is_up(), "{body:02x?}");
    }
    // The pack answers a share; its own answer sent back as a confirmation opens nothing.
    try_code(&mut w, 8);
    w.run_for(300);
    send(&mut w, &[&[pdu::PAKE, pdu::pake::CONFIRM], [7u8; 32].as_slice()].concat());
    assert!(!w.pack.bootstrap().is_up());
    assert_eq!(w.pack.bootstrap().tries(), 1);
    // And the honest app still gets through.
    try_code(&mut w, 7);
    w.run_for(300);
    assert_eq!(up(&w), [true; 2]);
}

#[test]
fn a_pack_without_a_code_and_one_with_a_foreign_code_prove_nothing() {
    let mut w = World::new(0, 18);
    assert!(!w.pack.bootstrap().has_code());
    try_code(&mut w, 7);
    w.run_for(15_000);
    assert_eq!(told(&mut w)[0], [Event::Failed(Failure::Silent)]);
    assert_eq!(w.pack.bootstrap().tries(), 0);
}

/// A clear message of the binding handshake beside a device channel is refused on both sides.
#[test]
fn inside_a_channel_a_binding_handshake_in_clear_is_refused() {
    let mut w = channel(Assurance::Code, 19);
    let before = w.pack.refused().security;
    let now = w.now;
    let m1 = [&[pdu::HANDSHAKE, 1, 2, 1, 1], [0; 57].as_slice()].concat();
    w.app.send(now, Party::Pack, &m1).unwrap();
    w.run_for(50);
    assert_eq!(w.pack.refused().security, before + 1);
    assert!(bind(&mut w, Assurance::AttestedAndCode));
}

/// A middleman between two buses plays the pack to the app and the app to the pack: every message passes, and the
/// digits differ.
#[test]
fn a_middleman_shows_different_digits_on_both_sides() {
    for seed in 30..38 {
        let (mut left, mut right) = (World::new(0, seed), World::new(0, seed + 100));
        // Left: the honest app and a false pack with the pack's name. Right: a false app and the honest pack.
        for w in [&mut left, &mut right] {
            press(w);
            begin_plain(w);
            w.run_for(300);
        }
        let shown = [left.app.bootstrap().digits(), right.pack.bootstrap().digits()];
        assert!(shown.iter().all(Option::is_some), "seed {seed}");
        assert_ne!(shown[0], shown[1], "seed {seed}");
        // The installer stands before the honest app and the honest pack, and turns both down.
        compare(&mut left, false, true);
        compare(&mut right, true, false);
        assert_eq!((up(&left), up(&right)), ([false; 2], [false; 2]));
    }
}

/// Device halves that the authority sealed to both sides enter BIND; to one side only, the two do not agree.
#[test]
fn sealed_halves_enter_the_binding_on_both_sides_or_not_at_all() {
    for (assurance, packages, binds) in [
        (Assurance::Attested, [true, true], true),
        (Assurance::AttestedAndCode, [true, true], true),
        (Assurance::Code, [true, true], true),
        (Assurance::Attested, [true, false], false),
        (Assurance::Attested, [false, true], false),
    ] {
        let mut w = channel(assurance, 40);
        let start = w.log.len();
        w.packages = packages;
        assert_eq!(bind(&mut w, assurance), binds, "{} {packages:?}", assurance.name());
        let flags = w.log[start..].iter().find_map(|(_, _, f)| match *f.data() {
            [pdu::HANDSHAKE, 1, 2, flags, ..] => Some(flags),
            _ => None,
        });
        if assurance == Assurance::Attested {
            assert_eq!(flags, Some(if packages[0] { 3 } else { 1 }), "{packages:?}");
        }
        // Without halves it works again, with a fresh ceremony.
        w.packages = [false; 2];
        assert!(bind(&mut w, assurance), "{}", assurance.name());
    }
    let mut w = World::new(1, 41);
    w.run_for(3_000);
    w.packages = [true; 2];
    let module = Some(Party::Module(1));
    assert!(w.bind((Some(Party::Pack), PACK), (module, 2)), "a module, through the pack");
}
