//! Sealed messages: what an attacker without the keys sends, and what a peer with the keys can say.

pub mod sealed {
    use crate::input::Input;
    use lct::handshake::Kind;
    use lct::schedule::{Direction, ExchangeTag, GroupKey, MasterSecret, Tier};
    use lct::secret::Secret;
    use pack::link::FrameFormat;
    use pack::sealed_id::{Level, SealedId};
    use pack::session::limits::Limits;
    use pack::session::{GroupReceiver, GroupSender, Session, tier_of};
    use pack::time::{Duration, Instant};

    pub fn seeds() -> Vec<Vec<u8>> {
        vec![
            vec![0x02, 0x14, 0, 5, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0],
            vec![
                0x01, 0x24, 0, 5, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
                1, 30,
            ],
            vec![0x12, 0x14, 0, 5, 4, 0, 0, 0, 4, 0],
            [vec![0x41, 0x08, 0, 5, 8], vec![7; 8], vec![0x41, 0x08, 0, 5, 16], vec![8; 16]].concat(),
            vec![0x31, 0x08, 1, 1, 4, 1, 2, 3, 4],
        ]
    }

    fn side(sends: Direction) -> Session {
        let mut session = Session::at_epoch(
            Kind::Pair,
            [7; 32],
            0,
            MasterSecret(Secret::new([8; 32])),
            Some(ExchangeTag(Secret::new([9; 16]))),
            sends,
        )
        .expect("a pairing has every key");
        session.allow_compact(&[0x508, 0x509]).expect("routine classes");
        session
    }

    /// The next epoch on both sides, in either order; the old one is left when the first message of the new arrives.
    fn rotate(near: &mut Session, far: &mut Session, op: u8) {
        let next = near.master().rekey(near.epoch() + 1, &[1; 16], &[2; 16], &[3; 32]).expect("a next epoch");
        if near.epoch() == far.epoch() {
            let _agreed = (near.agree(next.clone(), op & 1 != 0), far.agree(next, op & 1 == 0));
        }
    }

    /// Group frames: one bus, one generation, any body, damaged or not.
    fn group(input: &mut Input<'_>) {
        let Ok(secret) = GroupKey(Secret::new([6; 32])).traffic(3, &crate::fixture::cid_b()) else { return };
        let (Ok(mut sender), Ok(mut receiver)) =
            (GroupSender::new(&secret, 3), GroupReceiver::new(&secret, 3))
        else {
            return;
        };
        let Ok(id) = SealedId::new(0x517, Level::Pair, Direction::Ab, 0) else { return };
        let mut out = [0; 300];
        let body = input.slice();
        let Ok(n) = sender.seal(FrameFormat::Classical, id, 0x517, body, &mut out) else { return };
        let (at, mask) = (usize::from(input.byte()) % n, input.byte());
        out[at] ^= mask;
        let opened = receiver.open(id, &mut out[..n]).map(|opened| opened.body == body);
        assert_eq!(opened.ok(), (mask == 0).then_some(true));
    }

    pub fn run(data: &[u8]) {
        let mut input = Input(data);
        group(&mut Input(data));
        let (mut near, mut far) = (side(Direction::Ab), side(Direction::Ba));
        let limits = Limits::DEFAULT;
        let mut now = Instant::START;
        let mut out = [0; 1200];
        let mut rotated = false;
        while !input.is_empty() {
            let op = input.byte();
            let base = 0x400 + u16::from_le_bytes(input.array()) % 0x200;
            let level = Level::from_bits(u32::from(op & 3));
            let device = input.byte() & 31;
            let Ok(id) = SealedId::new(base, level, Direction::Ba, device) else { continue };
            let body = input.slice();
            now = now + Duration::from_millis(u64::from(op >> 2));
            let tier = tier_of(level);
            while let Some(reservation) = far.due(tier, 0) {
                far.reserved(&reservation);
            }
            let length = match op >> 4 & 7 {
                0..=2 => far.seal(id, base, op & 8, &[body], &mut out),
                3 => far.seal_compact(id, base, body, &mut out),
                // Nothing but what the attacker made up.
                _ => {
                    out[..body.len()].copy_from_slice(body);
                    Ok(body.len())
                }
            };
            if op & 0x80 != 0 {
                rotated = true;
                rotate(&mut near, &mut far, op);
            }
            let Ok(length) = length else { continue };
            let sealed = &mut out[..length];
            let damage = input.byte();
            if damage != 0 && !sealed.is_empty() {
                let at = usize::from(input.byte()) % sealed.len();
                sealed[at] ^= damage;
            }
            let authentic =
                damage == 0 && !rotated && op >> 4 & 7 <= 2 && !matches!(tier, Tier::Bind | Tier::Dev);
            match near.open(now, &limits, id, sealed) {
                Ok(opened) => {
                    assert!(damage == 0 || op >> 4 & 7 == 3, "what was damaged does not open");
                    assert_eq!(opened.base & 0x3FC, base & 0x3FC);
                    if authentic {
                        assert_eq!((opened.base, opened.body, opened.tier), (base, body, tier));
                    }
                }
                Err(refusal) => assert!(!authentic, "an honest message of {} bytes: {refusal:?}", body.len()),
            }
        }
    }
}
