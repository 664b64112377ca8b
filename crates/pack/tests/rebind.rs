//! A binding that takes the place of another one, interrupted wherever it can be (`spec/channel.md`, H147, H180).

use crate::world;

use std::{cell::Cell, rc::Rc};

use pack::{app::Party, identity::key, lifecycle::Condition};
use world::{Flash, World};

const PACK: (Option<Party>, usize) = (Some(Party::Pack), 1);
const MODULE: (Option<Party>, usize) = (Some(Party::Module(1)), 2);
const SEED: u64 = 730;
/// Longest that a party is given to meet the others after a cut.
const MEET: u64 = 20_000;

/// Everybody starts from these flashes, and the module from one whose bond says nothing when it is `lost`.
fn started(flash: &[Flash], lost: bool) -> World {
    let mut w = World::new(1, SEED);
    w.flash = flash.to_vec();
    w.issued = 10;
    if lost {
        w.flash[MODULE.1].get_mut(&key::bond(0)).unwrap().truncate(1);
    }
    (0..3).for_each(|who| w.restart(who));
    w.run_for(MEET);
    let expected = if lost { Condition::KeyLost } else { Condition::Sound };
    assert_eq!((w.modules[0].condition(), w.app.relation().is_up()), (expected, true));
    w
}

/// Binds pack and module while every frame from number `n` on is lost, then takes the power of `who`; true when it came
/// so far.
fn cut(w: &mut World, n: u32, who: usize) -> bool {
    let seen = Rc::new(Cell::new(0));
    let counter = seen.clone();
    w.filter = Box::new(move |_| {
        counter.set(counter.get() + 1);
        counter.get() <= n
    });
    // A ceremony that a device does not even begin goes no further.
    let begun = w.bind(PACK, MODULE);
    w.restart(who);
    w.run_for(50);
    w.filter = Box::new(|_| true);
    !begun || seen.get() > n
}

/// Wherever it was cut, the two are bound and paired at the next try, and nobody lacks keys.
fn rebindings_cut(step: usize) -> u32 {
    let mut w = World::new(1, SEED);
    w.commission();
    let flash = std::mem::take(&mut w.flash);
    let mut points = 0;
    for lost in [true, false] {
        for who in 0..3 {
            for n in (0..).step_by(step) {
                let mut w = started(&flash, lost);
                let reached = cut(&mut w, n, who);
                w.run_for(MEET);
                let at = format!("{who} after {n}, lost {lost}");
                w.events.clear();
                assert!(w.bind(PACK, MODULE) && w.pair(PACK, MODULE), "{at}");
                w.run_for(3_000);
                assert_eq!(w.modules[0].condition(), Condition::Sound, "{at}");
                assert!(w.modules[0].relation().is_up() && w.app.relation().is_up(), "{at}");
                points += 1;
                if !reached {
                    break;
                }
            }
        }
    }
    println!("binding anew was cut at {points} points");
    points
}

#[test]
fn binding_anew_cut_anywhere_is_done_at_the_next_try() {
    assert!(rebindings_cut(149) > 20);
}

#[test]
#[ignore = "every frame: some minutes"]
fn binding_anew_cut_at_every_frame_is_done_at_the_next_try() {
    assert!(rebindings_cut(1) > 1_000);
}
