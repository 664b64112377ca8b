//! What a frame meets first: its identifier, chunks, ISO-TP, the link that joins them, clear messages.

use crate::input::Input;
use pack::can::{Bus, Frame, Id};
use pack::time::{Duration, Instant};

/// Any frame that can stand on a wire: identifier and data from the input, classical or FD.
pub fn frame(input: &mut Input<'_>) -> Option<Frame> {
    let kind = input.byte();
    let raw = input.number();
    let id = match kind & 3 {
        0 => Id::standard(raw as u16 & Id::MAX_STANDARD),
        1 => Id::extended(raw & Id::MAX_EXTENDED),
        // Bit 17 set, bits 28 and 27 clear: a sealed family.
        2 => Id::extended(raw & 0x07FF_FFFF | 0x0002_0000),
        // One of the four bases of security PDUs, in clear.
        _ => Id::extended([0x40C, 0x4AC, 0x50C, 0x52C][raw as usize >> 30] << 18 | raw & 0x1_FFFF),
    }?;
    let data = input.slice();
    if kind & 4 == 0 {
        Frame::new_classic(id, &data[..data.len().min(8)]).ok()
    } else {
        let fit = pack::can::fd_length_for(data.len().min(64))?;
        let mut padded = data[..data.len().min(64)].to_vec();
        padded.resize(fit, 0xCC);
        Frame::new_fd(id, &padded).ok()
    }
}

/// One of the buses.
pub fn bus_of(byte: u8) -> Bus {
    if byte & 1 == 0 { Bus::Can1 } else { Bus::Can2 }
}

pub mod identifier {
    use super::*;
    use pack::sealed_id::{Class, classify};

    pub fn seeds() -> Vec<Vec<u8>> {
        (0..4).map(|kind| vec![0, kind, 5, 0x11, 0x5a, 0x04, 8, 1, 2, 3, 4, 5, 6, 7, 8]).collect()
    }

    pub fn run(data: &[u8]) {
        let mut input = Input(data);
        let bus = bus_of(input.byte());
        let Some(frame) = frame(&mut input) else { return };
        match classify(bus, &frame) {
            Ok(Class::Sealed(id, transport)) => {
                assert_eq!(id.encode(transport), frame.id(), "what was read is written the same");
                assert!((0x400..=0x5FF).contains(&id.base(input.byte())));
                assert_eq!(id.reversed().reversed(), id);
            }
            Ok(Class::Security(id, transport)) => {
                assert_eq!(
                    id.canonical().frame_id(transport),
                    frame.id(),
                    "what was read is written the same"
                );
            }
            Ok(Class::Clear(_)) => assert!(!frame.is_fd(), "clear messages are classical"),
            Err(_) => {}
        }
    }
}

pub mod chunk {
    use super::*;
    use pack::chunk::{CHUNK_LEN, Push, Reassembler, split};
    use pack::sealed_id::{CanonicalId, Class, SecurityId, Transport, classify};
    use std::collections::BTreeMap;

    pub fn seeds() -> Vec<Vec<u8>> {
        vec![
            vec![0x80, 40, 7, 7, 7, 7],
            vec![0x81, 128, 0, 1, 2, 3],
            [vec![0x80, 20], vec![9; 60]].concat(),
            // The end of one message and the beginning of the next are lost.
            vec![0xF5, 10, 1, 0x85, 10],
        ]
    }

    /// The bytes of the frame that came last for each chunk of each identifier.
    type Came = BTreeMap<(CanonicalId, u8), Vec<u8>>;

    /// Pushes a frame; whether a message is complete with it. Whatever is complete consists of the chunks that came
    /// last, in their order: two messages that each lost a part may be joined (the tag of a sealed one tells), but
    /// nothing is of another identifier, of before, or made up.
    fn push(
        reassembler: &mut Reassembler<4>,
        came: &mut Came,
        now: Instant,
        (key, transport): (CanonicalId, Transport),
        data: &[u8],
    ) -> bool {
        if let Transport::Chunk { cur, .. } = transport {
            came.insert((key, cur), data.to_vec());
        }
        let Push::Complete(message) = reassembler.push(now, key, transport, data) else { return false };
        assert!((1..=128).contains(&message.len()));
        match transport {
            Transport::Chunk { total, .. } => {
                let parts: Vec<&[u8]> =
                    (1..=total).filter_map(|cur| came.get(&(key, cur))).map(Vec::as_slice).collect();
                assert_eq!(message, parts.concat());
            }
            _ => assert_eq!(message, data),
        }
        true
    }

    pub fn run(data: &[u8]) {
        let mut input = Input(data);
        let mut reassembler = Reassembler::<4>::new();
        let mut came = Came::new();
        let mut now = Instant::START;
        while !input.is_empty() {
            let op = input.byte();
            now = now + Duration::from_millis(u64::from(op >> 2 & 7) * 10);
            if op & 0x80 != 0 {
                // A whole message, of which the input may lose one frame.
                let message = vec![op; usize::from(input.byte()).clamp(1, 128)];
                let id = SecurityId::new(bus_of(op), lct::schedule::Direction::Ab, op & 3);
                let lost = usize::from(input.byte());
                let Ok(frames) = split(id.canonical(), &message) else { continue };
                let mut complete = false;
                for (i, frame) in frames.enumerate().filter(|(i, _)| *i != lost) {
                    let Ok(Class::Security(id, transport)) = classify(bus_of(op), &frame) else {
                        unreachable!("frame {i} of a security PDU")
                    };
                    let named = (id.canonical(), transport);
                    complete |= push(&mut reassembler, &mut came, now, named, frame.data());
                }
                assert!(complete || lost < message.len().div_ceil(CHUNK_LEN), "an honest message arrives");
            } else if let Some(frame) = frame(&mut input) {
                let named = match classify(bus_of(op), &frame) {
                    Ok(Class::Sealed(id, transport)) => (id.canonical(), transport),
                    Ok(Class::Security(id, transport)) => (id.canonical(), transport),
                    _ => continue,
                };
                push(&mut reassembler, &mut came, now, named, frame.data());
            }
            assert!(reassembler.pending() <= 4);
        }
    }
}

pub mod isotp {
    use super::*;
    use pack::isotp::{CanDl, Received, Receiver, ReceiverConfig, SendEvent, Sender, SenderConfig, StMin};

    pub fn seeds() -> Vec<Vec<u8>> {
        let message = [vec![0x00, 0x40], vec![5; 40]].concat();
        vec![
            [vec![0, 8, 0x10, 0x14, 1, 2, 3, 4, 5, 6], vec![8, 0x21, 1, 2, 3, 4, 5, 6, 7]].concat(),
            [vec![4, 3, 2, 1, 0], message].concat(),
            vec![0x41, 3, 0x30, 0, 0, 0x41, 3, 0x31, 0, 0, 0x41, 3, 0x32, 0, 0],
        ]
    }

    pub fn run(data: &[u8]) {
        let mut input = Input(data);
        let first = input.byte();
        let config =
            ReceiverConfig { block_size: first >> 4, st_min: StMin::from_byte(first), ..Default::default() };
        let mut receiver = Receiver::<300>::new(config);
        let can_dl = [CanDl::Dl8, CanDl::Dl64][usize::from(first & 1)];
        let mut sender = Sender::<300>::new(SenderConfig { can_dl, ..Default::default() });
        let mut now = Instant::START;
        let mut sent: Vec<u8> = Vec::new();
        while !input.is_empty() {
            let op = input.byte();
            now = now + Duration::from_millis(u64::from(op & 0x3F));
            match op >> 6 {
                0 => {
                    let bytes = input.slice();
                    if let Received::Message(m) = receiver.on_frame(now, &bytes[..bytes.len().min(64)]) {
                        assert!(m.len() <= 300);
                    }
                }
                1 => {
                    let bytes = input.slice();
                    sender.on_flow_control(now, &bytes[..bytes.len().min(64)]);
                }
                2 => {
                    let message = input.slice();
                    if sender.start(now, message).is_ok() {
                        sent = message.to_vec();
                        receiver.reset();
                    }
                }
                _ => {
                    receiver.expire(now);
                    sender.cancel();
                }
            }
            // The two against each other, over a bus that loses a frame when the input says so.
            for _ in 0..32 {
                match sender.poll(now) {
                    Some(SendEvent::Frame(pdu)) => {
                        sender.transmitted(now);
                        if op & 0x20 != 0 && input.byte() == 0xFF {
                            continue;
                        }
                        if let Received::Message(m) = receiver.on_frame(now, &pdu) {
                            assert!(m.len() <= 300);
                            assert!(!m.is_empty() || sent.is_empty());
                        }
                    }
                    Some(_) => break,
                    None => {}
                }
                if let Some(reply) = receiver.flow_control() {
                    sender.on_flow_control(now, &reply);
                }
                let Some(due) = sender.due() else { break };
                if due > now + Duration::from_millis(50) {
                    break;
                }
                now = now.max(due);
            }
        }
    }
}

pub mod link {
    use super::*;
    use lct::schedule::Direction;
    use pack::link::{FrameFormat, Inbound, Link, MESSAGE_MAX};
    use pack::sealed_id::{Level, SealedId, SecurityId};

    pub fn seeds() -> Vec<Vec<u8>> {
        vec![
            [vec![2, 0x90, 60], vec![3; 60], vec![0xF0, 200], vec![5; 200]].concat(),
            [vec![0, 0x80, 200], vec![3; 200], vec![0x80, 60], vec![4; 60]].concat(),
            [vec![1, 0x81, 100], vec![3; 100], vec![0, 2, 5, 0x11, 0x5a, 0x04, 8, 1, 2, 3, 4, 5, 6, 7, 8]]
                .concat(),
        ]
    }

    pub fn run(data: &[u8]) {
        let mut input = Input(data);
        let first = input.byte();
        let bus = bus_of(first);
        let (mut near, mut far) = (Link::<4>::new(bus, Direction::Ab), Link::<4>::new(bus, Direction::Ba));
        if first & 2 != 0 {
            near.set_format(FrameFormat::Fd);
            far.set_format(FrameFormat::Fd);
        }
        let mut out = [0; MESSAGE_MAX];
        let mut now = Instant::START;
        while !input.is_empty() {
            let op = input.byte();
            now = now + Duration::from_millis(u64::from(op & 0x3F));
            if op & 0x80 != 0 {
                let message = input.slice().repeat(usize::from(op >> 5 & 3) + 1);
                match SealedId::new(0x508, Level::Exch, Direction::Ab, op & 3) {
                    Ok(id) if op & 0x10 != 0 => far.send_sealed(now, id, &message),
                    _ => far.send_security(now, SecurityId::new(bus, Direction::Ab, op & 3), &message),
                }
            } else if let Some(frame) = frame(&mut input) {
                if let Some(Inbound::Sealed(_, n) | Inbound::Security(_, n)) =
                    near.receive(now, &frame, |device| device < 4, &mut out)
                {
                    assert!((1..=MESSAGE_MAX).contains(&n));
                }
            }
            for _ in 0..64 {
                let (one, two) = (near.poll(now), far.poll(now));
                if one.is_none() && two.is_none() {
                    let Some(due) = near.due().into_iter().chain(far.due()).min() else { break };
                    if due > now + Duration::from_millis(20) {
                        break;
                    }
                    now = now.max(due) + Duration::from_micros(100);
                }
                if let Some(frame) = one {
                    far.receive(now, &frame, |_| true, &mut out);
                }
                if let Some(frame) = two {
                    near.receive(now, &frame, |_| true, &mut out);
                }
            }
        }
    }
}

pub mod messages {
    use pack::message::*;

    pub fn seeds() -> Vec<Vec<u8>> {
        vec![
            vec![0; 8],
            vec![0xFF; 8],
            vec![0x55; ModuleStatusAll::LEN],
            vec![0x55; PackStatusAll::LEN],
            vec![1, 2],
        ]
    }

    /// What decodes can be written, and reads back as the same.
    fn round_trip<M: Message + PartialEq + std::fmt::Debug>(body: &[u8]) {
        if let Ok(message) = M::decode(body) {
            let (encoded, n) = message.encode();
            assert_eq!(M::decode(&encoded[..n]).as_ref().ok(), Some(&message));
        }
    }

    pub fn run(body: &[u8]) {
        macro_rules! all {
            ($($name:ident)*) => { $(round_trip::<$name>(body);)* };
        }
        all! {
            VcuCommand VcuTime VcuReadEeprom VcuWriteEeprom VcuModuleCommand VcuKeepAlive VcuRequestModuleList BmsState
            DmcModuleState DmcModulePower DmcModuleCellVoltage DmcModuleCellTemp DmcModuleLimits BmsData1 BmsData2
            BmsData3 BmsData5 BmsData8 BmsData9 BmsData10 BmsTimeRequest BmsEepromData ModuleAnnouncement
            ModuleHardware ModuleStatus1 ModuleStatus2 ModuleStatus3 ModuleCellDetail ModuleTimeRequest
            ModuleCellCommStatus1 ModuleRegistration ModuleHardwareRequest ModuleStatusRequest ModuleStateChange
            ModuleDetailRequest ModuleSetTime ModuleMaxState ModuleDeregister ModuleAnnounceRequest
            ModuleAllDeregister ModuleAllIsolate
        }
        if let Ok(m) = ModuleStatusAll::decode(body) {
            assert_eq!(ModuleStatusAll::decode(&m.encode()).ok(), Some(m));
        }
        if let Ok(m) = ModuleScan::decode(body) {
            assert_eq!(ModuleScan::decode(&m.encode()).ok(), Some(m));
        }
        if let Ok(m) = PackStatusAll::decode(body) {
            assert_eq!(PackStatusAll::decode(&m.encode()).ok(), Some(m));
        }
    }
}
