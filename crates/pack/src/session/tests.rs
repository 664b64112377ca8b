//! Keys, windows and epochs of one channel, its two ends side by side.

use super::*;
use lct::handshake::Established;

fn pair() -> (Session, Session) {
    let done = Established { master: MasterSecret(Secret::new([5; 32])), th4: [6; 32], comparison: 0 };
    let xk = Secret::new([7; 32]);
    let mut ends = [Direction::Ab, Direction::Ba]
        .map(|d| Session::established(Kind::Pair, &done, Some(&xk), d).unwrap());
    for s in &mut ends {
        for tier in [Tier::Exch, Tier::Pair] {
            let due = s.due(tier, 0).unwrap();
            s.reserved(&due);
            assert!(s.due(tier, 0).is_none());
        }
    }
    let [a, b] = ends;
    (a, b)
}
fn open<'a>(s: &mut Session, id: SealedId, sealed: &'a mut [u8]) -> Result<Opened<'a>, Refusal> {
    s.open(Instant::START, &Limits::DEFAULT, id, sealed)
}
fn id(level: Level, direction: Direction, base: u16) -> SealedId {
    SealedId::new(base, level, direction, 5).unwrap()
}

#[test]
fn windows() {
    let mut strict = Window::new(true);
    strict.accept(3);
    assert!(!strict.admits(2) && !strict.admits(3) && strict.admits(4));
    let mut loose = Window::new(false);
    for c in [0, 1, 5, 70] {
        assert!(loose.admits(c), "{c}");
        loose.accept(c);
        assert!(!loose.admits(c), "{c} twice");
    }
    for (c, ok) in [(5, false), (6, false), (7, true), (69, true), (70, false), (71, true), (u64::MAX, false)]
    {
        assert_eq!(loose.admits(c), ok, "{c}");
    }
    loose.accept(1000);
    assert!(!loose.admits(70) && !loose.admits(936) && loose.admits(937));
}

#[test]
fn each_replay_reflection_and_context_change_is_refused() {
    let (mut a, mut b) = pair();
    let mut out = [0; 64];
    let ab = id(Level::Pair, Direction::Ab, 0x514);
    let n = a.seal(ab, 0x514, 0, &[&[1, 2, 3]], &mut out).unwrap();
    let sent = out;
    for wrong in [
        id(Level::Exch, Direction::Ab, 0x514),
        id(Level::Pair, Direction::Ba, 0x514),
        id(Level::Pair, Direction::Ab, 0x518),
        SealedId::new(0x514, Level::Pair, Direction::Ab, 6).unwrap(),
    ] {
        assert!(open(&mut b, wrong, &mut { sent }[..n]).is_err(), "{wrong:?}");
    }
    assert!(open(&mut a, ab, &mut { sent }[..n]).is_err(), "own message reflected");
    let opened = open(&mut b, ab, &mut out[..n]).unwrap();
    assert_eq!((opened.base, opened.body, opened.tier), (0x514, &[1u8, 2, 3][..], Tier::Pair));
    assert_eq!(open(&mut b, ab, &mut { sent }[..n]), Err(Refusal::Replayed));
}

#[test]
fn the_low_bits_of_the_base_travel_inside() {
    let (mut a, mut b) = pair();
    for base in [0x514, 0x515, 0x516, 0x517] {
        let mut out = [0; 64];
        let ab = id(Level::Pair, Direction::Ab, base);
        let n = a.seal(ab, base, 0, &[&[0]], &mut out).unwrap();
        assert_eq!(open(&mut b, ab, &mut out[..n]).unwrap().base, base);
    }
}

#[test]
fn padding_is_checked() {
    assert_eq!(unpad(&[9, 0, 0, 3]), Ok(&[9][..]));
    assert_eq!(unpad(&[9, 1]), Ok(&[9][..]));
    for bad in [&[9u8, 0][..], &[9, 1, 0, 3], &[5], &[]] {
        assert_eq!(unpad(bad), Err(Refusal::Malformed), "{bad:?}");
    }
}

/// Attack 12: a counter at the end of its key seals once more and then never again, does not wrap, and the next
/// epoch begins at zero under another key.
#[test]
fn the_last_counter_of_a_key_is_the_last() {
    let (mut a, mut b) = pair();
    let ab = id(Level::Pair, Direction::Ab, 0x400);
    let secret = a.master().traffic(Tier::Pair, Direction::Ab, 0, a.channel(), None).unwrap();
    let last = lct::seal::MESSAGES_MAX - 1;
    a.current.ways[1].sealer = Sealer::new(&secret, last, u64::MAX).unwrap();
    assert!(a.usage().is_spent(&Limits::DEFAULT));
    let mut out = [0; 64];
    let n = a.seal(ab, 0x400, 0, &[&[1]], &mut out).unwrap();
    assert_eq!(claimed_counter(&out), Some(last));
    assert!(open(&mut b, ab, &mut out[..n]).is_ok());
    for _ in 0..3 {
        assert_eq!(a.seal(ab, 0x400, 0, &[&[1]], &mut out), Err(Error::Exhausted));
    }
    a.agree(MasterSecret(Secret::new([9; 32])), true).unwrap();
    let due = a.due(Tier::Pair, 0).unwrap();
    a.reserved(&due);
    let n = a.seal(ab, 0x400, 0, &[&[1]], &mut out).unwrap();
    assert_eq!((n, claimed_counter(&out)), (30, Some(0)));
    assert!(!a.usage().is_spent(&Limits::DEFAULT));
}

/// On CAN FD what fits one frame fills it, and the peer reads the same body.
#[test]
fn padding_fills_single_fd_frames() {
    for (n, classical, fd) in
        [(0, 29, 32), (3, 32, 32), (4, 33, 48), (19, 48, 48), (35, 64, 64), (36, 65, 65)]
    {
        for (format, length) in [(FrameFormat::Classical, classical), (FrameFormat::Fd, fd)] {
            let (mut a, mut b) = pair();
            a.set_format(format);
            let (text, mut out) = ([0xEE; 36], [0; 80]);
            let ab = id(Level::Exch, Direction::Ab, 0x405);
            let sealed = a.seal(ab, 0x405, 0, &[&text[..n]], &mut out).unwrap();
            assert_eq!(sealed, length, "{n} bytes, {format:?}");
            assert_eq!(open(&mut b, ab, &mut out[..sealed]).unwrap().body, &text[..n]);
        }
    }
}

#[test]
fn a_resumed_epoch_shares_no_key_with_the_last() {
    let (mut a, mut b) = pair();
    let ab = id(Level::Exch, Direction::Ab, 0x405);
    let mut old = [0; 64];
    let n = a.seal(ab, 0x405, 0, &[&[0]], &mut old).unwrap();
    b.renew(1, MasterSecret(Secret::new([9; 32])), None).unwrap();
    assert!(open(&mut b, ab, &mut old[..n]).is_err());
    let due = b.due(Tier::Exch, 0).unwrap();
    assert_eq!((due.epoch, due.limit), (1, RESERVE_STREAM), "a fresh epoch has nothing reserved");
    assert_eq!(
        b.seal(id(Level::Exch, Direction::Ba, 0x405), 0x405, 0, &[&[0]], &mut old),
        Err(Error::Exhausted)
    );
}

/// H38 against a list of everything that was accepted: small steps, leaps, repetitions, and what is too old.
#[test]
fn windows_agree_with_a_list_of_what_was_accepted() {
    for strict in [false, true] {
        let (mut window, mut seen, mut drawn) =
            (Window::new(strict), std::collections::BTreeSet::<u64>::new(), 1u64);
        for _ in 0..20_000 {
            drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let highest = seen.last().copied();
            let counter = (highest.unwrap_or(70) + 5u64).saturating_sub(drawn >> 33 & 0x7F);
            let expected = match highest {
                Some(highest) if counter <= highest => {
                    !strict && highest - counter < 64 && !seen.contains(&counter)
                }
                _ => true,
            };
            assert_eq!(window.admits(counter), expected, "{counter} after {highest:?}, strict {strict}");
            if expected {
                seen.insert(counter);
            }
            // What is too old to be marked changes nothing.
            if expected || highest.is_some_and(|highest| highest - counter >= 64) {
                window.accept(counter);
            }
            assert_eq!(window.last(), seen.last().copied());
        }
    }
}

/// The next epoch is entered by its first message; of the one before only routine messages open, and not for long (H90).
#[test]
fn an_agreed_epoch_is_entered_by_its_first_message() {
    let (mut a, mut b) = pair();
    let (routine, command) = (id(Level::Exch, Direction::Ab, 0x405), id(Level::Pair, Direction::Ab, 0x400));
    let seal = |s: &mut Session, id: SealedId| {
        let mut out = [0; 64];
        let n = s.seal(id, id.family(), 0, &[&[7]], &mut out).unwrap();
        (out, n)
    };
    let [held, late, old_command] = [routine, routine, command].map(|id| seal(&mut a, id));
    let next = || MasterSecret(Secret::new([9; 32]));
    // An agreement in which nothing was sent is forgotten; one in which this side sends is not.
    a.agree(next(), false).unwrap();
    assert_eq!(a.epoch(), 0);
    a.withdraw();
    assert!(a.next.is_none());
    a.agree(next(), true).unwrap();
    a.withdraw();
    assert_eq!(a.epoch(), 1);
    b.agree(next(), false).unwrap();
    assert_eq!((b.epoch(), b.take_moved()), (0, false));
    for tier in [Tier::Exch, Tier::Pair] {
        let due = a.due(tier, 3).unwrap();
        assert_eq!((due.epoch, due.slot, due.sequence), (1, 3, 0));
        a.reserved(&due);
    }
    let (mut first, n) = seal(&mut a, command);
    assert!(b.next.as_ref().unwrap().ways.iter().any(|way| way.opener.claims(&first)));
    assert_eq!((b.claims(Tier::Pair, &first), b.claims(Tier::Pair, &old_command.0)), (false, true));
    assert!(!b.claims(Tier::Exch, &old_command.0));
    assert!(open(&mut b, command, &mut first[..n]).is_ok());
    assert_eq!((b.epoch(), b.take_moved(), b.take_moved()), (1, true, false));
    let mut at = |ms, id, (mut sealed, n): ([u8; 64], usize)| {
        b.open(Instant::from_millis(ms), &Limits::DEFAULT, id, &mut sealed[..n]).map(|_| ())
    };
    assert_eq!(at(1_999, routine, held), Ok(()));
    assert_eq!(at(1_999, routine, held), Err(Refusal::Replayed));
    assert_eq!(at(1_999, command, old_command), Err(Refusal::UnknownKey));
    assert_eq!(at(2_000, routine, late), Err(Refusal::UnknownKey));
    assert!(a.exchange().is_some());
}

/// Only a tag that does not verify under a key that is held counts as a failure, and 64 of them raise one alarm (H93).
#[test]
fn failures_are_counted_and_raise_one_alarm() {
    let (mut a, mut b) = pair();
    let ab = id(Level::Exch, Direction::Ab, 0x405);
    let mut out = [0; 64];
    let n = a.seal(ab, 0x405, 0, &[&[1; 20]], &mut out).unwrap();
    let sent = out;
    assert!(open(&mut b, ab, &mut out[..n]).is_ok());
    assert_eq!(b.usage(), Usage { messages: 1, blocks: lct::seal::blocks(21) });
    assert_eq!(open(&mut b, ab, &mut { sent }[..n]), Err(Refusal::Replayed));
    assert_eq!(open(&mut b, ab, &mut [0xEE; 40]), Err(Refusal::UnknownKey));
    assert_eq!((b.failures(), b.take_alarm()), (0, None));
    for failure in 1..=70 {
        let n = a.seal(ab, 0x405, 0, &[&[1; 20]], &mut out).unwrap();
        out[n - 1] ^= 1;
        assert_eq!(open(&mut b, ab, &mut out[..n]), Err(Refusal::NotAuthentic));
        assert_eq!((b.failures(), b.take_alarm()), (failure, (failure == 64).then_some(Alarm::Failures)));
    }
}

#[test]
fn a_signed_body_is_told_from_others_and_reservations_are_numbered() {
    let (mut a, mut b) = pair();
    let ab = id(Level::Pair, Direction::Ab, 0x514);
    for h0 in [0, H0_SIGNED] {
        let mut out = [0; 64];
        let n = a.seal(ab, 0x514, h0, &[&[3; 9]], &mut out).unwrap();
        let opened = open(&mut b, ab, &mut out[..n]).unwrap();
        assert_eq!((opened.signed, opened.body), (h0 == H0_SIGNED, &[3; 9][..]));
    }
    for sequence in 1..4 {
        while a.due(Tier::Pair, 0).is_none() {
            a.seal(ab, 0x514, 0, &[&[0]], &mut [0; 64]).unwrap();
        }
        let due = a.due(Tier::Pair, 0).unwrap();
        assert_eq!((due.sequence, due.limit), (sequence, (u64::from(sequence) + 1) * RESERVE_COMMAND));
        a.reserved(&due);
    }
}

/// Group messages: each refusal, their padding on CAN FD, and their generation.
#[test]
fn group_messages_are_opened_once_under_their_generation() {
    let secret = |byte| lct::schedule::TrafficSecret(Secret::new([byte; 32]));
    let group = SealedId::new(0x517, Level::Pair, Direction::Ab, 0).unwrap();
    for (format, length) in [(FrameFormat::Classical, 31), (FrameFormat::Fd, 32)] {
        let mut sender = GroupSender::new(&secret(1), 7).unwrap();
        let mut receiver = GroupReceiver::new(&secret(1), 7).unwrap();
        assert_eq!(receiver.generation(), 7);
        let mut out = [0; 64];
        assert_eq!(sender.seal(format, group, 0x517, &[1, 2], &mut out), Ok(length));
        let sent = out;
        let opened = receiver.open(group, &mut out[..length]).unwrap();
        assert_eq!((opened.base, opened.tier, opened.body), (0x517, Tier::Group, &[1u8, 2][..]));
        assert_eq!(receiver.open(group, &mut { sent }[..length]), Err(Refusal::Replayed));
        assert_eq!(receiver.open(group, &mut { sent }[..OVERHEAD]), Err(Refusal::Malformed));
        let mut fresh = GroupReceiver::new(&secret(1), 8).unwrap();
        assert_eq!(fresh.open(group, &mut { sent }[..length]), Err(Refusal::NotAuthentic));
        let mut other = GroupReceiver::new(&secret(2), 7).unwrap();
        assert_eq!(other.open(group, &mut { sent }[..length]), Err(Refusal::UnknownKey));
    }
}

/// Routine messages may overtake each other, commands may not (H42); an agreement alone changes nothing for who sends.
#[test]
fn commands_are_taken_in_order_and_an_agreement_is_not_yet_an_epoch() {
    let (mut a, mut b) = pair();
    for (level, base, overtaken) in
        [(Level::Exch, 0x405, Ok(())), (Level::Pair, 0x400, Err(Refusal::Replayed))]
    {
        let ab = id(level, Direction::Ab, base);
        let mut sealed = [[0; 64]; 2];
        let n = sealed.each_mut().map(|out| a.seal(ab, base, 0, &[&[7]], out).unwrap())[0];
        let [mut first, mut second] = sealed;
        assert!(open(&mut b, ab, &mut second[..n]).is_ok());
        assert_eq!(open(&mut b, ab, &mut first[..n]).map(|_| ()), overtaken, "{level:?}");
    }
    a.agree(MasterSecret(Secret::new([9; 32])), false).unwrap();
    let (ab, mut out) = (id(Level::Pair, Direction::Ab, 0x400), [0; 64]);
    let n = a.seal(ab, 0x400, 0, &[&[7]], &mut out).unwrap();
    assert!(open(&mut b, ab, &mut out[..n]).is_ok());
}

/// H42: telemetry may arrive late, a command may not.
#[test]
fn only_the_exchange_tier_takes_what_was_overtaken() {
    let (mut a, mut b) = pair();
    for (level, late) in [(Level::Exch, Ok(())), (Level::Pair, Err(Refusal::Replayed))] {
        let ab = id(level, Direction::Ab, 0x514);
        let [mut first, mut second] = [[0; 64]; 2];
        let n = a.seal(ab, 0x514, 0, &[&[1]], &mut first).unwrap();
        a.seal(ab, 0x514, 0, &[&[2]], &mut second).unwrap();
        assert!(open(&mut b, ab, &mut second[..n]).is_ok());
        assert_eq!(open(&mut b, ab, &mut first[..n]).map(drop), late);
    }
}

/// H90: who does not send ahead reserves and seals in the current epoch, whatever was agreed.
#[test]
fn an_agreed_epoch_is_sent_in_by_the_side_that_is_ahead() {
    let next = || MasterSecret(Secret::new([9; 32]));
    let (mut a, mut b) = pair();
    a.agree(next(), false).unwrap();
    let ab = id(Level::Exch, Direction::Ab, 0x514);
    let mut out = [0; 64];
    assert_eq!((a.epoch(), a.due(Tier::Exch, 0).is_none()), (0, true));
    let n = a.seal(ab, 0x514, 0, &[&[1]], &mut out).unwrap();
    assert!(open(&mut b, ab, &mut out[..n]).is_ok(), "the peer agreed on nothing");
    b.agree(next(), true).unwrap();
    assert_eq!(b.epoch(), 1);
    let ba = id(Level::Exch, Direction::Ba, 0x508);
    assert_eq!(b.seal(ba, 0x508, 0, &[&[1]], &mut out), Err(Error::Exhausted), "nothing reserved in it");
    let due = b.due(Tier::Exch, 0).unwrap();
    b.reserved(&due);
    let n = b.seal(ba, 0x508, 0, &[&[1]], &mut out).unwrap();
    assert!(open(&mut a, ba, &mut out[..n]).is_ok() && a.take_moved());
}
