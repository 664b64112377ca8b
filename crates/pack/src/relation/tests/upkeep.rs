//! What a channel does by itself: renewal at its limits, alarms, the notice of a due handshake, the end of an unpaired
//! binding.

use super::*;
use crate::session::limits::Limits;
use std::string::String;

fn limited(couple: &Couple, limits: Limits) -> Box<Line<'_>> {
    let mut line = up(couple);
    line.ends.iter_mut().for_each(|e| e.relation.set_limits(limits).unwrap());
    line
}

/// Age, messages, blocks and failures each renew the epoch; what B sends counts as well.
#[test]
fn each_limit_renews_the_epoch() {
    let d = Limits::DEFAULT;
    let couple = couple(&[]);
    let mut line = limited(&couple, Limits { epoch_age: Duration::from_secs(50), ..d });
    line.run_for(Duration::from_secs(47), true);
    assert_eq!(line.epochs(), [Some(1); 2]);
    line.run_for(Duration::from_secs(5), true);
    assert_eq!(line.epochs(), [Some(2); 2]);
    line.run_for(Duration::from_secs(120), true);
    assert_eq!(line.epochs(), [Some(4); 2], "every minute at most");

    for (limits, sender, base) in [
        (Limits { epoch_messages: 40, ..d }, 0, 0x405),
        (Limits { epoch_messages: 40, ..d }, 1, 0x421),
        (Limits { epoch_blocks: 80, ..d }, 0, 0x405),
        (Limits { epoch_blocks: 80, ..d }, 1, 0x421),
    ] {
        let mut line = limited(&couple, limits);
        for n in 0..39 {
            assert_eq!(line.epochs(), [Some(1); 2], "message {n} of side {sender}");
            let id = SealedId::new(base, Level::Exch, SIDES[sender], 0).unwrap();
            line.seal(sender, id, base, b"one");
            line.run_for(Duration::from_micros(10_000), false);
        }
        line.traffic();
        line.run_for(Duration::from_secs(1), false);
        assert_eq!(line.epochs(), [Some(2); 2], "{limits:?}, side {sender}");
        line.check("after the limit");
    }
}

/// B cannot rotate; when A does not, it asks for a run an eighth later, and RESUME renews the epoch.
#[test]
fn the_other_side_asks_when_nobody_rotates() {
    let couple = couple(&[]);
    let mut line = up(&couple);
    line.ends[1]
        .relation
        .set_limits(Limits { epoch_age: Duration::from_secs(80), ..Limits::DEFAULT })
        .unwrap();
    line.run_for(Duration::from_secs(87), true);
    assert_eq!(line.epochs(), [Some(1); 2]);
    line.run_for(Duration::from_secs(5), true);
    assert_eq!(line.epochs(), [Some(2); 2]);
}

#[test]
fn a_handshake_is_due_by_age_epochs_and_alarm_and_the_end_is_the_end() {
    let due = |line: &Line<'_>, side: usize| {
        line.ends[side].events.iter().filter(|e| **e == RelationEvent::HandshakeDue).count()
    };
    let d = Limits::DEFAULT;
    let couple = couple(&[]);
    let mut line = limited(&couple, Limits { handshake_age_s: 7_200, ..d });
    line.run_for(Duration::from_secs(2 * 3_600 - 10), false);
    assert_eq!((due(&line, 0), line.ends[0].relation.used_s()), (0, 3_600));
    // Powered time survives a start; what was not counted yet is lost, an hour at most.
    line.start(0);
    assert_eq!(line.ends[0].relation.used_s(), 3_600);
    line.run_for(Duration::from_secs(3_700), false);
    assert_eq!([due(&line, 0), due(&line, 1)], [1, 1]);

    let mut line = limited(&couple, Limits { handshake_epochs: 2, epochs_max: 3, ..d });
    line.rotate();
    line.run_for(Duration::from_secs(1), false);
    assert_eq!([due(&line, 0), due(&line, 1)], [1, 1]);
    line.run_for(Duration::from_secs(60), false);
    line.rotate();
    line.run_for(Duration::from_secs(1), false);
    assert_eq!(line.epochs(), [Some(3); 2]);
    // No further epoch: neither by rotation nor at a start.
    line.run_for(Duration::from_secs(60), false);
    line.rotate();
    line.run_for(Duration::from_secs(30), false);
    assert_eq!(line.epochs(), [Some(3); 2]);
    line.start(0);
    line.start(1);
    line.run_for(Duration::from_secs(30), false);
    assert_eq!(line.epochs(), [None; 2]);
    assert!(line.ends[0].relation.is_paired(), "the pairing stays until a new one takes its place");
}

fn forge(line: &mut Line<'_>, side: usize, n: u32) {
    let id = SealedId::new(if side == 0 { 0x421 } else { 0x405 }, Level::Exch, SIDES[1 - side], 0).unwrap();
    line.seal(1 - side, id, id.base(1), b"genuine");
    let Some((_, Wire::Sealed(_, bytes))) = line.wire.pop_back() else { panic!("sealed") };
    for i in 0..n {
        let mut bad = bytes.clone();
        bad[4..12].copy_from_slice(&(1_000 + u64::from(i)).to_be_bytes());
        line.deliver(side, Wire::Sealed(id, bad));
    }
}

/// 64 messages in 10 s that do not open raise one alarm and one RESUME a minute, on either side; fewer raise none.
/// Nothing gets weaker: the channel stands before and after.
#[test]
fn failed_openings_raise_the_alarm_and_a_resume() {
    let couple = couple(&[]);
    let alarm = RelationEvent::Alarm { tier: Tier::Exch, alarm: Alarm::Failures };
    for side in [0, 1] {
        let mut line = up(&couple);
        forge(&mut line, side, 63);
        line.run_for(Duration::from_secs(11), false);
        assert_eq!(line.epochs(), [Some(1); 2]);
        forge(&mut line, side, 64);
        line.run_for(Duration::from_secs(11), false);
        assert_eq!(line.epochs(), [Some(2); 2], "side {side}");
        let count = |line: &Line<'_>, what| line.ends[side].events.iter().filter(|e| **e == what).count();
        assert_eq!((count(&line, alarm), count(&line, RelationEvent::HandshakeDue)), (1, 1));
        for _ in 0..3 {
            forge(&mut line, side, 200);
            line.run_for(Duration::from_secs(11), false);
        }
        assert_eq!(line.epochs(), [Some(2); 2], "one RESUME a minute");
        assert_eq!(count(&line, alarm), 4);
        line.check("after the storm");
    }
    // Enough of them in one epoch, however slowly, rotate it.
    let mut line = limited(&couple, Limits { epoch_failures: 50, ..Limits::DEFAULT });
    for _ in 0..5 {
        forge(&mut line, 0, 10);
        line.run_for(Duration::from_secs(11), false);
    }
    assert_eq!(line.epochs(), [Some(2); 2]);
}

/// Until there is a pairing the session of the binding is used for ten minutes; its secret outlives them.
#[test]
fn an_unpaired_binding_speaks_for_ten_minutes() {
    let couple = couple(&[]);
    let mut line = up(&couple);
    let pairs = [0, 1].map(|side| line.ends[side].relation.pair.take());
    let id = SealedId::new(0x40C, Level::Bind, Direction::Ab, 0).unwrap();
    let opened = |line: &mut Line<'_>| {
        let before = line.ends[1].opened.len();
        line.seal(0, id, 0x40D, b"x");
        while line.move_one() {}
        line.ends[1].opened.len() - before
    };
    line.run_for(Duration::from_secs(595), false);
    assert_eq!(opened(&mut line), 1);
    line.run_for(Duration::from_secs(10), false);
    assert_eq!(opened(&mut line), 0);
    for (side, pair) in pairs.into_iter().enumerate() {
        line.ends[side].relation.pair = pair;
        line.start(side);
    }
    line.run_for(Duration::from_secs(3), false);
    line.check("paired again");
}

/// No record of a tier takes the place of another's, whatever the slot.
#[test]
fn flash_keys_do_not_collide() {
    let mut seen = BTreeMap::<u16, String>::new();
    for slot in 0..=31u8 {
        let tiers = [Tier::Dev, Tier::Exch, Tier::Pair, Tier::Bind, Tier::Group];
        let mut keys: Vec<(u16, String)> =
            tiers.iter().map(|t| (key::counter(slot, *t), format!("counter {slot} {t:?}"))).collect();
        keys.extend(vec![
            (key::bond(slot), format!("bond {slot}")),
            (key::session(slot), format!("session {slot}")),
            (key::module(slot), format!("module {slot}")),
            (key::age(slot), format!("age {slot}")),
            (key::binding(slot), format!("binding {slot}")),
        ]);
        for (key, what) in keys {
            assert_eq!(seen.insert(key, what.clone()), None, "{what}");
        }
    }
}

/// A pairing that ends in the midst of a rotation, and a run that begins then, disturb nothing.
#[test]
fn a_rotation_gives_way() {
    let couple = couple(&[]);
    for messages in 0..3 {
        let mut line = up(&couple);
        line.rotate();
        for _ in 0..messages {
            line.move_one();
        }
        let mut fx = Effects::new();
        line.ends[0].relation.end_pairing(&mut fx).unwrap();
        line.perform(0, fx);
        // The ticks of the loop must not fail.
        line.run_for(Duration::from_secs(20), true);
        assert!(!line.ends[0].relation.is_paired());
    }
    // Side B is silent after its answer; meanwhile A does something else for ten seconds.
    let mut line = up(&couple);
    line.rotate();
    line.move_one();
    line.move_one();
    let m3 = Short::from_slice(&[1, 0x83]).unwrap();
    let run = Run::Answered { kind: Kind::Pair, tier: Tier::Pair, m3, tells: false };
    line.ends[0].relation.run = Some(run);
    line.wire.clear();
    for _ in 0..20 {
        line.wire.clear();
        line.now = line.now + Duration::from_millis(500);
        let (mut fx, now) = (Effects::new(), line.now);
        let End { relation, boot, .. } = &mut line.ends[0];
        relation.tick(&couple.identities[0], now, *boot, &mut fx, &mut line.rng).unwrap();
        assert!(matches!(relation.run, Some(Run::Answered { kind: Kind::Pair, .. })));
        line.perform(0, fx);
    }
    line.ends[0].relation.run = None;
    line.run_for(Duration::from_secs(10), true);
    line.check("after the other run");
}
