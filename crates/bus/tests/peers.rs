//! Foreign peers: python-can and can-isotp on a UDP multicast bus exchange frames and ISO-TP messages with ours.
//!
//! `cargo xtask test --only python` installs them. Without them, or without multicast, the tests say "not run"; where
//! `CI` is set they fail.
#![allow(clippy::unwrap_used, clippy::panic)]

use bus::udp::{Message, Received, UdpBus, UdpConfig};
use pack::can::{Bus, Frame, Id};
use pack::isotp::{self, CanDl, Received as Whole, ReceiverConfig, SendEvent, SenderConfig, StMin};
use pack::link::{FrameFormat, Inbound, Link, LinkCounters, MESSAGE_MAX};
use pack::sealed_id::{Direction, Level, SealedId, Transport};
use pack::time::{Duration, Instant};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration as WallDuration;

/// Peers and the host may be slow; nothing here is about time.
const PATIENCE: Duration = Duration::from_secs(10);
/// A group that nothing else uses.
const GROUP: &str = "239.74.163.20";
const LENGTHS: [usize; 11] = [1, 7, 8, 62, 63, 64, 127, 128, 129, 1_000, 4_095];

/// A Python process with a python-can bus, and our member of the same group.
struct Peer {
    child: Child,
    input: ChildStdin,
    answers: Receiver<String>,
    bus: UdpBus,
    start: std::time::Instant,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn interpreter() -> PathBuf {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/python"));
    folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}

/// Starts a peer on a port of this process and test alone; `None` where there is none.
fn peer(test: u16) -> Option<Peer> {
    let required = std::env::var_os("CI").is_some();
    let not_run = |reason: String| {
        assert!(!required, "{reason}");
        println!("not run: {reason}");
        None
    };
    if !interpreter().exists() {
        return not_run("no target/python; `cargo xtask test --only python` makes it".to_owned());
    }
    // Below the ports that systems give out by themselves.
    let port = 10_000 + (std::process::id() % 2_000) as u16 * 10 + test;
    // The interface that the system chooses, as the peer does.
    let config: UdpConfig = format!("{GROUP}:{port}").parse().expect("a group and a port");
    let bus = match UdpBus::join(&config) {
        Ok(bus) => bus,
        Err(e) => return not_run(e.to_string()),
    };
    let mut child = Command::new(interpreter())
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peer.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the interpreter starts");
    let input = child.stdin.take().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (sender, answers) = channel();
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let mut peer = Peer { child, input, answers, bus, start: std::time::Instant::now() };
    let joined = peer.ask(&json!({"do": "join", "group": GROUP, "port": port}));
    println!("python-can and can-isotp {}", joined["versions"]);
    Some(peer)
}

impl Peer {
    fn now(&self) -> Instant {
        Instant::from_micros(self.start.elapsed().as_micros() as u64)
    }

    fn tell(&mut self, command: &Value) {
        writeln!(self.input, "{command}").expect("the peer reads");
    }

    /// The answer to the oldest command, if it is there.
    fn answer(&mut self) -> Option<Value> {
        match self.answers.try_recv() {
            Ok(line) => Some(serde_json::from_str(&line).unwrap()),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => panic!("the peer has ended"),
        }
    }

    /// A command during which our side has nothing to do.
    fn ask(&mut self, command: &Value) -> Value {
        self.tell(command);
        let line = self.answers.recv_timeout(WallDuration::from_secs(60)).expect("the peer answers");
        serde_json::from_str(&line).unwrap()
    }

    fn put(&mut self, frame: Frame) {
        self.bus.send(&frame.into(), 1_700_000_000_000_000).unwrap();
    }

    /// The next frame, if one comes within a moment.
    fn take(&mut self) -> Option<Frame> {
        match self.bus.receive(WallDuration::from_micros(500)).unwrap()? {
            Received::Message(message) => message.frame().copied(),
            Received::Rejected(rejection) => panic!("{rejection:?}"),
        }
    }

    fn isotp(&mut self, rx: Id, tx: Id, params: &Value, waits: u32) {
        let command =
            json!({"do": "start", "rx": rx.raw(), "tx": tx.raw(), "params": params, "waits": waits});
        self.ask(&command);
        // What the stack before has still sent.
        while self.take().is_some() {}
    }
}

fn message(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 256) as u8).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Identifier of our long messages, and of the answers (C24).
fn ids() -> (Id, Id) {
    let id = SealedId::new(0x509, Level::Exch, Direction::Ba, 5).unwrap();
    (id.encode(Transport::IsoTp), id.reversed().encode(Transport::IsoTp))
}

fn frame(id: Id, fd: bool, data: &[u8]) -> Frame {
    if fd { Frame::new_fd(id, data) } else { Frame::new_classic(id, data) }.unwrap()
}

fn sender(can_dl: CanDl) -> isotp::Sender<4095> {
    isotp::Sender::new(SenderConfig {
        can_dl,
        n_bs: PATIENCE,
        n_as: PATIENCE,
        max_transfer: Duration::from_secs(60),
        ..SenderConfig::default()
    })
}

/// Sends one message to the peer's stack; how it ended, and what the peer says.
fn we_send(peer: &mut Peer, can_dl: CanDl, bytes: &[u8]) -> (SendEvent, Value) {
    let (data_id, answer_id) = ids();
    let fd = can_dl != CanDl::Dl8;
    let mut tx = sender(can_dl);
    tx.start(peer.now(), bytes).unwrap();
    let end = loop {
        let now = peer.now();
        match tx.poll(now) {
            Some(SendEvent::Frame(data)) => {
                peer.put(frame(data_id, fd, &data));
                tx.transmitted(peer.now());
            }
            Some(end) => break end,
            None => {
                if let Some(heard) = peer.take().filter(|heard| heard.id() == answer_id) {
                    assert_eq!(heard.is_fd(), fd);
                    tx.on_flow_control(peer.now(), heard.data());
                }
            }
        }
    };
    let patience = if end == SendEvent::Done { 20 } else { 0 };
    (end, peer.ask(&json!({"do": "receive", "timeout": patience})))
}

/// The peer's stack sends one message; what our receiver has, and what the peer says.
fn they_send(peer: &mut Peer, config: ReceiverConfig, bytes: &[u8]) -> (Option<Vec<u8>>, Value) {
    let (answer_id, data_id) = ids();
    let mut rx: isotp::Receiver<4095> = isotp::Receiver::new(ReceiverConfig { n_cr: PATIENCE, ..config });
    peer.tell(&json!({"do": "send", "data": hex(bytes)}));
    let mut got = None;
    let told = loop {
        if let Some(heard) = peer.take().filter(|heard| heard.id() == data_id) {
            if let Whole::Message(whole) = rx.on_frame(peer.now(), heard.data()) {
                got = Some(whole.to_vec());
            }
            if let Some(control) = rx.flow_control() {
                peer.put(frame(answer_id, heard.is_fd(), &control));
            }
        } else if let Some(answer) = peer.answer() {
            break answer;
        }
    };
    // The last frame may still be on its way when the peer says that it has sent it.
    let patience = peer.now() + PATIENCE;
    while got.is_none() && told["errors"] == json!([]) && peer.now() < patience {
        if let Some(heard) = peer.take().filter(|heard| heard.id() == data_id)
            && let Whole::Message(whole) = rx.on_frame(peer.now(), heard.data())
        {
            got = Some(whole.to_vec());
        }
    }
    (got, told)
}

/// Classical, and FD with the shortest, a middle and the longest frame.
const FORMATS: [(CanDl, u8); 4] = [(CanDl::Dl8, 8), (CanDl::Dl12, 12), (CanDl::Dl24, 24), (CanDl::Dl64, 64)];

fn params(can_dl: u8, more: &Value) -> Value {
    let mut params = json!({"tx_data_length": can_dl, "can_fd": can_dl > 8});
    for (name, value) in more.as_object().unwrap() {
        params[name] = value.clone();
    }
    params
}

#[test]
fn can_isotp_receives_what_we_send() {
    let Some(mut peer) = peer(0) else { return };
    let (data_id, answer_id) = ids();
    let mut transfers = 0;
    for (can_dl, bytes) in FORMATS {
        // Block size and pace as the peer asks; 0xF5 is half a millisecond.
        for (block_size, st_min) in [(8, 0), (1, 0), (0, 1), (32, 0xF5)] {
            let more = json!({"blocksize": block_size, "stmin": st_min});
            peer.isotp(data_id, answer_id, &params(bytes, &more), 0);
            for len in LENGTHS {
                // 585 answers or pauses, one by one, say no more than 143.
                if block_size != 8 && len > 1_000 && bytes < 64 {
                    continue;
                }
                let (end, told) = we_send(&mut peer, can_dl, &message(len));
                assert_eq!(end, SendEvent::Done, "{bytes} {block_size} {st_min:02x} {len}");
                assert_eq!(
                    told,
                    json!({"data": hex(&message(len)), "errors": []}),
                    "{bytes} {block_size} {len}"
                );
                transfers += 1;
            }
        }
    }
    println!("{transfers} messages to can-isotp");
}

#[test]
fn we_receive_what_can_isotp_sends() {
    let Some(mut peer) = peer(1) else { return };
    let (answer_id, data_id) = ids();
    let mut transfers = 0;
    for (_, bytes) in FORMATS {
        for (more, block_size, st_min) in [
            (json!({}), 16, 0),
            (json!({"tx_padding": 0xAA}), 1, 0),
            (json!({"tx_data_min_length": 8}), 0, 1),
            (json!({}), 3, 0xF5),
        ] {
            peer.isotp(answer_id, data_id, &params(bytes, &more), 0);
            for len in LENGTHS {
                if block_size != 16 && len > 1_000 && bytes < 64 {
                    continue;
                }
                let st_min = StMin::from_byte(st_min);
                let config = ReceiverConfig { block_size, st_min, ..ReceiverConfig::default() };
                let (got, told) = they_send(&mut peer, config, &message(len));
                assert_eq!(told, json!({"errors": []}), "{bytes} {more} {block_size} {len}");
                assert_eq!(got, Some(message(len)), "{bytes} {more} {block_size} {len}");
                transfers += 1;
            }
        }
    }
    println!("{transfers} messages from can-isotp");
}

#[test]
fn waits_and_overflow_of_can_isotp_are_obeyed_within_bounds() {
    let Some(mut peer) = peer(2) else { return };
    let (data_id, answer_id) = ids();
    for (can_dl, bytes) in [FORMATS[0], FORMATS[3]] {
        // Eight waits before each of several blocks are obeyed, nine end the transfer.
        for (waits, end) in [
            (3, SendEvent::Done),
            (8, SendEvent::Done),
            (9, SendEvent::Failed(isotp::SendError::TooManyWaits)),
        ] {
            peer.isotp(data_id, answer_id, &params(bytes, &json!({"blocksize": 5})), waits);
            let (ended, told) = we_send(&mut peer, can_dl, &message(700));
            assert_eq!(ended, end, "{bytes} {waits}");
            assert_eq!(told["data"] == json!(hex(&message(700))), ended == SendEvent::Done, "{told}");
        }
        peer.isotp(data_id, answer_id, &params(bytes, &json!({"max_frame_size": 200})), 0);
        let (ended, told) = we_send(&mut peer, can_dl, &message(201));
        assert_eq!(ended, SendEvent::Failed(isotp::SendError::Overflow));
        assert_eq!(told, json!({"data": null, "errors": ["FrameTooLongError"]}));
        // The same two go on with the next message.
        let (ended, told) = we_send(&mut peer, can_dl, &message(200));
        assert_eq!((ended, &told["data"]), (SendEvent::Done, &json!(hex(&message(200)))));
        // A pace above the bound is not obeyed.
        peer.isotp(data_id, answer_id, &params(bytes, &json!({"stmin": 21})), 0);
        let (ended, _) = we_send(&mut peer, can_dl, &message(200));
        assert_eq!(ended, SendEvent::Failed(isotp::SendError::TooSlow));
    }
}

/// The other way round: can-isotp meets our overflow and gives up at once.
#[test]
fn our_overflow_is_understood() {
    let Some(mut peer) = peer(3) else { return };
    let (answer_id, data_id) = ids();
    for (_, bytes) in [FORMATS[0], FORMATS[3]] {
        peer.isotp(answer_id, data_id, &params(bytes, &json!({"max_frame_size": 10_000})), 0);
        // Above 4095 bytes can-isotp uses the escape form of the first frame.
        for len in [4_096, 9_000] {
            let (got, told) = they_send(&mut peer, ReceiverConfig::default(), &message(len));
            assert_eq!(got, None);
            assert_eq!(told["errors"].as_array().unwrap().last(), Some(&json!("OverflowError")), "{told}");
        }
    }
}

/// A whole end of a bus, as the roles use it.
#[test]
fn an_end_of_a_bus_and_can_isotp_exchange_long_messages() {
    let Some(mut peer) = peer(4) else { return };
    let module = SealedId::new(0x509, Level::Exch, Direction::Ba, 5).unwrap();
    let (data_id, answer_id) = ids();
    for (format, bytes) in [(FrameFormat::Classical, 8), (FrameFormat::Fd, 64)] {
        for len in [129, 457, 1_000, MESSAGE_MAX] {
            // We are the module and send.
            let mut link = Link::<6, 2>::new(Bus::Can2, Direction::Ab);
            link.set_format(format);
            peer.isotp(data_id, answer_id, &params(bytes, &json!({"blocksize": 16})), 0);
            link.send_sealed(peer.now(), module, &message(len));
            peer.tell(&json!({"do": "receive", "timeout": 20}));
            let told = run(&mut peer, &mut link, 5).1;
            assert_eq!(told, json!({"data": hex(&message(len)), "errors": []}), "{format:?} {len}");
            assert_eq!(link.counters(), LinkCounters::default());

            // We are the pack and receive.
            let mut link = Link::<34, 31, MESSAGE_MAX>::new(Bus::Can2, Direction::Ba);
            link.set_format(format);
            peer.isotp(answer_id, data_id, &params(bytes, &json!({})), 0);
            peer.tell(&json!({"do": "send", "data": hex(&message(len))}));
            let (got, told) = run(&mut peer, &mut link, 5);
            assert_eq!(told, json!({"errors": []}), "{format:?} {len}");
            assert_eq!(got, [message(len)], "{format:?} {len}");
            assert_eq!(link.counters(), LinkCounters::default());
        }
        // One byte more than a message may have: refused in both directions, and counted.
        let mut link = Link::<34, 31, 544>::new(Bus::Can2, Direction::Ba);
        link.set_format(format);
        peer.tell(&json!({"do": "send", "data": hex(&message(545))}));
        let (got, told) = run(&mut peer, &mut link, 5);
        assert_eq!((got.len(), &told["errors"][0]), (0, &json!("OverflowError")));
        assert_eq!(link.counters().incomplete, 1);
    }
}

/// Moves frames between the bus and the end until the peer has answered and nothing is under way.
fn run<const S: usize, const T: usize, const R: usize>(
    peer: &mut Peer,
    link: &mut Link<S, T, R>,
    device: u8,
) -> (Vec<Vec<u8>>, Value) {
    let (mut got, mut told) = (Vec::new(), None);
    let mut buffer = [0; MESSAGE_MAX];
    let end = peer.now() + Duration::from_secs(30);
    while told.is_none() || link.due().is_some() {
        assert!(peer.now() < end, "{told:?} {:?}", link.counters());
        while let Some(frame) = link.poll(peer.now()) {
            peer.put(frame);
        }
        match peer.take() {
            Some(frame) => {
                if let Some(Inbound::Sealed(_, n)) =
                    link.receive(peer.now(), &frame, |d| d == device, &mut buffer)
                {
                    got.push(buffer[..n].to_vec());
                }
            }
            None if told.is_none() => told = peer.answer(),
            None => {}
        }
    }
    (got, told.unwrap())
}

/// Every kind of frame, field by field, in both directions.
#[test]
fn python_can_reads_our_frames_and_we_read_its() {
    let Some(mut peer) = peer(5) else { return };
    let fields = |id: u32, flags: &str, dlc: usize, data: &str| {
        let has = |flag: char| flags.contains(flag);
        json!({
            "arbitration_id": id, "is_extended_id": has('x'), "is_remote_frame": has('r'),
            "is_error_frame": has('e'), "is_fd": has('f'), "bitrate_switch": has('b'),
            "error_state_indicator": has('s'), "dlc": dlc, "data": data,
        })
    };
    let data = |id, fd, bytes: &[u8], bit_rate_switch, error_passive| Message::Data {
        frame: frame(id, fd, bytes),
        bit_rate_switch,
        error_passive,
    };
    let long = message(64);
    let sealed = Id::Extended(0x045A_1505);
    let mut table = vec![
        (data(Id::Standard(0), false, &[], false, false), fields(0, "", 0, "")),
        (data(Id::Standard(0x7FF), false, &[1], false, false), fields(0x7FF, "", 1, "01")),
        (data(sealed, false, &long[..8], false, false), fields(0x045A_1505, "x", 8, &hex(&long[..8]))),
        (data(Id::Extended(0x1FFF_FFFF), false, &[], false, false), fields(0x1FFF_FFFF, "x", 0, "")),
        (data(Id::Extended(1), false, &[0xFF], false, false), fields(1, "x", 1, "ff")),
        (Message::Remote { id: Id::Standard(0x123), length: 0 }, fields(0x123, "r", 0, "")),
        (Message::Remote { id: sealed, length: 8 }, fields(0x045A_1505, "xr", 8, "")),
        (
            Message::Error(frame(Id::Extended(0x0000_0088), false, &[0; 8])),
            fields(0x88, "xe", 8, "0000000000000000"),
        ),
    ];
    for len in [0, 1, 8, 12, 16, 20, 24, 32, 48, 64] {
        for (brs, esi, flags) in
            [(false, false, "xf"), (true, false, "xfb"), (false, true, "xfs"), (true, true, "xfbs")]
        {
            let text = hex(&long[..len]);
            table.push((data(sealed, true, &long[..len], brs, esi), fields(0x045A_1505, flags, len, &text)));
        }
        table.push((
            data(Id::Standard(0x400), true, &long[..len], true, false),
            fields(0x400, "fb", len, &hex(&long[..len])),
        ));
    }
    let count = table.len();
    for (ours, _) in &table {
        // The peer replaces the time by that of the arrival, and checks that.
        peer.bus.send(ours, 0).unwrap();
    }
    let heard = peer.ask(&json!({"do": "listen", "count": count, "timeout": 20}));
    let theirs: Vec<&Value> = table.iter().map(|(_, fields)| fields).collect();
    assert_eq!(heard, json!({"frames": theirs}));

    peer.ask(&json!({"do": "emit", "frames": theirs}));
    for (ours, _) in &table {
        let got = peer.bus.receive(WallDuration::from_secs(10)).unwrap();
        assert_eq!(got, Some(Received::Message(*ours)));
    }
    println!("{count} kinds of frames, each both ways");
}
