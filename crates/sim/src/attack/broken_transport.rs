//! Attack 25: messages that are begun and never ended, under every identifier that a module listens to, while its pack
//! tells it to open its relay.

use super::{Attack, Defence, Tally, field::Field};
use pack::{
    can::{Bus, Frame},
    message::RelayState,
    sealed_id::{Direction, Level, SealedId, SecurityId, Transport},
};

pub const ATTACK: Attack = Attack {
    number: 25,
    name: "broken-transport",
    attacker: "a node on CAN 2 that begins messages and ends none",
    defence: Defence::BufferEviction,
    run,
};

/// First chunks, chunks out of order, of another total and with other bytes, and long messages without an end.
fn nonsense() -> Vec<Frame> {
    let mut ids = vec![SecurityId::new(Bus::Can2, Direction::Ab, 1).canonical()];
    for base in [0x510, 0x514, 0x518, 0x51C, 0x52C] {
        for level in [Level::Dev, Level::Exch, Level::Pair, Level::Bind] {
            // What the pack itself sends is left to it.
            if (base, level) != (0x514, Level::Pair) && (base, level) != (0x514, Level::Dev) {
                ids.push(SealedId::new(base, level, Direction::Ab, 1).unwrap().canonical());
            }
        }
    }
    let parts = [(1, 16), (2, 16), (2, 16), (9, 16), (1, 16), (3, 5), (1, 2), (1, 16)];
    let mut frames = Vec::new();
    for (cur, total) in parts {
        for (n, id) in ids.iter().enumerate() {
            let chunk = id.frame_id(Transport::Chunk { cur, total });
            frames.push(Frame::new_classic(chunk, &[cur ^ n as u8; 8]).unwrap());
        }
    }
    for id in ids {
        // A first frame of 4095 bytes, flow control that says wait, and one that says overflow.
        for data in [[0x1F, 0xFF, 0, 0, 0, 0, 0, 0], [0x31, 0, 0, 0, 0, 0, 0, 0], [0x32, 0, 0, 0, 0, 0, 0, 0]]
        {
            frames.push(Frame::new_classic(id.frame_id(Transport::IsoTp), &data).unwrap());
        }
    }
    frames
}

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::operational(1, seed);
    let all = nonsense();
    let begun = all[..all.len() / 11].to_vec();
    for round in 0..10 {
        let frames = if round % 2 == 0 { &all } else { &begun };
        f.order(RelayState::On);
        // One frame after the other, as fast as a bus carries them, and first for a while before the command.
        let mut at = round * 7;
        let mut flood = |f: &mut Field, ms: u32| {
            for _ in 0..ms {
                f.inject(Bus::Can2, &[frames[at % frames.len()], frames[(at + 1) % frames.len()]]);
                at += 2;
                f.w.run_for(1);
            }
        };
        flood(&mut f, 60);
        let now = f.w.now;
        f.w.app.set_state(now, RelayState::Off, &mut f.w.rng).unwrap();
        flood(&mut f, 250);
        let relay = f.w.modules[0].relay();
        tally.attempt(relay != RelayState::Off, || format!("a relay stayed {relay:?} for 250 ms"));
        f.w.run_for(3_000);
    }
    f.judge(tally);
}
