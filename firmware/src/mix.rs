//! Messages of the traffic mix from a text to frames and back, one end at a time: two links fill the memory.

use core::hint::black_box;

use lct::schedule::Tier;
use pack::{
    can::{Bus, Frame},
    link::{Buffer, Inbound},
    message::{ModuleScan, ScanCell},
    sealed_id::{Level, SealedId, SecurityId, Transport},
    session::{Session, limits::Limits},
    time::Instant,
};

use crate::operations::ModuleLink;

/// Cells of a module, as in decision 5.
const CELLS: usize = 94;
/// Most frames of a message here: a scan by ISO-TP.
pub const FRAMES: usize = 80;
/// A flow control that allows 16 frames without a pause.
const CONTINUE: [u8; 3] = [0x30, 16, 0];

/// A scan of 94 cells.
pub fn scan() -> ModuleScan {
    let mut scan = ModuleScan::default();
    while scan.cells.len() < CELLS && scan.cells.push(ScanCell { mv: 3_650, celsius: 25 }).is_ok() {}
    scan
}

/// A message: how it is protected, its base and its body.
pub struct Message<'a> {
    /// The level it is sealed at; none for a clear one.
    pub level: Option<Level>,
    /// Its base.
    pub base: u16,
    /// Its body.
    pub body: &'a [u8],
}

/// From a text to frames; how many there are, 0 when something failed.
pub fn send(
    session: &mut Session,
    link: &mut ModuleLink,
    message: &Message<'_>,
    frames: &mut [Option<Frame>],
) -> usize {
    let (now, direction) = (Instant::START, session.sends());
    let security = SecurityId::new(Bus::Can2, direction, 1);
    let mut answer = security.reversed().encode(Transport::IsoTp);
    match message.level {
        None => link.send_security(now, security, black_box(message.body)),
        Some(level) => {
            let Ok(id) = SealedId::new(message.base, level, direction, 1) else { return 0 };
            let tier = if level == Level::Exch { Tier::Exch } else { Tier::Pair };
            if let Some(due) = session.due(tier, 0) {
                session.reserved(&due);
            }
            let body = black_box(message.body);
            if link.seal(now, id, body.len(), |out| session.seal(id, message.base, 0, &[body], out)).is_err() {
                return 0;
            }
            answer = id.reversed().encode(Transport::IsoTp);
        }
    }
    let Ok(answer) = Frame::new_classic(answer, &CONTINUE) else { return 0 };
    let (mut count, mut buffer) = (0, [0; pack::link::MESSAGE_MAX]);
    loop {
        while let (Some(frame), Some(place)) = (link.poll(now), frames.get_mut(count)) {
            *place = Some(frame);
            count += 1;
        }
        if link.is_idle() || count == frames.len() {
            return count;
        }
        link.receive(now, &answer, |device| device == 1, &mut buffer);
    }
}

/// From frames to a text, with the flow control that it takes; whether it came out.
pub fn receive(
    session: &mut Session,
    link: &mut ModuleLink,
    frames: &[Option<Frame>],
    buffer: &mut Buffer,
) -> bool {
    for frame in frames.iter().flatten() {
        match link.receive(Instant::START, frame, |device| device == 1, buffer) {
            Some(Inbound::Sealed(id, len)) => {
                return session.open(Instant::START, &Limits::DEFAULT, id, &mut buffer[..len]).is_ok();
            }
            Some(Inbound::Security(..)) => return true,
            _ => {}
        }
        while link.poll(Instant::START).is_some() {}
    }
    false
}
