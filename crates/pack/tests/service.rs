//! What an app has its pack do with a module: end their pairing, renew their keys (`spec/channel.md`, H159), interrupted
//! wherever it can be.

use crate::world;

use lct::{metadata::PairingContext, revocation::Reason, schedule::Direction, validation::EventKind};
use pack::{
    app::{self, Party},
    can::Bus,
    identity::key,
    pdu::{self, Status, validation as events},
    sealed_id::{Level, SecurityId},
};
use world::{
    World,
    cuts::{everywhere, started},
};

const PACK: (Option<Party>, usize) = (Some(Party::Pack), 1);
const MODULE: (Option<Party>, usize) = (Some(Party::Module(1)), 2);
const SEED: u64 = 700;

fn commissioned() -> World {
    let mut w = World::new(1, SEED);
    w.commission();
    w.events.clear();
    w
}

fn statuses(w: &mut World) -> Vec<(u8, Status)> {
    let told = w.events.iter().filter_map(|e| match e {
        app::Event::ModuleUnpaired(node, status) => Some((*node, *status)),
        _ => None,
    });
    let told = told.collect();
    w.events.clear();
    told
}

fn unpair(w: &mut World, node: u8) -> Vec<(u8, Status)> {
    let now = w.now;
    w.app.unpair_module(now, node, Reason::Retired).unwrap();
    w.run_for(300);
    statuses(w)
}

#[test]
fn the_pack_ends_a_pairing_for_its_app_and_says_so() {
    let mut w = commissioned();
    assert_eq!(unpair(&mut w, 2), [(2, Status::WrongParty)], "nobody is there");
    assert_eq!(unpair(&mut w, 0), [(0, Status::WrongParty)], "its own it ends itself");
    let now = w.now;
    w.app.unpair_module(now, 1, Reason::Lost).unwrap();
    w.run_for(3_000);
    let statement =
        w.answer(Some(Party::Pack), pdu::VALIDATION, events::EVENT).expect("the pack's statement");
    let event = lct::validation::Event::decode(&statement[3..3 + usize::from(statement[2])]).unwrap();
    assert_eq!((event.kind, event.payload[16]), (EventKind::PairingRevocation, Reason::Lost as u8));
    assert_eq!(statuses(&mut w), [(1, Status::Accepted)]);
    assert!(!w.modules[0].relation().is_paired());
    assert_eq!(unpair(&mut w, 1), [(1, Status::WrongState)], "there is none any more");
    assert!(w.pair(PACK, MODULE));
}

#[test]
fn the_pack_renews_the_keys_of_a_module_for_its_app() {
    let mut w = commissioned();
    let epoch = |w: &World| w.modules[0].relation().session().unwrap().epoch();
    let before = epoch(&w);
    let now = w.now;
    w.app.rotate_module(now, 1).unwrap();
    w.app.rotate(now, &mut w.rng).unwrap();
    w.run_for(1_000);
    assert_eq!(epoch(&w), before + 1);
    let told = w.events.iter().filter(|e| matches!(e, app::Event::ModuleRotated(1, e) if *e == before + 1));
    assert_eq!(told.count(), 1);
    let own = w.events.iter().any(|e| {
        matches!(e, app::Event::Relation(pack::relation::RelationEvent::Rotated { epoch }) if *epoch == before + 1)
    });
    assert!(own, "{:?}", w.app.relation().session().map(|s| s.epoch()));
}

/// The wish must be sealed at pair tier, and name a reason that there is.
#[test]
fn a_wish_with_less_protection_ends_nothing() {
    let mut w = commissioned();
    let rogue = world::rogue::Rogue::of(w.app.relation().session().unwrap());
    let id = SecurityId::new(Bus::Can1, Direction::Ab, 0);
    let end = [pdu::VALIDATION, events::END, 1, Reason::Retired as u8];
    let unknown = [pdu::VALIDATION, events::END, 1, 99];
    type Row<'a> = (Level, &'a [u8], &'a [(u8, Status)]);
    let rows: [Row<'_>; 2] = [(Level::Exch, &end, &[]), (Level::Pair, &unknown, &[(1, Status::Malformed)])];
    for (level, message, expected) in rows {
        let now = w.now;
        for frame in rogue.seal(id.sealed(level), id.base(), message) {
            w.pack.frame(now, Bus::Can1, &frame, &mut w.rng).unwrap();
        }
        w.run_for(2_000);
        assert_eq!(statuses(&mut w), expected);
        assert!(w.modules[0].relation().is_paired());
    }
}

/// An app whose certificate lets it read has nothing ended and nothing renewed.
#[test]
fn who_may_only_read_has_nothing_ended() {
    let mut w = commissioned();
    w.rights = (PairingContext::Diagnostics, 1);
    assert!(w.pair((None, 0), PACK));
    w.events.clear();
    assert_eq!(unpair(&mut w, 1), [(1, Status::NotAuthentic)]);
    let epoch = w.modules[0].relation().session().unwrap().epoch();
    let now = w.now;
    w.app.rotate_module(now, 1).unwrap();
    w.run_for(1_000);
    assert_eq!(w.modules[0].relation().session().unwrap().epoch(), epoch);
    assert!(w.modules[0].relation().is_paired());
}

/// Cuts what `begin` asks for, with the power of each party.
fn cut_everywhere(what: &str, step: usize, begin: fn(&mut World), then: fn(&mut World, &str)) -> u32 {
    let flash = std::mem::take(&mut commissioned().flash);
    let act = |w: &mut World| {
        begin(w);
        w.run_for(250);
    };
    everywhere(what, step, &[0, 1, 2], || started(SEED, &flash), act, then)
}

/// The app asks again until the pack says that there is no pairing. Then neither side of the pack's has it, and a new one
/// stands.
fn ends_cut(step: usize) -> u32 {
    let begin = |w: &mut World| {
        let now = w.now;
        w.app.unpair_module(now, 1, Reason::Retired).unwrap();
    };
    cut_everywhere("the end of a pairing", step, begin, |w, at| {
        w.events.clear();
        let ended = (0..8).any(|_| {
            let told = unpair(w, 1);
            w.run_for(4_000);
            told == [(1, Status::WrongState)]
        });
        assert!(ended, "{at}");
        assert!(!w.flash[1].contains_key(&key::session(1)), "{at}");
        w.events.clear();
        assert!(w.pair(PACK, MODULE), "{at}: paired anew");
    })
}

#[test]
fn an_end_cut_anywhere_is_brought_to_an_end() {
    assert!(ends_cut(7) > 30);
}

#[test]
#[ignore = "every frame: a minute"]
fn an_end_cut_at_every_frame_is_brought_to_an_end() {
    assert!(ends_cut(1) > 200);
}

/// The channel comes back, and can be renewed.
fn renewals_cut(step: usize) -> u32 {
    let begin = |w: &mut World| {
        let now = w.now;
        w.app.rotate_module(now, 1).unwrap();
    };
    cut_everywhere("a renewal", step, begin, |w, at| {
        assert!(w.app.relation().is_up() && w.modules[0].relation().is_up(), "{at}");
        let epoch = |w: &World| w.modules[0].relation().session().unwrap().epoch();
        let (before, now) = (epoch(w), w.now);
        w.app.rotate_module(now, 1).unwrap();
        w.run_for(61_000);
        assert!(epoch(w) > before, "{at}: {before}, {}", epoch(w));
    })
}

#[test]
fn a_renewal_cut_anywhere_leaves_a_channel() {
    assert!(renewals_cut(7) > 30);
}

#[test]
#[ignore = "every frame: a minute"]
fn a_renewal_cut_at_every_frame_leaves_a_channel() {
    assert!(renewals_cut(1) > 200);
}
