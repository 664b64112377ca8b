//! Bus time of sealed messages, stuff bits counted, against the same bytes in clear; and the traffic of a whole pack.

use anyhow::{Result, anyhow, ensure};
use lct::schedule::{Direction, Tier};
use pack::{
    can::{Bus, Frame, Id},
    link::{Buffer, FrameFormat, Inbound, Link, MESSAGE_MAX},
    message::{ModuleScan, ModuleStatusAll, ScanCell, Stamp},
    sealed_id::{Level, SealedId, SecurityId},
    session::{Session, limits::Limits},
    time::{Duration, Instant},
};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use serde_json::{Value, json};

use super::path::session;
use crate::measure::{Contender, Effort, interleaved};

/// Modules and cells of decision 5.
const MODULES: usize = 31;
const CELLS: usize = 94;
/// Heartbeats and commands of a pack in a second.
const HEARTBEATS: usize = 5;
const COMMANDS: usize = 4;
/// MODULE_MAX_STATE and MODULE_STATE_CHANGE.
const CEILING: (u16, usize) = (0x517, 1);
const STATE: (u16, usize) = (0x514, 4);
/// Scans over which stuffing is averaged.
const SCANS: usize = 32;
/// Nanoseconds of a bit at 500 kbit/s, and at 2 Mbit/s.
const BIT_NS: f64 = 2_000.0;
const DATA_BIT_NS: f64 = 500.0;

/// Two ends of a bus that carry each message to its end.
struct Carrier {
    ends: [Box<Link<34, 4>>; 2],
    now: Instant,
    buffer: Box<Buffer>,
    /// Whether bits are counted, which takes longer than everything else.
    counts: bool,
}

impl Carrier {
    fn new(format: FrameFormat) -> Self {
        let mut ends = [Direction::Ba, Direction::Ab].map(|hears| Box::new(Link::new(Bus::Can2, hears)));
        ends.iter_mut().for_each(|end| end.set_format(format));
        Carrier { ends, now: Instant::START, buffer: Box::new([0; MESSAGE_MAX]), counts: true }
    }

    /// Bus time of what the end that sends in `direction` has queued, flow control of the other end included, and the
    /// length of the message, which is left in the buffer.
    fn carry(&mut self, direction: Direction) -> Result<(f64, usize)> {
        let sender = usize::from(direction == Direction::Ba);
        let (mut spent, mut whole) = (0.0, None);
        for _ in 0..10_000 {
            let mut quiet = true;
            for from in [sender, 1 - sender] {
                while let Some(frame) = self.ends[from].poll(self.now) {
                    quiet = false;
                    if self.counts {
                        spent += frame_ns(&frame);
                    }
                    let to = &mut self.ends[1 - from];
                    match to.receive(self.now, &frame, |_| true, &mut self.buffer) {
                        Some(Inbound::Sealed(_, len) | Inbound::Security(_, len)) => whole = Some(len),
                        _ => {}
                    }
                }
            }
            if let (true, Some(len)) = (quiet, whole) {
                return Ok((spent, len));
            }
            self.now = self.now + Duration::from_micros(200);
        }
        Err(anyhow!("a message did not cross the bus"))
    }
}

fn frame_ns(frame: &Frame) -> f64 {
    match (frame.bits_on_wire(), frame.fd_bits_on_wire()) {
        (Some(bits), _) => f64::from(bits) * BIT_NS,
        (_, Some((nominal, data))) => f64::from(nominal) * BIT_NS + f64::from(data) * DATA_BIT_NS,
        _ => 0.0,
    }
}

/// A scan as a module in use has it.
fn scan(rng: &mut ChaCha20Rng, seq: u32) -> Vec<u8> {
    let cell = |rng: &mut ChaCha20Rng| ScanCell {
        mv: 3_650 + (rng.next_u32() % 60) as u16,
        celsius: 24 + (rng.next_u32() % 4) as i16,
    };
    let mut scan = ModuleScan { status: ModuleStatusAll::default(), ..ModuleScan::default() };
    for _ in 0..CELLS {
        let _ = scan.cells.push(cell(rng));
    }
    scan.stamp = Stamp { seq, time_ms: 1_764_000_000_000 + u64::from(seq) * 1_000 };
    scan.encode().to_vec()
}

/// A sealed message of a body, as the module or the pack sends it.
fn sealed(
    session: &mut Session,
    tier: Tier,
    base: u16,
    level: Level,
    body: &[u8],
) -> Result<(SealedId, Vec<u8>)> {
    let id = SealedId::new(base, level, session.sends(), 1).map_err(|e| anyhow!("{e}"))?;
    if let Some(due) = session.due(tier, 0) {
        session.reserved(&due);
    }
    let mut out = [0; MESSAGE_MAX];
    let len = session.seal(id, base, 0, &[body], &mut out).map_err(|e| anyhow!("{e}"))?;
    Ok((id, out[..len].to_vec()))
}

/// Bus time of a message from one end to the other: sealed at a level and opened, or the same bytes in clear.
fn bus_ns(
    carrier: &mut Carrier,
    [from, to]: [&mut Session; 2],
    level: Option<Level>,
    base: u16,
    body: &[u8],
) -> Result<f64> {
    let direction = from.sends();
    let end = usize::from(direction == Direction::Ba);
    let Some(level) = level else {
        carrier.ends[end].send_security(carrier.now, SecurityId::new(Bus::Can2, direction, 1), body);
        return Ok(carrier.carry(direction)?.0);
    };
    let tier = if level == Level::Exch { Tier::Exch } else { Tier::Pair };
    let (id, message) = sealed(from, tier, base, level, body)?;
    carrier.ends[end].send_sealed(carrier.now, id, &message);
    let (spent, len) = carrier.carry(direction)?;
    let opened = to.open(carrier.now, &Limits::DEFAULT, id, &mut carrier.buffer[..len]);
    let opened = opened.map_err(|e| anyhow!("a message of {base:#x} did not open: {e:?}"))?;
    ensure!(opened.body == body, "a message of {base:#x} came out otherwise than it went in");
    Ok(spent)
}

/// Sealed scan over the same bytes in clear: over ISO-TP on classical CAN, in frames of 64 bytes on CAN FD.
pub fn scan_ratios() -> Result<[f64; 2]> {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut ratios = [0.0; 2];
    for (ratio, format) in ratios.iter_mut().zip([FrameFormat::Classical, FrameFormat::Fd]) {
        let mut carrier = Carrier::new(format);
        let [mut module, mut pack] = [session(0, Direction::Ba)?, session(0, Direction::Ab)?];
        module.set_format(format);
        let (mut closed, mut clear) = (0.0, 0.0);
        for seq in 0..SCANS as u32 {
            let body = scan(&mut rng, seq);
            let ends = [&mut module, &mut pack];
            closed += bus_ns(&mut carrier, ends, Some(Level::Exch), ModuleScan::BASE, &body)?;
            clear += match format {
                FrameFormat::Classical => {
                    let ends = [&mut module, &mut pack];
                    bus_ns(&mut carrier, ends, None, ModuleScan::BASE, &body)?
                }
                FrameFormat::Fd => clear_fd_ns(&body)?,
            };
        }
        *ratio = closed / clear;
    }
    Ok(ratios)
}

/// Frames of 64 bytes, the last as long as it must be, without any protocol.
fn clear_fd_ns(body: &[u8]) -> Result<f64> {
    let mut spent = 0.0;
    for part in body.chunks(64) {
        let mut data = [0; 64];
        data[..part.len()].copy_from_slice(part);
        let len = pack::can::fd_length_for(part.len()).unwrap_or(64);
        let id = Id::Extended(u32::from(ModuleScan::BASE) << 18 | 1);
        spent += frame_ns(&Frame::new_fd(id, &data[..len]).map_err(|e| anyhow!("{e}"))?);
    }
    Ok(spent)
}

/// One second of a pack as decision 5 has it: each module a scan and a status, the pack heartbeats and commands.
struct Second {
    up: Option<Level>,
    down: Option<Level>,
}

impl Second {
    fn messages(&self, rng: &mut ChaCha20Rng) -> Vec<(Direction, Option<Level>, u16, Vec<u8>)> {
        let mut all = Vec::new();
        for seq in 0..MODULES as u32 {
            all.push((Direction::Ba, self.up, ModuleScan::BASE, scan(rng, seq)));
            let status = ModuleStatusAll::default().encode().to_vec();
            all.push((Direction::Ba, self.up, ModuleStatusAll::BASE, status));
        }
        for (n, (base, len)) in [(HEARTBEATS, CEILING), (COMMANDS, STATE)] {
            all.extend((0..n).map(|_| (Direction::Ab, self.down, base, vec![3; len])));
        }
        all
    }

    /// Part of a classical bus that it takes.
    fn load(&self) -> Result<f64> {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let mut carrier = Carrier::new(FrameFormat::Classical);
        let mut ends = [session(0, Direction::Ab)?, session(0, Direction::Ba)?];
        let mut spent = 0.0;
        for (direction, level, base, body) in self.messages(&mut rng) {
            spent += bus_ns(&mut carrier, ordered(&mut ends, direction), level, base, &body)?;
        }
        Ok(spent / 1e9)
    }
}

/// The end that sends in `direction`, then the other.
fn ordered([a, b]: &mut [Session; 2], direction: Direction) -> [&mut Session; 2] {
    if direction == Direction::Ab { [a, b] } else { [b, a] }
}

/// Carries every message of a second from one end to the other, sealed, framed, collected and opened.
struct Mixed {
    second: Second,
    carrier: Carrier,
    ends: [Session; 2],
    messages: Vec<(Direction, Option<Level>, u16, Vec<u8>)>,
    failed: Option<anyhow::Error>,
}

impl Contender for Mixed {
    fn prepare(&mut self, _: usize) -> Result<()> {
        self.failed.take().map_or(Ok(()), Err)?;
        self.messages = self.second.messages(&mut ChaCha20Rng::seed_from_u64(3));
        Ok(())
    }

    fn run(&mut self, n: usize) {
        for _ in 0..n {
            for (direction, level, base, body) in &self.messages {
                let ends = ordered(&mut self.ends, *direction);
                if let Err(error) = bus_ns(&mut self.carrier, ends, *level, *base, body) {
                    self.failed = Some(error);
                }
            }
        }
    }
}

/// The load of decision 5, and the same traffic in clear, in three tiers and all at pair tier.
pub fn mix(effort: Effort) -> Result<(f64, Value)> {
    let kinds = [
        ("clear", None, None),
        ("three_tier", Some(Level::Exch), Some(Level::Pair)),
        ("all_pair", Some(Level::Pair), Some(Level::Pair)),
    ];
    let mut contenders = Vec::new();
    for (_, up, down) in kinds {
        contenders.push(Mixed {
            second: Second { up, down },
            carrier: Carrier { counts: false, ..Carrier::new(FrameFormat::Classical) },
            ends: [session(0, Direction::Ab)?, session(0, Direction::Ba)?],
            messages: Vec::new(),
            failed: None,
        });
    }
    let mut refs: Vec<&mut dyn Contender> = contenders.iter_mut().map(|c| c as &mut dyn Contender).collect();
    let times = interleaved(&mut refs, Effort { rounds: effort.rounds.min(41), turn: 1 })?;
    let (mut rows, mut load) = (Vec::new(), 0.0);
    for ((name, up, down), ns) in kinds.into_iter().zip(times) {
        let own = Second { up, down }.load()?;
        if name == "three_tier" {
            load = own;
        }
        rows.push(json!({ "protection": name, "bus_load": own, "cpu_us_per_s": ns / 1_000.0 }));
    }
    ensure!(load > 0.0, "the mix has three tiers");
    Ok((load, rows.into()))
}
