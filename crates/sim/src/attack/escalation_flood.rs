//! Attack 13: requests to be stricter, without end: in clear, and sealed by a module that somebody owns.

use super::{Attack, Defence, Tally, field::Field, world::rogue::Rogue};
use lct::validation::{EscalationReason, Urgency, ValidationLevel};
use pack::{
    can::Bus,
    chunk::split,
    controller,
    escalation::{Message, Request},
    relation::RelationEvent,
    sealed_id::{Direction, Level, SecurityId},
};

pub const ATTACK: Attack = Attack {
    number: 13,
    name: "escalation-flood",
    attacker: "a paired module that was taken over, and a node on both buses",
    defence: Defence::EscalationRate,
    run,
};

/// Requests that may be judged in a minute (H154).
const A_MINUTE: usize = 3;

fn judged(f: &Field) -> usize {
    let raised = |e: &&controller::Event| {
        matches!(e, controller::Event::Relation { event: RelationEvent::Escalated { own: false, .. }, .. })
    };
    f.w.pack_events.iter().filter(raised).count()
}

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::operational(1, seed);
    let id = SecurityId::new(Bus::Can2, Direction::Ba, 1);
    let request = |n: u32| {
        let target = [ValidationLevel::Command, ValidationLevel::Announce][n as usize % 2];
        let ask = Request { target, reason: EscalationReason::Threat, urgency: Urgency::Deferred, seq: n };
        Message::Ask(ask).to_pdu().unwrap()
    };
    // Nobody vouches for a clear one.
    for n in 1..=400 {
        let frames: Vec<_> = split(id.canonical(), &request(n)).unwrap().collect();
        f.inject(Bus::Can2, &frames);
        f.w.run_for(10);
    }
    tally.tried += 400;
    tally.attempt(judged(&f) > 0, || format!("{} clear requests were obeyed", judged(&f)));
    let level = f.w.pack.escalated(1, f.w.now);
    tally.attempt(level.is_some(), || format!("clear requests left {level:?}"));
    f.w.run_for(65_000);
    let quiet = f.latency(|_| {});
    f.w.run_for(65_000);
    let flooded = f.latency(|f| {
        let frames: Vec<_> = split(id.canonical(), &request(1)).unwrap().collect();
        (0..10).for_each(|_| f.inject(Bus::Can2, &frames));
    });
    // Commands go with the ticks of the pack.
    tally.attempt(flooded > quiet + quiet / 10 + 10, || {
        format!("a command took {flooded} ms instead of {quiet}")
    });
    // Sealed ones, after whatever the hints began.
    f.w.run_for(65_000);
    let rogue = Rogue::of(f.w.modules[0].relation().session().unwrap());
    let mut highest = None;
    for n in 1..=400 {
        let frames = rogue.seal(id.sealed(Level::Pair), id.base(), &request(n));
        f.inject(Bus::Can2, &frames);
        f.w.run_for(100);
        let level = f.w.pack.escalated(1, f.w.now);
        tally.attempt(level < highest, || format!("what was asked for fell from {highest:?} to {level:?}"));
        highest = highest.max(level);
    }
    assert!(highest.is_some(), "the first requests are heard");
    tally.attempt(judged(&f) > A_MINUTE, || format!("{} requests were judged in 40 s", judged(&f)));
    f.judge(tally);
}
