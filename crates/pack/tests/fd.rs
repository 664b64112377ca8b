//! The whole life of a pack on two buses with CAN FD (`spec/can.md`, C120 and C121).

use crate::world;

use pack::{
    app::{self, Party},
    can::Bus,
    link::{FrameFormat, LinkCounters},
    message::RelayState,
    pdu,
    sealed_id::{Class, SealedId, Transport, classify},
};
use world::World;

const SECONDS: usize = 30;

/// Commissions, switches on, measures, acknowledges; gives the number of frames after commissioning.
fn life(format: FrameFormat) -> (World, usize) {
    let mut w = World::new(3, 120);
    w.app.set_format(format);
    w.pack.set_format(Bus::Can1, format);
    w.pack.set_format(Bus::Can2, format);
    w.modules.iter_mut().for_each(|m| m.set_format(format));
    w.commission();
    let commissioned = w.log.len();
    let now = w.now;
    w.app.set_state(now, RelayState::On, &mut w.rng).unwrap();
    w.run_for(1_500);
    assert_eq!(w.pack.state(), RelayState::On);
    for _ in 0..SECONDS {
        w.run_for(1_000);
        w.measure(-10_000);
    }
    let now = w.now;
    w.app.set_state(now, RelayState::Off, &mut w.rng).unwrap();
    w.run_for(1_000);
    let frames = w.log.len() - commissioned;
    (w, frames)
}

fn batched_records(w: &mut World) -> u32 {
    let mut batches = std::collections::BTreeMap::new();
    for _ in 0..20 {
        let now = w.now;
        for event in std::mem::take(&mut w.events) {
            if let app::Event::Batch(party, s, _) = event {
                let who = if let Party::Module(node) = party { node } else { 0 };
                batches.insert((who, s.first_seq), u32::from(s.count));
                w.app.received(now, party, pdu::BATCH, u64::from(s.first_seq)).unwrap();
            }
        }
        w.run_for(300);
    }
    batches.values().sum()
}

#[test]
fn a_pack_lives_on_can_fd() {
    let (mut w, fd_frames) = life(FrameFormat::Fd);
    assert_eq!(
        batched_records(&mut w),
        4 * SECONDS as u32,
        "every record of pack and modules is signed and arrives"
    );
    let refused =
        [w.app.refused(), w.pack.refused()].into_iter().chain(w.modules.iter().map(|m| m.refused()));
    refused.for_each(|r| assert_eq!((r.sealed, r.policy, r.security), (0, 0, 0)));
    let ends = [w.app.link_counters()].into_iter().chain(w.pack.link_counters());
    for counters in ends.chain(w.modules.iter().map(|m| m.link_counters())) {
        assert_eq!(counters, LinkCounters::default());
    }

    let (mut single, mut chunks, mut long, mut short_chunks) = (0, 0, 0, Vec::<SealedId>::new());
    for (_, bus, frame) in &w.log {
        match classify(*bus, frame).unwrap() {
            Class::Sealed(_, Transport::Single) => {
                assert!(frame.is_fd() && matches!(frame.len(), 32 | 48 | 64), "{frame:?}");
                single += 1;
            }
            Class::Sealed(id, Transport::Chunk { total, .. }) => {
                assert!(!frame.is_fd());
                chunks += 1;
                // Eight chunks or fewer are at most 64 bytes.
                if total <= 8 {
                    short_chunks.push(id);
                }
            }
            Class::Sealed(_, Transport::IsoTp) | Class::Security(_, Transport::IsoTp) => {
                assert!(frame.is_fd());
                long += 1;
            }
            Class::Security(..) | Class::Clear(_) => assert!(!frame.is_fd(), "{frame:?}"),
        }
    }
    println!("{single} single FD frames, {chunks} chunks, {long} FD frames of long messages");
    assert_eq!(short_chunks, [], "what fits one FD frame is one");
    assert!(single > 100 && chunks > 100 && long > 100);

    let (_, classical_frames) = life(FrameFormat::Classical);
    println!("{fd_frames} frames with FD, {classical_frames} without");
    assert!(fd_frames * 3 < classical_frames * 2);
}
