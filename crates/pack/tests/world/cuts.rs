//! Whatever is under way is interrupted at a frame: the rest of the frames is lost, and meanwhile the power of a party.

use super::{Flash, World};
use std::{cell::Cell, rc::Rc};

/// Longest that a party is given to meet the others after a cut.
pub const MEET: u64 = 20_000;

/// A world of one module in which everybody starts from these flashes, the identities being those of `seed`, and every channel is
/// up.
pub fn started(seed: u64, flash: &[Flash]) -> World {
    let mut w = World::new(1, seed);
    w.flash = flash.to_vec();
    w.issued = 10;
    (0..3).for_each(|who| w.restart(who));
    w.run_for(MEET);
    assert!(w.app.relation().is_up() && w.modules[0].relation().is_up());
    w.events.clear();
    w
}

/// Does `act` while every frame from number `n` on is lost, and meanwhile the power of `who`; whether there were so many.
fn cut(w: &mut World, n: u32, who: usize, act: impl FnOnce(&mut World)) -> bool {
    let seen = Rc::new(Cell::new(0));
    let counter = seen.clone();
    w.filter = Box::new(move |_| {
        counter.set(counter.get() + 1);
        counter.get() <= n
    });
    act(w);
    w.restart(who);
    w.run_for(50);
    w.filter = Box::new(|_| true);
    seen.get() > n
}

/// Cuts what `act` does in the world that `start` makes, at one frame of `step` and at the end, with the power of each of
/// `parties`; `then` says what has to hold after the parties met again. Prints and returns the number of points.
pub fn everywhere(
    what: &str,
    step: usize,
    parties: &[usize],
    start: impl Fn() -> World,
    act: impl Fn(&mut World),
    then: impl Fn(&mut World, &str),
) -> u32 {
    let mut points = 0;
    for who in parties {
        for n in (0..).step_by(step) {
            let mut w = start();
            let reached = cut(&mut w, n, *who, &act);
            w.run_for(MEET);
            then(&mut w, &format!("{what}, {who} after {n}"));
            points += 1;
            if !reached {
                break;
            }
        }
    }
    println!("{what} was cut at {points} points");
    points
}
