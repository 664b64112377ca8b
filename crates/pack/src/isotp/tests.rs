//! Both machines against the published frames, against each other, and against an attacker (C25).

use super::*;
use hex_literal::hex;
use proptest::prelude::*;
use std::format;
use std::string::String;
use std::vec::Vec as StdVec;

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn sender(can_dl: CanDl) -> Sender<4095> {
    Sender::new(SenderConfig { can_dl, ..SenderConfig::default() })
}

fn receiver(block_size: u8, st_min: u8) -> Receiver<4095> {
    let config = ReceiverConfig { block_size, st_min: StMin::from_byte(st_min), ..ReceiverConfig::default() };
    Receiver::new(config)
}

fn message(len: usize) -> StdVec<u8> {
    (0..len).map(|i| (i * 7 + i / 256) as u8).collect()
}

fn poll_frame<const N: usize>(tx: &mut Sender<N>, now: Instant) -> Option<StdVec<u8>> {
    match tx.poll(now)? {
        SendEvent::Frame(frame) => Some(frame.to_vec()),
        event => panic!("{event:?} instead of a frame"),
    }
}

/// Runs a transfer to its end: frames of the sender, number of flow controls, message, time it took.
fn transfer(
    tx: &mut Sender<4095>,
    rx: &mut Receiver<4095>,
    bytes: &[u8],
) -> (StdVec<StdVec<u8>>, usize, StdVec<u8>, Duration) {
    let (mut frames, mut controls, mut got) = (StdVec::new(), 0, StdVec::new());
    let mut now = Instant::START;
    tx.start(now, bytes).unwrap();
    loop {
        now = now.max(tx.due().unwrap());
        match tx.poll(now) {
            Some(SendEvent::Frame(frame)) => {
                tx.transmitted(now);
                if let Received::Message(message) = rx.on_frame(now, &frame) {
                    got = message.to_vec();
                }
                frames.push(frame.to_vec());
                if let Some(control) = rx.flow_control() {
                    controls += 1;
                    tx.on_flow_control(now, &control);
                }
            }
            Some(SendEvent::Done) => return (frames, controls, got, now.saturating_since(Instant::START)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_published_frames_are_met() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/secure-link.json");
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let expected: StdVec<String> = serde_json::from_value(json["frames_isotp"]["frames"].clone()).unwrap();
    let chunks: StdVec<(String, String)> =
        serde_json::from_value(json["frames_chunk"]["frames"].clone()).unwrap();
    let hex: String = chunks.into_iter().map(|(_, data)| data).collect();
    let sealed: StdVec<u8> =
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
    let (frames, controls, got, _) = transfer(&mut sender(CanDl::Dl8), &mut receiver(0, 0), &sealed);
    let frames: StdVec<String> =
        frames.iter().map(|frame| frame.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
    assert_eq!(frames, expected);
    assert_eq!((controls, got), (1, sealed));
}

/// Frame counts by C23, worked out by hand (data and flow control, block size 0).
#[test]
fn the_frame_counts_are_those_of_the_design() {
    for (len, frames) in
        [(37, 6), (45, 7), (53, 8), (64, 10), (93, 14), (128, 19), (285, 41), (1053, 151), (4095, 586)]
    {
        let (sent, controls, got, _) = transfer(&mut sender(CanDl::Dl8), &mut receiver(0, 0), &message(len));
        assert_eq!((sent.len(), controls), (frames, 1), "{len}");
        assert_eq!(got, message(len));
    }
    for (len, frames) in [(69, 2), (93, 2), (128, 3), (285, 5), (1053, 17), (4095, 66)] {
        let (sent, _, got, _) = transfer(&mut sender(CanDl::Dl64), &mut receiver(0, 0), &message(len));
        assert_eq!(sent.len(), frames, "{len}");
        assert_eq!(got, message(len));
    }
}

#[test]
fn single_frames_have_two_forms() {
    let one = |can_dl, len| {
        let mut tx = sender(can_dl);
        tx.start(at(0), &message(len)).unwrap();
        poll_frame(&mut tx, at(0)).unwrap()
    };
    assert_eq!(one(CanDl::Dl8, 1), [0x01, 0]);
    assert_eq!(one(CanDl::Dl8, 7)[0], 0x07);
    assert_eq!(one(CanDl::Dl8, 8)[..2], [0x10, 8]);
    assert_eq!(one(CanDl::Dl64, 7).len(), 8);
    assert_eq!(one(CanDl::Dl64, 8)[..3], [0x00, 8, 0]);
    // 8 + 2 bytes do not exist in FD: padded to 12.
    assert_eq!(one(CanDl::Dl64, 8)[10..], [PAD, PAD]);
    assert_eq!(one(CanDl::Dl64, 62).len(), 64);
    assert_eq!(one(CanDl::Dl64, 63)[..2], [0x10, 63]);
}

#[test]
fn separation_times_have_two_units_and_reserved_values() {
    let table = [
        (0x00, 0),
        (0x01, 1_000),
        (0x7F, 127_000),
        (0x80, 127_000),
        (0xF0, 127_000),
        (0xF1, 100),
        (0xF9, 900),
        (0xFA, 127_000),
        (0xFF, 127_000),
    ];
    for (byte, micros) in table {
        assert_eq!(StMin::from_byte(byte).duration().as_micros(), micros, "{byte:02x}");
    }
    for (micros, byte) in [(0, 0), (1, 0xF1), (250, 0xF3), (900, 0xF9), (901, 1), (1_001, 2), (999_999, 127)]
    {
        assert_eq!(StMin::at_least(Duration::from_micros(micros)).byte(), byte, "{micros}");
    }
}

#[test]
fn pace_and_blocks_are_obeyed() {
    // 100 bytes: first frame 6, then 14 consecutive frames; blocks of 4 need 1 + 3 flow controls.
    let (_, controls, got, took) = transfer(&mut sender(CanDl::Dl8), &mut receiver(4, 5), &message(100));
    assert_eq!((controls, got), (4, message(100)));
    // Within a block 5 ms between frames; the flow control starts the next block at once: 3+3+3+1 gaps.
    assert_eq!(took, Duration::from_millis(50));
    let (.., took) = transfer(&mut sender(CanDl::Dl8), &mut receiver(0, 0xF3), &message(100));
    assert_eq!(took, Duration::from_micros(13 * 300));
}

/// Brings a sender to the point where it waits for flow control.
fn waiting() -> Sender<4095> {
    let mut tx = sender(CanDl::Dl8);
    tx.start(at(0), &message(400)).unwrap();
    poll_frame(&mut tx, at(0)).unwrap();
    tx.transmitted(at(0));
    assert_eq!(tx.due(), Some(at(1_000)));
    tx
}

#[test]
fn bad_answers_end_the_transfer() {
    let table: [(&[u8], SendError); 5] = [
        (&hex!("320000"), SendError::Overflow),
        (&hex!("32000000000000CC"), SendError::Overflow),
        (&hex!("330000"), SendError::InvalidFlowStatus),
        (&hex!("30007F"), SendError::TooSlow),
        (&hex!("3000AA"), SendError::TooSlow),
    ];
    for (control, error) in table {
        let mut tx = waiting();
        tx.on_flow_control(at(1), control);
        assert_eq!(tx.poll(at(1)), Some(SendEvent::Failed(error)), "{control:02x?}");
        assert!(tx.is_idle());
    }
    let mut tx = waiting();
    for rubbish in [&hex!("30")[..], &hex!("3000"), &hex!("210000"), &[], &hex!("100800")] {
        tx.on_flow_control(at(1), rubbish);
        assert_eq!(tx.poll(at(1)), None);
    }
    assert_eq!(tx.poll(at(1_000)), Some(SendEvent::Failed(SendError::NoFlowControl)));
}

#[test]
fn a_flood_of_waits_is_bounded_and_each_wait_starts_the_clock_anew() {
    let mut tx = waiting();
    for wait in 1..=8 {
        tx.on_flow_control(at(wait * 900), &hex!("310000"));
        assert_eq!(tx.poll(at(wait * 900)), None);
    }
    tx.on_flow_control(at(7_300), &hex!("310000"));
    assert_eq!(tx.poll(at(7_300)), Some(SendEvent::Failed(SendError::TooManyWaits)));
    // The machine is free for the next message at once.
    tx.start(at(7_300), &[1, 2, 3]).unwrap();
    assert_eq!(poll_frame(&mut tx, at(7_300)).unwrap(), [3, 1, 2, 3]);
}

#[test]
fn waits_are_counted_per_flow_control_not_per_message() {
    let mut tx = waiting();
    for _ in 0..4 {
        for _ in 0..8 {
            tx.on_flow_control(at(1), &hex!("310000"));
        }
        tx.on_flow_control(at(1), &hex!("300200"));
        for _ in 0..2 {
            poll_frame(&mut tx, at(1)).unwrap();
            tx.transmitted(at(1));
        }
    }
    assert_eq!(tx.poll(at(1)), None);
    assert!(!tx.is_idle());
}

#[test]
fn a_forged_slow_pace_cannot_hold_the_sender_forever() {
    let mut tx = waiting();
    let mut now = at(0);
    let end = loop {
        // Block size 1: every frame waits for flow control, which comes as late as it may, with waits.
        tx.on_flow_control(now, &hex!("300114"));
        now = now + Duration::from_millis(999);
        match tx.poll(now) {
            Some(SendEvent::Frame(_)) => tx.transmitted(now),
            Some(event) => break event,
            None => tx.on_flow_control(now, &hex!("310000")),
        }
        now = now + Duration::from_millis(999);
    };
    assert_eq!(end, SendEvent::Failed(SendError::TransferTime));
    assert!(now <= at(32_000));
}

#[test]
fn a_bus_that_takes_nothing_is_noticed() {
    let mut tx = sender(CanDl::Dl8);
    tx.start(at(0), &[1]).unwrap();
    assert_eq!(tx.start(at(0), &[1]), Err(SendError::Busy));
    poll_frame(&mut tx, at(0)).unwrap();
    assert_eq!(tx.poll(at(999)), None);
    assert_eq!(tx.poll(at(1_000)), Some(SendEvent::Failed(SendError::NotTransmitted)));
}

#[test]
fn flow_control_may_overtake_the_report_of_transmission() {
    let mut tx = sender(CanDl::Dl8);
    tx.start(at(0), &message(20)).unwrap();
    poll_frame(&mut tx, at(0)).unwrap();
    tx.on_flow_control(at(0), &hex!("300000"));
    assert_eq!(poll_frame(&mut tx, at(0)).unwrap()[0], 0x21);
    // Flow control nobody asked for does not count as transmission.
    tx.on_flow_control(at(0), &hex!("320000"));
    assert_eq!(tx.poll(at(0)), None);
    tx.transmitted(at(1));
    assert_eq!(poll_frame(&mut tx, at(1)).unwrap()[0], 0x22);
}

#[test]
fn lengths_that_cannot_be_sent_are_refused() {
    let mut tx: Sender<100> = Sender::new(SenderConfig::default());
    assert_eq!(tx.start(at(0), &[]), Err(SendError::Length));
    assert_eq!(tx.start(at(0), &message(101)), Err(SendError::Length));
    assert_eq!(sender(CanDl::Dl8).start(at(0), &message(4_096)), Err(SendError::Length));
    assert!(tx.is_idle());
}

#[test]
fn padded_frames_are_received() {
    let mut rx = receiver(0, 0);
    assert_eq!(rx.on_frame(at(0), &hex!("02A1A2CCCCCCCCCC")), Received::Message(&[0xA1, 0xA2]));
    assert_eq!(rx.on_frame(at(0), &hex!("1009010203040506")), Received::Pending);
    assert_eq!(rx.flow_control().unwrap(), hex!("300000"));
    assert_eq!(rx.flow_control(), None);
    assert_eq!(
        rx.on_frame(at(0), &hex!("21070809CCCCCCCC")),
        Received::Message(&[1, 2, 3, 4, 5, 6, 7, 8, 9])
    );
}

#[test]
fn malformed_frames_change_nothing() {
    let mut rx = receiver(0, 0);
    rx.on_frame(at(0), &hex!("1009010203040506"));
    rx.flow_control();
    let table: [&[u8]; 14] = [
        &[],
        &hex!("00"),
        &hex!("0000000000000000"),
        &hex!("0301"),                     // longer than the frame
        &hex!("08010203040506070809"),     // short form above 7
        &hex!("070102030405060700000000"), // short form in a frame above 8 bytes
        &hex!("000701020304050607000000"), // long form of a short length
        &hex!("000C0102030405060708090A"), // longer than the frame
        &hex!("1007010203040506"),         // first frame of what fits a single one
        &hex!("10090102030405"),           // first frame that is not full
        &hex!("300000"),
        &hex!("4000000000000000"),
        &hex!("10000000000F0102"), // escape form of a length that needs none
        &hex!("1000"),
    ];
    for frame in table {
        assert_eq!(rx.on_frame(at(0), frame), Received::Ignored, "{frame:02x?}");
        assert_eq!(rx.flow_control(), None, "{frame:02x?}");
    }
    assert!(matches!(rx.on_frame(at(0), &hex!("21070809")), Received::Message(_)));
    assert_eq!(rx.on_frame(at(0), &hex!("22070809")), Received::Ignored);
}

#[test]
fn broken_receptions_end_at_once() {
    let start = hex!("1014010203040506");
    let table: [(&[u8], ReceiveError); 4] = [
        (&hex!("2207080900000000"), ReceiveError::WrongSequence),
        (&hex!("2007080900000000"), ReceiveError::WrongSequence),
        (&hex!("210708090A0B0C"), ReceiveError::ShortFrame),
        (&start, ReceiveError::Superseded),
    ];
    for (frame, error) in table {
        let mut rx = receiver(0, 0);
        assert_eq!(rx.on_frame(at(0), &start), Received::Pending);
        assert_eq!(rx.on_frame(at(0), frame), Received::Failed(error));
        assert_eq!(rx.is_idle(), error != ReceiveError::Superseded, "{error:?}");
    }
    let mut rx = receiver(0, 0);
    rx.on_frame(at(0), &start);
    assert_eq!(rx.due(), Some(at(1_000)));
    assert_eq!(rx.expire(at(999)), None);
    rx.on_frame(at(999), &hex!("210708090A0B0C0D"));
    assert_eq!(rx.expire(at(1_998)), None);
    assert_eq!(rx.expire(at(1_999)), Some(ReceiveError::Timeout));
    assert_eq!(rx.due(), None);
}

/// "4095-byte FF x 100": one buffer, an overflow answer where it is too small, and the honest message passes.
#[test]
fn a_flood_of_first_frames_takes_no_memory_and_stops_nobody() {
    let mut small: Receiver<300> = Receiver::new(ReceiverConfig::default());
    let mut large = receiver(0, 0);
    for _ in 0..100 {
        let first = hex!("1FFF010203040506");
        assert_eq!(small.on_frame(at(0), &first), Received::Failed(ReceiveError::Overflow));
        assert_eq!(small.flow_control().unwrap(), hex!("320000"));
        assert!(small.is_idle());
        large.on_frame(at(0), &first);
    }
    assert!(matches!(large.on_frame(at(0), &hex!("021122")), Received::Message(&[0x11, 0x22])));
    // The escape form announces more than 4095 bytes.
    assert_eq!(large.on_frame(at(0), &hex!("1000000010000102")), Received::Failed(ReceiveError::Overflow));
    assert_eq!(large.flow_control().unwrap(), hex!("320000"));
    let (_, _, got, took) = transfer(&mut sender(CanDl::Dl8), &mut large, &message(683));
    assert_eq!(got, message(683));
    assert!(took < Duration::from_millis(100));
}

/// A receiver may change block size and pace with every flow control.
#[test]
fn the_last_flow_control_holds() {
    let mut tx = waiting();
    let mut sent = StdVec::new();
    let mut now = at(0);
    for (control, frames, gap_ms) in [(hex!("300300"), 3, 0), (hex!("300205"), 2, 5), (hex!("300000"), 9, 0)]
    {
        tx.on_flow_control(now, &control);
        for n in 0..frames {
            if n > 0 && gap_ms > 0 {
                assert_eq!(tx.poll(now), None, "{control:02x?} {n}");
                now = now + Duration::from_millis(gap_ms);
            }
            sent.push(poll_frame(&mut tx, now).unwrap()[0]);
            tx.transmitted(now);
        }
        if control[1] > 0 {
            assert_eq!(tx.poll(now), None, "block of {frames} is over");
        }
    }
    assert_eq!(sent[..5], [0x21, 0x22, 0x23, 0x24, 0x25]);
    // Too slow is refused later on, too.
    let mut tx = waiting();
    tx.on_flow_control(at(0), &hex!("300100"));
    poll_frame(&mut tx, at(0)).unwrap();
    tx.transmitted(at(0));
    tx.on_flow_control(at(0), &hex!("300115"));
    assert_eq!(tx.poll(at(0)), Some(SendEvent::Failed(SendError::TooSlow)));
}

/// The first frame fixes the length of the others; only the last may be shorter, and none longer.
#[test]
fn fd_receptions_keep_the_length_of_the_first_frame() {
    let first = |len: u8| [&[0x10, len][..], &message(62)].concat();
    let next = |number: u8, len: usize| [&[0x20 | number][..], &message(200)[62..62 + len - 1]].concat();
    let started = |len| {
        let mut rx = receiver(0, 0);
        assert_eq!(rx.on_frame(at(0), &first(len)), Received::Pending);
        rx
    };
    assert_eq!(started(125).on_frame(at(0), &next(1, 64)), Received::Message(&message(125)));
    assert_eq!(started(73).on_frame(at(0), &next(1, 12)), Received::Message(&message(73)));
    // Padded up to the full length.
    assert_eq!(started(73).on_frame(at(0), &next(1, 64)), Received::Message(&message(73)));
    assert_eq!(started(125).on_frame(at(0), &next(1, 48)), Received::Failed(ReceiveError::ShortFrame));
    assert_eq!(started(126).on_frame(at(0), &next(1, 32)), Received::Failed(ReceiveError::ShortFrame));
    let mut short = receiver(0, 0);
    assert_eq!(short.on_frame(at(0), &hex!("100C0102030405060000")), Received::Ignored, "no FD length");
    assert_eq!(short.on_frame(at(0), &hex!("100C010203040506")), Received::Pending);
    let long = next(1, 12);
    assert_eq!(short.on_frame(at(0), &long), Received::Failed(ReceiveError::ShortFrame));
    // 62 fits a single frame of 64, 63 does not.
    assert_eq!(FrameType::of(&first(62)), FrameType::Malformed);
    assert!(matches!(FrameType::of(&first(63)), FrameType::First { len: 63, .. }));
}

#[test]
fn a_single_frame_ends_a_reception() {
    let mut rx = receiver(0, 0);
    rx.on_frame(at(0), &hex!("1009010203040506"));
    rx.flow_control();
    assert_eq!(rx.on_frame(at(0), &hex!("0155")), Received::Message(&[0x55]));
    assert_eq!(rx.on_frame(at(0), &hex!("21070809")), Received::Ignored);
    assert_eq!(rx.due(), None);
}

/// The escape form: ignored where twelve bits would do, refused above 4095, whatever the frame's length.
#[test]
fn messages_above_4095_bytes_are_refused_with_overflow() {
    let table: [(u32, usize, bool); 6] = [
        (4_095, 8, false),
        (1, 64, false),
        (4_096, 8, true),
        (4_096, 64, true),
        (u32::MAX, 8, true),
        (u32::MAX, 48, true),
    ];
    for (len, can_dl, refused) in table {
        let mut frame = [&[0x10, 0][..], &len.to_be_bytes()].concat();
        frame.resize(can_dl, 0xAB);
        let mut rx = receiver(0, 0);
        let expected = if refused { Received::Failed(ReceiveError::Overflow) } else { Received::Ignored };
        assert_eq!(rx.on_frame(at(0), &frame), expected, "{len} {can_dl}");
        assert_eq!(rx.flow_control().is_some(), refused);
        assert!(rx.is_idle());
    }
}

proptest! {
    #[test]
    fn what_is_sent_is_received(
        bytes in proptest::collection::vec(any::<u8>(), 1..1200), block in 0u8..40, st in 0u8..3, dl in 0usize..8
    ) {
        use CanDl::*;
        let can_dl = [Dl8, Dl12, Dl16, Dl20, Dl24, Dl32, Dl48, Dl64][dl];
        let (frames, _, got, _) = transfer(&mut sender(can_dl), &mut receiver(block, st), &bytes);
        prop_assert_eq!(got, bytes);
        for frame in frames {
            prop_assert_eq!(fd_length_for(frame.len()), Some(frame.len()));
            prop_assert!(frame.len() <= can_dl.bytes());
        }
    }

    /// Whatever came before, a complete honest message is received.
    #[test]
    fn rubbish_before_an_honest_message_does_no_harm(
        rubbish in proptest::collection::vec(
            (prop_oneof![Just(0x10u8), Just(0x20), Just(0x30), 0x00u8..=0xFF], proptest::collection::vec(any::<u8>(), 0..=63)),
            0..60
        )
    ) {
        let mut rx: Receiver<4095> = receiver(3, 0);
        let mut tx = sender(CanDl::Dl8);
        for (head, tail) in rubbish {
            let mut frame = std::vec![head];
            frame.extend(tail);
            rx.on_frame(at(0), &frame);
            rx.flow_control();
            tx.on_flow_control(at(0), &frame);
        }
        let (_, _, got, _) = transfer(&mut tx, &mut rx, &message(200));
        prop_assert_eq!(got, message(200));
    }
}
