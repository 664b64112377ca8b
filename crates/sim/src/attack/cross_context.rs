//! Attack 6: a sealed message is delivered under another identifier: another class, level, device or bus.

use super::{Attack, Defence, Tally, field::Field};
use lct::validation::{EscalationReason, Urgency, ValidationLevel};
use pack::{
    can::Bus,
    sealed_id::{Direction, Level, SealedId},
};

pub const ATTACK: Attack = Attack {
    number: 6,
    name: "cross-context",
    attacker: "a node on both buses that gives a message another identifier",
    defence: Defence::BoundIdentifier,
    run,
};

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::operational(2, seed);
    // A request of the app to be stricter. Its eight bytes, read as a command, would say Off.
    let requests = |id: SealedId| id.family() == 0x40C && id.direction() == Direction::Ab;
    let held = f.withhold(
        requests,
        |w| {
            let now = w.now;
            let (target, reason) = (ValidationLevel::Command, EscalationReason::Audit);
            w.app.escalate(now, target, reason, Urgency::Deferred).unwrap();
        },
        60,
    );
    let message = held.iter().find(|m| m.bytes.len() == 37).expect("a request of eight bytes").clone();
    let id = message.sealed.unwrap();
    for base in (0x400..0x600).step_by(4) {
        let bus = if base < 0x500 { Bus::Can1 } else { Bus::Can2 };
        for level in [Level::Dev, Level::Exch, Level::Pair, Level::Bind] {
            for device in [0, 1, 2] {
                let other = SealedId::new(base, level, Direction::Ab, device).unwrap();
                if other == id || !matches!(base, 0x400..=0x410 | 0x424 | 0x4AC | 0x500..=0x52C) {
                    continue;
                }
                let before = f.effects();
                f.send(bus, other, &message.bytes);
                f.w.run_for(if base == 0x400 { 60 } else { 0 });
                tally.attempt(f.effects() != before, || format!("{id:?} was obeyed as {other:?}"));
            }
        }
        // An alarm would renew the keys: their failures are forgotten after ten seconds.
        f.w.run_for(1_500);
    }
    f.judge(tally);
}
