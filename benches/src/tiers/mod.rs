//! Bench `tiers`: how long ceremonies, starts and commands of a whole pack take on its buses, by the real roles in virtual
//! time.
//!
//! Time on the bus is exact and the same on every machine: each frame takes its bits at 500 kbit/s, stuff bits counted, and
//! waits for its turn (`sim::wire`). Computing takes no time there; what it costs this host, all parties together, stands
//! beside it. A build of its own counts what pack and modules ask of their processors.

use anyhow::{Result, anyhow, ensure};
use buses::Timed;
use lct::{
    energy::{CycleClose, EnergyEvent},
    schedule::Direction,
};
use pack::{
    app::{self, Party},
    can::Bus,
    chunk::{Push, Reassembler},
    command::CommandResult,
    message::RelayState,
    pdu,
    sealed_id::{Class, Level, classify},
    time::{Duration, Instant},
};
use serde_json::{Value, json};
use work::{Done, Work};
use world::World;

use crate::measure::{Effort, thread_ns};

mod buses;
mod work;
#[path = "../../../crates/pack/tests/world/mod.rs"]
mod world;

/// Part of each bus that is taken where a bench says that it is loaded.
const LOAD: f64 = 0.6;
/// Longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How fine times are told.
const GRAIN: Duration = Duration::from_micros(100);
/// Unix time of the pack's first measurement: after the ceremonies of the world.
const UNIX_MS: u64 = world::BOUND as u64 * 1_000 + 600_000;
/// Everything is measured so often.
const MEASURE: Duration = Duration::from_secs(1);
/// How long a gateway takes to have something on disk.
const KEEP: Duration = Duration::from_millis(10);

/// A world of 31 modules is larger than the usual stack.
const STACK: usize = 64 << 20;

pub fn run(effort: Effort) -> Result<Value> {
    let bench = std::thread::Builder::new().stack_size(STACK).spawn(move || rows(effort))?;
    bench.join().map_err(|_| anyhow!("a party stopped: the lines above say which"))?
}

fn rows(effort: Effort) -> Result<Value> {
    // A quick run shows that the bench works.
    let (small, repeats, span_s) = if effort.rounds < 100 { (2, 5, 5) } else { (3, 100, 60) };
    let sizes = if effort.rounds < 100 { vec![small] } else { vec![small, 31] };
    // What is counted is the same each time, on whatever bus.
    let counts = cfg!(feature = "counted");
    let repeats = if counts { 10 } else { repeats };
    let mut rows = Vec::new();
    for modules in sizes {
        let mut bench = Bench::new(modules);
        rows.push(bench.commissioning()?);
        rows.push(bench.resume()?);
        rows.push(bench.raise()?);
        rows.extend(bench.commands("idle", repeats)?);
        if counts {
            continue;
        }
        rows.push(bench.heartbeats("idle", span_s)?);
        bench.load()?;
        rows.extend(bench.commands("60 %", repeats)?);
        rows.push(bench.heartbeats("60 %", span_s)?);
    }
    Ok(json!({ "rows": rows }))
}

/// An installation on loaded or unloaded buses.
struct Bench {
    w: World,
    buses: Timed,
    work: Work,
    modules: usize,
    /// When everything is measured next, in a pack in service.
    measure: Option<Instant>,
}

/// What passed on the buses and in the parties since a moment.
struct Since {
    at: Instant,
    bits: [u64; 2],
    cpu_ns: u64,
}

impl Bench {
    fn new(modules: usize) -> Self {
        let mut w = World::new(modules, 900 + modules as u64);
        let buses = Timed::new(modules + 2);
        w.buses = Some(Box::new(buses.clone()));
        // As the authority does it.
        w.packages = [true; 2];
        let work = Work::of(&mut w);
        Bench { w, buses, work, modules, measure: None }
    }

    fn now(&self) -> Since {
        self.work.take();
        Since { at: self.w.now, bits: self.buses.bits(), cpu_ns: thread_ns() }
    }

    fn row(&self, what: &str, load: &str, since: &Since, took: Duration) -> Value {
        let bits = self.buses.bits();
        let busy_ms = |bus: Bus| (bits[bus as usize] - since.bits[bus as usize]) as f64 * buses::BIT_US / 1e3;
        json!({
            "what": what, "modules": self.modules, "load": load, "ms": took.as_micros() as f64 / 1e3,
            "can1_ms": busy_ms(Bus::Can1), "can2_ms": busy_ms(Bus::Can2),
            "cpu_ms": (thread_ns() - since.cpu_ns) as f64 / 1e6,
        })
    }

    /// The same, with what each asked of its processor.
    fn counted(&self, what: &str, since: &Since, took: Duration) -> Value {
        let mut row = self.row(what, "idle", since, took);
        row["work"] = self.work.shown(&self.work.take()).into();
        row
    }

    /// Lets time pass until `seen`; how long that was.
    fn until(&mut self, what: &str, seen: impl Fn(&World) -> bool) -> Result<Duration> {
        let start = self.w.now;
        while !seen(&self.w) {
            ensure!(
                self.w.now < start + PATIENCE,
                "{what} takes longer than {} s",
                PATIENCE.as_millis() / 1_000
            );
            self.pass(GRAIN)?;
        }
        Ok(self.w.now.saturating_since(start))
    }

    /// Lets time pass in a pack in service: what is measured is told, kept and acknowledged.
    fn live(&mut self, span: Duration) -> Result<()> {
        let end = self.w.now + span;
        while self.w.now < end {
            self.pass(KEEP.min(end.saturating_since(self.w.now)))?;
        }
        Ok(())
    }

    fn pass(&mut self, span: Duration) -> Result<()> {
        if let Some(due) = self.measure.filter(|due| *due <= self.w.now) {
            self.w.measure(0);
            self.measure = Some(due + MEASURE);
        }
        self.w.run_until(self.w.now + span);
        if self.measure.is_some() { self.keep() } else { Ok(()) }
    }

    /// What a gateway does: it keeps what was signed and says so. Answers to commands stay in the list.
    fn keep(&mut self) -> Result<()> {
        let now = self.w.now;
        for event in std::mem::take(&mut self.w.events) {
            let (from, kind, number) = match &event {
                app::Event::Commanded(..) => {
                    self.w.events.push(event);
                    continue;
                }
                app::Event::Batch(party, batch, _) => (*party, pdu::BATCH, u64::from(batch.first_seq)),
                app::Event::Energy(statement, _) => (Party::Pack, pdu::ENERGY, energy_number(statement)?),
                app::Event::Log(from, part) => {
                    self.w.log_kept(*from, part.receipt());
                    continue;
                }
                _ => continue,
            };
            self.w.app.received(now, from, kind, number).map_err(|e| anyhow!("{e}"))?;
        }
        Ok(())
    }

    /// From power on at the factory to every channel up.
    fn commissioning(&mut self) -> Result<Value> {
        let since = self.now();
        self.w.commission();
        self.until("commissioning", is_up)?;
        let took = self.w.now.saturating_since(since.at);
        Ok(self.counted("commissioning", &since, took))
    }

    /// From power on of everybody to every channel up.
    fn resume(&mut self) -> Result<Value> {
        self.w.run_for(30_000);
        (0..self.modules + 2).for_each(|who| self.w.restart(who));
        self.buses.power_cut();
        let since = self.now();
        let took = self.until("the start", is_up)?;
        let row = self.counted("resume", &since, took);
        // From here on it is a pack in service.
        let now = self.w.now;
        self.w.app.set_time(now, UNIX_MS).map_err(|e| anyhow!("{e}"))?;
        self.measure = Some(now);
        Ok(row)
    }

    /// From the owner's command to the last relay.
    fn raise(&mut self) -> Result<Value> {
        self.live(Duration::from_secs(10))?;
        let since = self.now();
        self.order(RelayState::On)?;
        let took = self.until("raising", |w| stands(w, RelayState::On))?;
        Ok(self.counted("raise", &since, took))
    }

    fn order(&mut self, state: RelayState) -> Result<()> {
        self.w.events.clear();
        let now = self.w.now;
        Ok(self.w.app.set_state(now, state, &mut self.w.rng).map_err(|e| anyhow!("{e}"))?)
    }

    /// Commands that lower (pair tier) and that raise (level 5), again and again.
    fn commands(&mut self, load: &str, repeats: usize) -> Result<Vec<Value>> {
        let (mut first, mut last, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        let (mut lowering, mut signed) = (Done::default(), Done::default());
        let since = self.now();
        for n in 0..repeats {
            // At another moment of the periods of everything else each time.
            self.live(Duration::from_millis(3_000 + 37 * n as u64 % 500))?;
            self.work.take();
            self.order(RelayState::Off)?;
            let off = |m: &pack::module::Module| m.relay() == RelayState::Off;
            let ordered = self.w.now;
            first.push(self.until("lowering", |w| w.modules.iter().any(off))?);
            self.until("lowering", |w| w.modules.iter().all(off))?;
            last.push(self.w.now.saturating_since(ordered));
            lowering.add(&self.work.take());
            self.until("lowering", |w| w.pack.state() == RelayState::Off)?;
            self.live(Duration::from_secs(1))?;
            self.work.take();
            self.order(RelayState::On)?;
            let done = |e: &app::Event| matches!(e, app::Event::Commanded(_, CommandResult::Done));
            answers.push(self.until("a signed command", |w| w.events.iter().any(done))?);
            signed.add(&self.work.take());
            self.until("raising", |w| stands(w, RelayState::On))?;
        }
        let took = self.w.now.saturating_since(since.at);
        let names = ["lower, first relay", "lower, last relay", "level 5, acknowledged"];
        let done = [None, Some(lowering), Some(signed)];
        let all = names.into_iter().zip([first, last, answers]).zip(done);
        let row = |((what, times), done): ((&str, Vec<Duration>), Option<Done>)| {
            let mut row = with(self.row(what, load, &since, took), times);
            row["work"] = done.and_then(|done| self.work.shown(&done)).into();
            row
        };
        Ok(all.map(row).collect())
    }

    /// How much later than its period each heartbeat of the pack to its modules arrives, and each keep-alive of the app.
    fn heartbeats(&mut self, load: &str, span_s: u64) -> Result<Value> {
        self.w.log.clear();
        let since = self.now();
        self.live(Duration::from_secs(span_s))?;
        let took = self.w.now.saturating_since(since.at);
        let beats = lateness(&self.w.log, Bus::Can2, Level::Pair, Duration::from_millis(200));
        let alive = lateness(&self.w.log, Bus::Can1, Level::Exch, app::KEEP_ALIVE);
        ensure!(!beats.is_empty() && !alive.is_empty(), "no heartbeat was heard");
        let mut row = with(self.row("heartbeat, late", load, &since, took), beats);
        row["keep_alive"] = with(json!({}), alive);
        Ok(row)
    }

    /// From now on others take what the pack leaves of [`LOAD`].
    fn load(&mut self) -> Result<()> {
        let since = self.now();
        self.live(Duration::from_secs(10))?;
        let bits = self.buses.bits();
        for bus in [Bus::Can1, Bus::Can2] {
            let busy_us = (bits[bus as usize] - since.bits[bus as usize]) as f64 * buses::BIT_US;
            let own = busy_us / self.w.now.saturating_since(since.at).as_micros() as f64;
            ensure!(own < LOAD, "the pack alone takes {own:.2} of bus {bus:?}");
            self.buses.others(bus, self.w.now, LOAD - own);
        }
        self.live(Duration::from_secs(1))
    }
}

/// Every channel of every relationship is up at both ends.
fn is_up(w: &World) -> bool {
    let modules = w.modules.iter().all(|m| m.relation().is_up());
    w.app.relation().is_up() && w.pack.modules() == w.modules.len() && w.pack.modules_up() && modules
}

fn stands(w: &World, state: RelayState) -> bool {
    w.pack.state() == state && w.modules.iter().all(|m| m.relay() == state)
}

/// The number by which an energy statement is acknowledged (C47).
fn energy_number(statement: &[u8]) -> Result<u64> {
    let close = |_| CycleClose::decode(statement).map(|close| (close.cycle, u32::MAX));
    let (cycle, number) = EnergyEvent::decode(statement)
        .map(|e| (e.cycle, e.seq))
        .or_else(close)
        .map_err(|e| anyhow!("{e}"))?;
    Ok(u64::from(cycle) << 32 | u64::from(number))
}

/// Median, 99th percentile and maximum of the times, in milliseconds, into a row.
fn with(mut row: Value, mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    let at = |part: f64| {
        let place = (times.len() as f64 * part).ceil() as usize;
        times.get(place.saturating_sub(1)).map_or(0.0, |time| time.as_micros() as f64 / 1e3)
    };
    (row["n"], row["median_ms"]) = (times.len().into(), at(0.5).into());
    (row["p99_ms"], row["max_ms"]) = (at(0.99).into(), at(1.0).into());
    row
}

/// Of the sealed messages of this level that go out without a device's number, or from the app: how much longer than the
/// period it took until the next one was whole.
fn lateness(
    log: &[(Instant, Bus, pack::can::Frame)],
    bus: Bus,
    level: Level,
    period: Duration,
) -> Vec<Duration> {
    let mut chunks = Reassembler::<8>::new();
    let (mut last, mut late) = (None, Vec::new());
    for (at, _, frame) in log.iter().filter(|(_, on, _)| *on == bus) {
        let Ok(Class::Sealed(id, transport)) = classify(bus, frame) else { continue };
        let is_beat = id.level() == level && id.direction() == Direction::Ab && id.device() == 0;
        if !is_beat {
            continue;
        }
        if let Push::Complete(_) = chunks.push(*at, id.canonical(), transport, frame.data()) {
            if let Some(before) = last.replace(*at) {
                let gap: Duration = at.saturating_since(before);
                late.push(Duration::from_micros(gap.as_micros().saturating_sub(period.as_micros())));
            }
        }
    }
    late
}
