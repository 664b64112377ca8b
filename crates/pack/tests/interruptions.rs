//! Bindings, what a laptop does in the authority's place, statements with a witness and statements that were asked for,
//! interrupted wherever they can be: power or cable, at a frame, of any party. Afterwards they are done again, and nothing of
//! the interrupted one is in the way.

use crate::world;

use lct::{
    delegation::Delegation,
    id::Cid,
    spk::SpkSecret,
    validation::{Event, EventKind},
};
use pack::{
    app::{self, Confirming, Party},
    message::RelayState,
    pdu::{self, Status, delegation as op},
    testimony::Asked,
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use std::collections::BTreeMap;
use world::{
    BOUND, Flash, World,
    cuts::{everywhere, started},
};

pub const APP: (Option<Party>, usize) = (None, 0);
pub const PACK: (Option<Party>, usize) = (Some(Party::Pack), 1);
pub const MODULE: (Option<Party>, usize) = (Some(Party::Module(1)), 2);
pub const SEED: u64 = 710;

/// The flashes of a commissioned pack with one module.
pub fn commissioned() -> Vec<Flash> {
    let mut w = World::new(1, SEED);
    w.commission();
    std::mem::take(&mut w.flash)
}

/// Everything that is not paired yet is; then every channel is up.
pub fn paired(w: &mut World, at: &str) {
    for (a, b) in [(APP, PACK), (PACK, MODULE)] {
        let done = (0..3).any(|_| {
            w.events.clear();
            w.pair(a, b)
        });
        assert!(done, "{at}: paired");
    }
    w.run_for(3_000);
    assert!(w.app.relation().is_up() && w.modules[0].relation().is_up(), "{at}: up");
}

/// The authority asks for the binding again until both have signed it.
pub fn bound(w: &mut World, a: (Option<Party>, usize), b: (Option<Party>, usize), at: &str) {
    let done = (0..3).any(|_| {
        w.events.clear();
        w.bind(a, b)
    });
    assert!(done, "{at}: bound");
}

/// A first binding of app and pack, and of pack and module.
fn bindings_cut(step: usize) -> u32 {
    let factory = || {
        let mut w = World::new(1, SEED);
        w.run_for(3_000);
        w
    };
    let first = everywhere(
        "the binding of app and pack",
        step,
        &[0, 1],
        factory,
        |w| {
            w.bind(APP, PACK);
        },
        |w, at| {
            bound(w, APP, PACK, at);
            bound(w, PACK, MODULE, at);
            paired(w, at);
        },
    );
    let half = || {
        let mut w = World::new(1, SEED);
        w.run_for(3_000);
        assert!(w.bind(APP, PACK));
        w
    };
    let second = everywhere(
        "the binding of pack and module",
        step,
        &[1, 2],
        half,
        |w| {
            w.bind(PACK, MODULE);
        },
        |w, at| {
            bound(w, PACK, MODULE, at);
            paired(w, at);
        },
    );
    first + second
}

#[test]
fn a_binding_cut_anywhere_is_made_again() {
    assert!(bindings_cut(61) > 8);
}

#[test]
#[ignore = "every frame: minutes"]
fn a_binding_cut_at_every_frame_is_made_again() {
    assert!(bindings_cut(1) > 400);
}

/// A laptop shows its delegation and pairs: without network, and with any of the three losing its power meanwhile.
/// Whoever is cut between the binding and the pairing has the binding afterwards, whoever it was: it is paired as if nothing had
/// happened, by keys that were in flash, and nobody binds anew.
#[test]
fn a_cut_between_binding_and_pairing_costs_nothing() {
    for cut in [&[0][..], &[1], &[2], &[0, 1, 2]] {
        let mut w = World::new(1, SEED);
        w.run_for(3_000);
        assert!(w.bind(APP, PACK) && w.bind(PACK, MODULE));
        let bindings = |w: &World| [w.app.relation().binding(), w.modules[0].relation().binding()];
        let before = bindings(&w);
        assert!(before.iter().all(Option::is_some), "{cut:?}");
        assert!(!w.app.relation().is_paired() && !w.modules[0].relation().is_paired(), "{cut:?}");
        cut.iter().for_each(|who| w.restart(*who));
        w.run_for(6_000);
        assert_eq!(bindings(&w), before, "{cut:?}");
        paired(&mut w, &format!("{cut:?}"));
        assert_eq!(bindings(&w), before, "{cut:?}");
    }
}

fn delegates_cut(step: usize) -> u32 {
    let flash = commissioned();
    let left = BOUND + 100;
    let laptop = SpkSecret::generate(&mut ChaCha20Rng::seed_from_u64(SEED)).unwrap();
    let delegation = |w: &World| {
        let wanted = Delegation {
            number: 1,
            delegate: laptop.public(),
            issued: left,
            not_before: left,
            not_after: left + 86_400,
            lease_s: 7 * 86_400,
            operations: 7,
            packs: [Cid::of("pack-0001")].into_iter().collect(),
        };
        wanted.issue(w.authority.spk.signing_key(), &mut ChaCha20Rng::seed_from_u64(SEED)).unwrap().to_vec()
    };
    let show = |w: &mut World| {
        let message = [&[pdu::DELEGATION, op::SHOW], delegation(w).as_slice()].concat();
        [APP, PACK, MODULE].map(|(party, _)| {
            w.give(party, &message);
            w.run_for(1_500);
            let answer = w.answer(party, pdu::DELEGATION, op::TAKEN);
            answer.and_then(|pdu| pdu.last().copied()).map(Status::from_code)
        })
    };
    let start = || {
        let mut w = started(SEED, &flash);
        (w.timing.created, w.timing.valid_from, w.timing.expires) = (left + 50, left + 50, left + 3_600);
        w.delegate = Some(laptop.clone());
        w
    };
    everywhere(
        "what a laptop does",
        step,
        &[0, 1, 2],
        start,
        |w| {
            show(w);
            w.pair(PACK, MODULE);
        },
        |w, at| {
            w.events.clear();
            assert_eq!(show(w), [Some(Status::Accepted); 3], "{at}: shown again");
            paired(w, at);
        },
    )
}

#[test]
fn a_laptop_that_is_cut_anywhere_goes_on() {
    assert!(delegates_cut(331) > 8);
}

#[test]
#[ignore = "every frame: minutes"]
fn a_laptop_that_is_cut_at_every_frame_goes_on() {
    assert!(delegates_cut(1) > 200);
}

/// Statements since the last look, of each signer in ascending order (V4), whatever was told twice.
fn stated(w: &mut World, at: &str) -> Vec<(Option<Party>, Event)> {
    let told = std::mem::take(&mut w.events).into_iter().filter_map(|e| match e {
        app::Event::Told(from, told) => Some((from, told)),
        _ => None,
    });
    let mut last = BTreeMap::<Cid, ((u32, u32), Vec<u8>)>::new();
    let mut all = Vec::new();
    for (from, told) in told {
        let event = told.signed.decode().unwrap();
        let bytes = told.signed.event.to_vec();
        let before = last.insert(event.cid, (event.position(), bytes.clone()));
        match before {
            Some((position, known)) if position == event.position() => assert_eq!(known, bytes, "{at}"),
            before => {
                assert!(before.is_none_or(|(position, _)| position < event.position()), "{at}: {event:?}");
                all.push((from, event));
            }
        }
    }
    all
}

/// A gateway tells the time with every channel and every ten seconds; without it nobody is a witness.
fn tell_time(w: &mut World) {
    let (now, ms) = (w.now, u64::from(BOUND) * 1_000 + w.now.as_millis());
    // Without a channel it is told later.
    let _later = w.app.set_time(now, ms);
    w.run_for(500);
}

/// Asks until it is stated.
fn states(w: &mut World, of: Option<Party>, asked: &Asked, kind: EventKind, at: &str) {
    let done = (0..4).any(|_| {
        tell_time(w);
        let now = w.now;
        // The channel may be on its way.
        let _later = match (of, asked) {
            (None, Asked::Command(_)) => w.app.confirm(now, Confirming::Asked, &mut w.rng),
            _ => w.app.ask_statement(now, of, asked),
        };
        w.run_for(5_000);
        stated(w, at).iter().any(|(from, event)| *from == of && event.kind == kind)
    });
    assert!(done, "{at}: {asked:?} of {of:?}");
}

/// What everybody can be asked for, and what is then stated.
fn questions() -> Vec<(Option<Party>, Asked, EventKind)> {
    use EventKind::*;
    let (pack, module) = (PACK.0, MODULE.0);
    vec![
        (module, Asked::Presence, Announce),
        (pack, Asked::State, StateChange),
        (module, Asked::State, StateChange),
        (pack, Asked::Handshake(1), SignedHandshake),
        (pack, Asked::Session, PairedHandshake),
        (module, Asked::Session, PairedHandshake),
        (None, Asked::Command(0), Command),
        (pack, Asked::Command(1), Command),
        (module, Asked::Verification(0, [7; 32]), BindingVerification),
    ]
}

/// A state that changes, and the witness of it: the pack's and the module's.
fn witnesses_cut(step: usize) -> u32 {
    let flash = commissioned();
    everywhere(
        "a change of state with its witness",
        step,
        &[0, 1, 2],
        || {
            let mut w = started(SEED, &flash);
            tell_time(&mut w);
            w
        },
        |w| {
            let now = w.now;
            w.app.set_state(now, RelayState::Standby, &mut w.rng).unwrap();
            w.run_for(600);
        },
        |w, at| {
            tell_time(w);
            w.run_for(20_000);
            stated(w, at);
            assert!(w.pack.is_settled() && w.modules[0].is_settled(), "{at}: something waits for ever");
            for of in [PACK.0, MODULE.0] {
                states(w, of, &Asked::State, EventKind::StateChange, at);
            }
        },
    )
}

#[test]
fn a_witness_cut_anywhere_holds_nothing_up() {
    assert!(witnesses_cut(29) > 8);
}

#[test]
#[ignore = "every frame: minutes"]
fn a_witness_cut_at_every_frame_holds_nothing_up() {
    assert!(witnesses_cut(1) > 200);
}

/// Everything that can be asked for (H190).
fn questions_cut(step: usize) -> u32 {
    let flash = commissioned();
    let of = |(of, asked, kind): (Option<Party>, Asked, EventKind)| {
        everywhere(
            &format!("{asked:?} of {of:?}"),
            step,
            &[0, 1, 2],
            || {
                let mut w = started(SEED, &flash);
                tell_time(&mut w);
                w
            },
            |w| {
                let now = w.now;
                match (of, asked) {
                    (None, Asked::Command(_)) => w.app.confirm(now, Confirming::Asked, &mut w.rng).unwrap(),
                    _ => w.app.ask_statement(now, of, &asked).unwrap(),
                }
                w.run_for(250);
            },
            |w, at| {
                stated(w, at);
                states(w, of, &asked, kind, at);
                assert!(w.app.relation().is_up() && w.modules[0].relation().is_up(), "{at}");
                assert_eq!(
                    (w.pack.state(), w.modules[0].relay()),
                    (RelayState::Off, RelayState::Off),
                    "{at}"
                );
            },
        )
    };
    questions().into_iter().map(of).sum()
}

#[test]
fn a_question_cut_anywhere_is_answered_when_it_is_asked_again() {
    assert!(questions_cut(67) > 20);
}

#[test]
#[ignore = "every frame: minutes"]
fn a_question_cut_at_every_frame_is_answered_when_it_is_asked_again() {
    assert!(questions_cut(1) > 400);
}
