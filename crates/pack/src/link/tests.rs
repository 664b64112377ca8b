//! Ends of a bus against each other in both formats, and against everything that an attacker may send.

use super::*;
use crate::sealed_id::Level;
use crate::time::Duration;
use std::collections::VecDeque;
use std::vec::Vec;

/// Longer than any frame takes at 500 kbit/s; FD is not slower.
const FRAME_TIME: Duration = Duration::from_micros(320);

fn buffer() -> Buffer {
    [0; MESSAGE_MAX]
}

fn message(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i as u8).wrapping_mul(29).wrapping_add(seed).wrapping_add((i >> 8) as u8)).collect()
}

fn sealed(base: u16, direction: Direction, device: u8) -> SealedId {
    SealedId::new(base, Level::Exch, direction, device).unwrap()
}

fn isotp(id: SealedId, data: &[u8]) -> Frame {
    Frame::new_classic(id.encode(Transport::IsoTp), data).unwrap()
}

/// A pack end of CAN 2 as the controller has it, and module ends, on a bus that carries one frame at a time.
struct Line {
    now: Instant,
    pack: Link<34, 31, 544>,
    modules: Vec<(u8, Link<6, 2>)>,
    /// What the pack received: device, message.
    at_pack: Vec<(u8, Vec<u8>)>,
    at_modules: Vec<(u8, Vec<u8>)>,
    frames: Vec<Frame>,
}

impl Line {
    fn new(modules: u8, format: FrameFormat) -> Self {
        let mut pack = Link::new(Bus::Can2, Direction::Ba);
        pack.set_format(format);
        let modules = (1..=modules).map(|node| {
            let mut link = Link::new(Bus::Can2, Direction::Ab);
            link.set_format(format);
            (node, link)
        });
        let modules = modules.collect();
        Line {
            now: Instant::START,
            pack,
            modules,
            at_pack: Vec::new(),
            at_modules: Vec::new(),
            frames: Vec::new(),
        }
    }

    fn hear(&mut self, frame: &Frame) {
        let mut out = buffer();
        match self.pack.receive(self.now, frame, |d| d != 0, &mut out) {
            Some(Inbound::Sealed(id, n)) => self.at_pack.push((id.device(), out[..n].to_vec())),
            Some(Inbound::Security(id, n)) => self.at_pack.push((id.device(), out[..n].to_vec())),
            _ => {}
        }
        for (node, link) in &mut self.modules {
            let got = link.receive(self.now, frame, |d| d == *node, &mut out);
            if let Some(Inbound::Sealed(_, n) | Inbound::Security(_, n)) = got {
                self.at_modules.push((*node, out[..n].to_vec()));
            }
        }
    }

    /// One frame of each end in turn, until nobody has one to send before `until`.
    fn run(&mut self, until: Instant) {
        loop {
            let mut ready: VecDeque<Frame> = self.pack.poll(self.now).into_iter().collect();
            for (_, link) in &mut self.modules {
                ready.extend(link.poll(self.now));
            }
            if ready.is_empty() {
                let due = self.modules.iter().filter_map(|(_, link)| link.due()).chain(self.pack.due()).min();
                match due {
                    Some(at) if at <= until => self.now = self.now.max(at),
                    _ => return,
                }
                continue;
            }
            for frame in ready {
                self.now = self.now + FRAME_TIME;
                self.frames.push(frame);
                self.hear(&frame);
            }
        }
    }

    fn after(&self, millis: u64) -> Instant {
        self.now + Duration::from_millis(millis)
    }
}

/// Rows of the design's table of transports, and what carries them.
#[test]
fn on_fd_a_sealed_message_of_32_48_or_64_bytes_is_one_frame() {
    // sealed length after padding, number of frames from the sender, all of them FD
    let table = [
        (32, 1, true),
        (48, 1, true),
        (64, 1, true),
        (37, 5, false), // not padded by its sealer: chunks
        (69, 9, false),
        (113, 15, false),
        (128, 16, false),
        (129, 3, true),
        (285, 5, true),
        (457, 8, true),
    ];
    for (len, frames, fd) in table {
        let mut line = Line::new(1, FrameFormat::Fd);
        let bytes = message(len, 3);
        line.modules[0].1.send_sealed(line.now, sealed(0x509, Direction::Ba, 1), &bytes);
        line.run(line.after(100));
        assert_eq!(line.at_pack, [(1, bytes)], "{len}");
        let sent: Vec<&Frame> = line
            .frames
            .iter()
            .filter(|f| SealedId::parse(f.id()).unwrap().0.direction() == Direction::Ba)
            .collect();
        assert_eq!(sent.len(), frames, "{len}");
        assert!(sent.iter().all(|frame| frame.is_fd() == fd), "{len}");
        // The answers have the format of what they answer.
        assert!(line.frames.iter().all(|frame| frame.is_fd() == fd), "{len}");
        assert_eq!(line.pack.counters(), LinkCounters::default());
    }
}

#[test]
fn padding_leads_to_the_three_lengths_that_fd_has_room_for() {
    let fd = [
        (29, 32),
        (30, 32),
        (32, 32),
        (33, 48),
        (37, 48),
        (48, 48),
        (49, 64),
        (64, 64),
        (65, 65),
        (457, 457),
    ];
    for (len, padded) in fd {
        assert_eq!(FrameFormat::Fd.sealed_length(len), padded);
        assert_eq!(FrameFormat::Classical.sealed_length(len), len);
    }
    // Body = sealed - 29: the capacities of the design.
    for (body, frame) in [(3, 32), (4, 48), (19, 48), (20, 64), (35, 64)] {
        assert_eq!(FrameFormat::Fd.sealed_length(body + 29), frame);
    }
}

#[test]
fn security_pdus_keep_their_frames_on_fd_up_to_128_bytes() {
    for (len, frames, fd) in [(5, 1, false), (29, 4, false), (64, 8, false), (128, 16, false), (138, 3, true)]
    {
        let mut line = Line::new(1, FrameFormat::Fd);
        let id = SecurityId::new(Bus::Can2, Direction::Ba, 1);
        line.modules[0].1.send_security(line.now, id, &message(len, 1));
        line.run(line.after(100));
        assert_eq!(line.at_pack, [(1, message(len, 1))]);
        let sent = line.frames.iter().filter(|f| f.id().raw() >> 18 == u32::from(id.base()));
        assert_eq!(sent.clone().count(), frames, "{len}");
        assert!(sent.clone().all(|frame| frame.is_fd() == fd), "{len}");
    }
}

/// C121: what does not exist in a format is refused and changes nothing.
#[test]
fn frames_of_the_wrong_format_are_refused() {
    let id = sealed(0x502, Direction::Ba, 1);
    let pdu = SecurityId::new(Bus::Can2, Direction::Ba, 1);
    let fd = |id, len| Frame::new_fd(id, &message(len, 0)).unwrap();
    let one = fd(id.encode(Transport::Single), 48);
    let first =
        Frame::new_fd(id.encode(Transport::IsoTp), &[&[0x10, 200][..], &message(62, 0)].concat()).unwrap();
    let table = [
        (one, FrameFormat::Classical),
        (first, FrameFormat::Classical),
        (fd(id.encode(Transport::Chunk { cur: 1, total: 2 }), 8), FrameFormat::Fd),
        (fd(id.encode(Transport::Chunk { cur: 1, total: 2 }), 16), FrameFormat::Fd),
        (fd(pdu.encode(Transport::Single), 8), FrameFormat::Fd),
        (fd(Id::Extended(0x1408_0001), 8), FrameFormat::Fd),
    ];
    for (n, (frame, format)) in table.iter().enumerate() {
        let mut link = Link::<4, 2>::new(Bus::Can2, Direction::Ba);
        link.set_format(*format);
        assert_eq!(link.receive(Instant::START, frame, |_| true, &mut buffer()), None, "{n}");
        assert_eq!(link.counters().rejected_frames, 1, "{n}");
        assert_eq!(link.poll(Instant::START), None, "{n}");
    }
    let mut link = Link::<4, 2>::new(Bus::Can2, Direction::Ba);
    link.set_format(FrameFormat::Fd);
    let got = link.receive(Instant::START, &one, |_| true, &mut buffer());
    assert_eq!(got, Some(Inbound::Sealed(id, 48)));
}

#[test]
fn thirty_one_modules_send_full_scans_at_once() {
    for format in [FrameFormat::Classical, FrameFormat::Fd] {
        let mut line = Line::new(31, format);
        for (node, link) in &mut line.modules {
            link.send_sealed(line.now, sealed(0x509, Direction::Ba, *node), &message(457, *node));
        }
        line.run(line.after(2_000));
        line.at_pack.sort();
        let expected: Vec<_> = (1..=31).map(|node| (node, message(457, node))).collect();
        assert_eq!(line.at_pack, expected);
        assert_eq!(line.pack.counters(), LinkCounters::default());
    }
}

#[test]
fn messages_of_one_sender_on_two_identifiers_and_both_ways_do_not_mix() {
    let mut line = Line::new(2, FrameFormat::Classical);
    let (a, b) = (sealed(0x509, Direction::Ba, 1), SecurityId::new(Bus::Can2, Direction::Ba, 1));
    line.modules[0].1.send_sealed(line.now, a, &message(300, 1));
    line.modules[0].1.send_security(line.now, b, &message(400, 2));
    line.modules[0].1.send_sealed(line.now, sealed(0x508, Direction::Ba, 1), &message(61, 3));
    line.modules[1].1.send_sealed(line.now, sealed(0x509, Direction::Ba, 2), &message(300, 4));
    line.pack.send_sealed(line.now, sealed(0x509, Direction::Ab, 1), &message(500, 5));
    line.pack.send_sealed(line.now, sealed(0x509, Direction::Ab, 2), &message(900, 6));
    line.run(line.after(3_000));
    line.at_pack.sort();
    assert_eq!(
        line.at_pack,
        [(1, message(61, 3)), (1, message(300, 1)), (1, message(400, 2)), (2, message(300, 4))]
            .into_iter()
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    );
    assert_eq!(line.at_modules, [(1, message(500, 5)), (2, message(900, 6))]);
    assert_eq!(line.pack.counters(), LinkCounters::default());
}

/// Attack 25 as far as it concerns long messages. After each flood the next honest message arrives within 100 ms.
#[test]
fn no_flood_holds_back_the_next_honest_message() {
    let honest = sealed(0x509, Direction::Ba, 7);
    // Five bytes announced as `len`, from a device.
    let first = |device: u8, len: u16, level| {
        let id = SealedId::new(0x509, level, Direction::Ba, device).unwrap();
        isotp(id, &[0x10 | (len >> 8) as u8, len as u8, 1, 2, 3, 4, 5, 6])
    };
    let escape =
        |device: u8| isotp(sealed(0x509, Direction::Ba, device), &[0x10, 0, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2]);
    type Flood<'a> = (&'a str, std::boxed::Box<dyn Fn(u32) -> Frame + 'a>);
    let table: [Flood<'_>; 8] = [
        ("first frames of 4095 bytes, one identifier", std::boxed::Box::new(|_| first(7, 4095, Level::Exch))),
        (
            "first frames of 4095 bytes, all devices",
            std::boxed::Box::new(|n| first(n as u8 | 1, 4095, Level::Exch)),
        ),
        (
            "first frames of 500 bytes, all devices",
            std::boxed::Box::new(|n| first(n as u8 | 1, 500, Level::Pair)),
        ),
        ("first frames of 500 bytes, the victim", std::boxed::Box::new(|_| first(7, 500, Level::Exch))),
        ("escape form", std::boxed::Box::new(|n| escape(n as u8 | 1))),
        (
            "consecutive frames",
            std::boxed::Box::new(|n| isotp(honest, &[0x20 | n as u8 & 15, 1, 2, 3, 4, 5, 6, 7])),
        ),
        (
            "flow control of every kind",
            std::boxed::Box::new(|n| {
                isotp(sealed(0x509, Direction::Ab, 7), &[0x30 | n as u8 & 15, n as u8, n as u8])
            }),
        ),
        ("single frames", std::boxed::Box::new(|n| isotp(honest, &[7, n as u8, 2, 3, 4, 5, 6, 7]))),
    ];
    for format in [FrameFormat::Classical, FrameFormat::Fd] {
        for (name, flood) in &table {
            let mut line = Line::new(7, format);
            for n in 0..100 {
                line.now = line.now + FRAME_TIME;
                line.hear(&flood(n));
                // The answers go out meanwhile; one that still waits is replaced by the next.
                if n % 3 == 2
                    && let Some(answer) = line.pack.poll(line.now)
                {
                    line.hear(&answer);
                }
            }
            while let Some(answer) = line.pack.poll(line.now) {
                line.hear(&answer);
            }
            line.at_pack.clear();
            let start = line.now;
            line.modules[6].1.send_sealed(line.now, honest, &message(457, 9));
            line.run(line.after(90));
            let at = line.at_pack.iter().position(|(_, m)| *m == message(457, 9));
            assert!(at.is_some(), "{name}: {:?}", line.pack.counters());
            assert!(line.now.saturating_since(start) < Duration::from_millis(100), "{name}");
        }
    }
}

#[test]
fn of_the_answers_to_one_identifier_only_the_newest_waits() {
    let mut line = Line::new(0, FrameFormat::Classical);
    for _ in 0..400 {
        line.hear(&isotp(sealed(0x509, Direction::Ba, 7), &[0x1F, 0xFF, 1, 2, 3, 4, 5, 6]));
        line.hear(&isotp(sealed(0x509, Direction::Ba, 8), &[0x1F, 0xFF, 1, 2, 3, 4, 5, 6]));
    }
    line.hear(&isotp(sealed(0x509, Direction::Ba, 7), &[0x11, 0, 1, 2, 3, 4, 5, 6]));
    let answers: Vec<Frame> = std::iter::from_fn(|| line.pack.poll(line.now)).collect();
    let data: Vec<&[u8]> = answers.iter().map(Frame::data).collect();
    assert_eq!(data, [&[0x30, 16, 0][..], &OVERFLOW]);
    assert_eq!(answers[0].id(), sealed(0x509, Direction::Ab, 7).encode(Transport::IsoTp));
    assert_eq!(line.pack.counters().unsent, 0);
}

/// First frames from other identifiers between any two frames of an honest transfer displace only each other.
#[test]
fn a_flood_during_a_transfer_displaces_only_itself() {
    let mut line = Line::new(1, FrameFormat::Classical);
    line.modules[0].1.send_sealed(line.now, sealed(0x509, Direction::Ba, 1), &message(457, 9));
    let mut out = buffer();
    let mut flooded = 0u32;
    for step in 0..400u32 {
        line.now = line.now + FRAME_TIME;
        if let Some(frame) = line.modules[0].1.poll(line.now) {
            line.hear(&frame);
        }
        while let Some(frame) = line.pack.poll(line.now) {
            line.modules[0].1.receive(line.now, &frame, |d| d == 1, &mut out);
        }
        // Before the honest transfer has a consecutive frame it is as new as the others.
        if step > 2 {
            for device in 0..40u32 {
                let id =
                    SealedId::new(0x509, Level::Dev, Direction::Ba, 2 + ((flooded + device) % 200) as u8);
                line.hear(&isotp(id.unwrap(), &[0x11, 0xF4, 1, 2, 3, 4, 5, 6]));
            }
            flooded += 40;
        }
    }
    assert!(flooded > 10_000);
    assert!(line.at_pack.contains(&(1, message(457, 9))), "{:?}", line.pack.counters());
    assert_eq!(line.pack.transfers.iter().filter(|t| !t.receiver.is_idle()).count(), 31);
}

/// Forged flow control can end the transfer under way, at most; the next message passes.
#[test]
fn forged_flow_control_ends_at_most_the_transfer_under_way() {
    let answers: [(&str, &[u8]); 6] = [
        ("waits", &[0x31, 0, 0]),
        ("overflow", &[0x32, 0, 0]),
        ("no meaning", &[0x3F, 0, 0]),
        ("slow pace", &[0x30, 1, 127]),
        ("reserved pace", &[0x30, 0, 0x80]),
        ("short", &[0x30]),
    ];
    for (name, answer) in answers {
        let mut line = Line::new(1, FrameFormat::Classical);
        let id = sealed(0x509, Direction::Ba, 1);
        line.modules[0].1.send_sealed(line.now, id, &message(457, 1));
        let started = line.modules[0].1.poll(line.now).unwrap();
        let forged = isotp(id.reversed(), answer);
        for _ in 0..1_000 {
            line.now = line.now + Duration::from_micros(10);
            assert_eq!(line.modules[0].1.receive(line.now, &forged, |d| d == 1, &mut buffer()), None);
        }
        line.hear(&started);
        let next = line.now;
        line.modules[0].1.send_sealed(line.now, id, &message(444, 2));
        line.run(line.after(100));
        assert!(line.at_pack.contains(&(1, message(444, 2))), "{name}: {:?}", line.at_pack.len());
        assert!(line.now.saturating_since(next) < Duration::from_millis(200), "{name}");
    }
}

#[test]
fn a_transfer_without_its_last_frame_ends_in_time_and_is_counted() {
    let mut line = Line::new(1, FrameFormat::Classical);
    let id = sealed(0x509, Direction::Ba, 1);
    line.hear(&isotp(id, &[0x10, 10, 1, 2, 3, 4, 5, 6]));
    assert_eq!(line.pack.due(), Some(line.after(1_000)));
    line.now = line.after(1_001);
    line.hear(&isotp(id, &[0x21, 7, 8, 9, 10]));
    assert_eq!(line.at_pack, []);
    assert_eq!(line.pack.counters().incomplete, 1);
    // Retried at once.
    line.hear(&isotp(id, &[0x10, 10, 1, 2, 3, 4, 5, 6]));
    line.hear(&isotp(id, &[0x21, 7, 8, 9, 10]));
    assert_eq!(line.at_pack, [(1, (1..=10).collect::<Vec<u8>>())]);
}

/// Chunks of one message under conflicting circumstances; a message that was not sent never comes out.
#[test]
fn chunks_put_together_wrongly_never_come_out() {
    let id = sealed(0x508, Direction::Ba, 1);
    let frames: Vec<Frame> = chunk::split(id.canonical(), &message(40, 1)).unwrap().collect();
    let other: Vec<Frame> = chunk::split(id.canonical(), &message(48, 2)).unwrap().collect();
    let conflicting = Frame::new_classic(frames[2].id(), &[0xEE; 8]).unwrap();
    let table: [(&str, Vec<Frame>); 5] = [
        ("conflict", [&frames[..3], &[conflicting], &frames[3..]].concat()),
        ("conflict at once", [&frames[..2], &[conflicting], &frames[2..]].concat()),
        ("total changes", [&frames[..3], &other[3..]].concat()),
        ("gap", [&frames[..2], &frames[3..]].concat()),
        ("two senders", frames.iter().zip(&other).flat_map(|(a, b)| [*a, *b]).collect()),
    ];
    for (name, sequence) in table {
        let mut line = Line::new(0, FrameFormat::Classical);
        for frame in &sequence {
            line.now = line.now + FRAME_TIME;
            line.hear(frame);
        }
        // Bytes that differ in the middle are for the tag to find.
        let whole = line.at_pack.iter().filter(|(_, m)| *m != message(40, 1) && m[16..24] != [0xEE; 8]);
        assert_eq!(whole.count(), 0, "{name}: {:?}", line.at_pack);
        for frame in &frames {
            line.hear(frame);
        }
        assert_eq!(line.at_pack.last(), Some(&(1, message(40, 1))), "{name}");
    }
}

/// C26: what is sealed in its place leaves like what was sealed before; what fails or finds no room is not there.
#[test]
fn a_message_is_sealed_where_it_waits() {
    let (now, id) = (Instant::START, sealed(0x509, Direction::Ba, 1));
    let frames = |link: &mut Link<2, 2>| std::iter::from_fn(|| link.poll(now)).collect::<Vec<Frame>>();
    for format in [FrameFormat::Classical, FrameFormat::Fd] {
        for len in [29, 32, 64, 69, 128, 129, 400] {
            let mut ends = [0; 2].map(|_| Link::<2, 2>::new(Bus::Can2, Direction::Ab));
            ends.iter_mut().for_each(|end| end.set_format(format));
            ends[0].send_sealed(now, id, &message(len, 5));
            let done = ends[1].seal(now, id, len - 29, |place| {
                place[..len].copy_from_slice(&message(len, 5));
                Ok::<_, ()>(len)
            });
            assert_eq!(done, Ok(()));
            let sent = ends.each_mut().map(frames);
            assert!(sent[0] == sent[1] && !sent[0].is_empty(), "{format:?} {len}");
        }
    }
    let mut link = Link::<2, 2>::new(Bus::Can2, Direction::Ab);
    for n in [8, 300] {
        assert_eq!(link.seal(now, id, n, |_| Err("no key")), Err("no key"));
    }
    assert_eq!((link.poll(now), link.counters()), (None, LinkCounters::default()));
    while link.has_room(1) {
        link.send_sealed(now, id, &[1; 8]);
    }
    let mut called = 0;
    let mut seal = |link: &mut Link<2, 2>| {
        link.seal(now, id, 8, |_| {
            called += 1;
            Ok::<_, ()>(37)
        })
    };
    assert_eq!(seal(&mut link), Ok(()));
    link.poll(now);
    assert_eq!(seal(&mut link), Ok(()), "five frames find room for one");
    assert_eq!((called, link.counters().unsent), (1, 2));
    assert_eq!(frames(&mut link).len(), QUEUE - 1);
}

/// The cost that the documentation names; a controller has 256 KiB of memory.
#[test]
fn an_end_takes_the_memory_that_is_stated() {
    let frames = size_of::<Queue>();
    let waiting = (WAITING + 1) * MESSAGE_MAX;
    assert!(frames <= 23 * 1024, "{frames}");
    for (slots, transfers, receive, size) in [
        (4, 4, MESSAGE_MAX, size_of::<Link<4>>()),
        (34, 31, 544, size_of::<Link<34, 31, 544>>()),
        (6, 2, MESSAGE_MAX, size_of::<Link<6, 2>>()),
    ] {
        let stated = slots * 160 + transfers * (receive + 72) + frames + waiting + 1_024;
        assert!(size <= stated, "{slots} {transfers}: {size} above {stated}");
        std::println!("{slots} slots, {transfers} transfers of {receive} bytes: {size} bytes");
    }
}
