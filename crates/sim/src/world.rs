//! A pack on a bench: a controller and its modules, each with its own flash, on two buses, under virtual time.
//!
//! The roles are the ones of `pack`, unchanged; this module only moves frames, time, records and measurements. The
//! app is outside: it is a port on CAN 1, fed by [`World::send`], hearing what [`World::step`] returns.

use crate::{
    fault::{FaultConfig, FaultPlan, FaultReport},
    flash::{self, CONTROLLER_PAGES, FlashError, MODULE_PAGES, Nor},
    reading::Reading,
    wire::{Delivery, PortId, SendError, Stats, Wire},
};
use pack::{
    can::{Bus, Frame, Id},
    controller::{self, Controller},
    device::Refused,
    identity::{Identity, Record},
    link::{FrameFormat, LinkCounters},
    message::{RelayState, ScanCell},
    module::{self, Measurement, Module, Rating},
    policy,
    sealed_id::{Class, classify},
    time::{Duration, Instant},
    vault::Vault,
};
use rand_core::CryptoRng;
use std::path::Path;

/// Rating of a module of the measured pack: -200 A to +65 A (decision on capability), 4.2 V per group.
pub const RATING: Rating = Rating { charge_ma: 65_000, discharge_ma: -200_000, end_of_charge_mv: 8_400 };

/// Why the world stopped.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// A device's flash.
    #[error("flash of {who}: {source}")]
    Flash {
        /// Which device.
        who: String,
        /// What happened.
        source: FlashError,
    },
    /// A role met a state that it cannot go on from.
    #[error("{who} stopped: {source}")]
    Role {
        /// Which device.
        who: String,
        /// Its reason.
        source: lct::Error,
    },
    /// A frame that the bus cannot carry.
    #[error("{who} sent a frame that the bus cannot carry: {source}")]
    Wire {
        /// Which device.
        who: String,
        /// Why not.
        source: SendError,
    },
    /// A measurement for more modules than there are.
    #[error("the data has {found} modules, the pack has {expected}")]
    Modules {
        /// In the data.
        found: usize,
        /// In the pack.
        expected: usize,
    },
}

/// Frames seen on both buses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames with the encryption bit.
    pub sealed: u64,
    /// Frames without it.
    pub clear: u64,
    /// Of those, frames of a class that a paired device accepts only sealed, from or to a paired device.
    pub clear_protected: u64,
}

/// What a step led to.
#[derive(Debug)]
pub enum Step {
    /// The app hears this frame, at the current time.
    Heard(Frame),
    /// The pack's state changed.
    State(RelayState),
    /// Nothing for the outside; call again.
    Quiet,
}

struct Device<T> {
    role: T,
    port: [Option<PortId>; 2],
    flash: Vault<Nor>,
    name: String,
}

/// The bench.
pub struct World<R> {
    now: Instant,
    rng: R,
    wires: [Wire; 2],
    app: PortId,
    pack: Device<Box<Controller>>,
    modules: Vec<Device<Module>>,
    faults: FaultPlan,
    counts: Counts,
    heard: std::collections::VecDeque<Step>,
}

impl<R: CryptoRng> World<R> {
    /// Powers everything on at `now`. Flash files lie in `flash`, one per device, or in memory.
    pub fn power_on(
        pack: Identity,
        modules: Vec<Identity>,
        flash: Option<&Path>,
        faults: FaultConfig,
        now: Instant,
        mut rng: R,
    ) -> Result<Self, WorldError> {
        let mut wires = [Wire::new(Bus::Can1), Wire::new(Bus::Can2)];
        let app = wires[0].attach();
        let open = |own: &Identity, pages: usize, rng: &mut R| {
            let name = &own.component_id;
            let nor = match flash {
                Some(folder) => Nor::open(&folder.join(format!("{name}.flash")), pages),
                None => Ok(Nor::in_memory(pages)),
            };
            nor.and_then(|nor| flash::mount(nor, &own.key, rng))
                .map_err(|source| WorldError::Flash { who: name.to_string(), source })
        };
        let role_error = |who: &str| {
            let who = who.to_owned();
            move |source| WorldError::Role { who, source }
        };
        let name = pack.component_id.to_string();
        let own_flash = open(&pack, CONTROLLER_PAGES, &mut rng)?;
        let role =
            Controller::start(pack, 0, |k| own_flash.load(k), now, &mut rng).map_err(role_error(&name))?;
        let port = [Some(wires[0].attach()), Some(wires[1].attach())];
        let pack = Device { role: Box::new(role), port, flash: own_flash, name };
        let mut powered = Vec::with_capacity(modules.len());
        for module in modules {
            let name = module.component_id.to_string();
            let flash = open(&module, MODULE_PAGES, &mut rng)?;
            let role =
                Module::start(module, RATING, |k| flash.load(k), now, &mut rng).map_err(role_error(&name))?;
            powered.push(Device { role, port: [None, Some(wires[1].attach())], flash, name });
        }
        Ok(World {
            now,
            rng,
            wires,
            app,
            pack,
            modules: powered,
            faults: FaultPlan::new(faults),
            counts: Counts::default(),
            heard: std::collections::VecDeque::new(),
        })
    }

    /// Says what frames both buses carry, and the devices on them (the app is told apart); classical until then.
    pub fn set_format(&mut self, format: FrameFormat) {
        for bus in [Bus::Can1, Bus::Can2] {
            self.wires[bus as usize].set_format(format);
            self.pack.role.set_format(bus, format);
        }
        self.modules.iter_mut().for_each(|m| m.role.set_format(format));
    }

    /// Virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }
    /// The pack controller.
    pub fn pack(&self) -> &Controller {
        &self.pack.role
    }
    /// The records of the pack controller. They hold the secrets of every channel of this world.
    pub fn pack_flash(&self) -> &Vault<Nor> {
        &self.pack.flash
    }
    /// The modules in order of their creation.
    pub fn modules(&self) -> impl Iterator<Item = &Module> {
        self.modules.iter().map(|m| &m.role)
    }
    /// Frames seen so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }
    /// Bus statistics of CAN 1 and CAN 2.
    pub fn stats(&self) -> [Stats; 2] {
        [self.wires[0].stats(), self.wires[1].stats()]
    }
    /// Begins to spend the planned faults.
    pub fn arm_faults(&mut self) {
        self.faults.arm();
    }
    /// Faults spent so far.
    pub fn faults(&self) -> FaultReport {
        self.faults.report()
    }
    /// Everything that the devices (without the app) refused.
    pub fn refused(&self) -> Refused {
        let all = self.modules.iter().map(|m| m.role.refused()).chain([self.pack.role.refused()]);
        all.fold(Refused::default(), |sum, r| Refused {
            sealed: sum.sealed + r.sealed,
            policy: sum.policy + r.policy,
            security: sum.security + r.security,
        })
    }
    /// Messages that never became whole or found no room, over all devices (without the app).
    pub fn lost_messages(&self) -> LinkCounters {
        let modules = self.modules.iter().map(|m| m.role.link_counters());
        modules.chain(self.pack.role.link_counters()).fold(LinkCounters::default(), |sum, c| LinkCounters {
            rejected_frames: sum.rejected_frames + c.rejected_frames,
            incomplete: sum.incomplete + c.incomplete,
            unsent: sum.unsent + c.unsent,
        })
    }
    /// True when every record and energy statement of every device was acknowledged. What a module without a pairing
    /// still holds has nobody left to take it.
    pub fn is_settled(&self) -> bool {
        let paired = |m: &&Device<Module>| m.role.relation().is_paired();
        let revoked = |m: &&Device<Module>| self.pack.role.has_revoked(m.role.identity().cid());
        let mut served = self.modules.iter().filter(|m| paired(m) && !revoked(m));
        self.pack.role.is_settled() && served.all(|m| m.role.is_settled())
    }

    /// The app sends a frame on CAN 1.
    pub fn send(&mut self, frame: Frame) -> Result<(), WorldError> {
        self.wires[0]
            .send(self.app, self.now, frame)
            .map_err(|source| WorldError::Wire { who: "app".into(), source })
    }

    /// The sensors show new values: every module and the pack report them.
    pub fn measure(&mut self, reading: &Reading) -> Result<(), WorldError> {
        if reading.modules.len() != self.modules.len() {
            return Err(WorldError::Modules { found: reading.modules.len(), expected: self.modules.len() });
        }
        let now = self.now;
        for (device, values) in self.modules.iter_mut().zip(&reading.modules) {
            let mut cells = heapless::Vec::new();
            let temps = &values.temp_mdegc;
            for (i, mv) in values.cell_mv.iter().enumerate() {
                let mc = temps.get(i).or(temps.first()).copied().unwrap_or(0);
                if cells.push(ScanCell { mv: *mv, celsius: (mc / 1_000) as i16 }).is_err() {
                    break;
                }
            }
            let sum: i64 = temps.iter().map(|t| i64::from(*t)).sum();
            let mean = sum.checked_div(temps.len() as i64).unwrap_or(0) as i32;
            let low = temps.iter().copied().min().unwrap_or(0);
            let high = temps.iter().copied().max().unwrap_or(0);
            let measurement =
                Measurement { cells, current_ma: values.current_ma, temperature_mc: [low, high, mean] };
            device
                .role
                .command(now, module::Command::Measure(measurement), &mut self.rng)
                .map_err(|source| WorldError::Role { who: device.name.clone(), source })?;
        }
        let measure = controller::Command::Measure { pack_mv: reading.pack_mv, pack_ma: reading.pack_ma };
        self.pack
            .role
            .command(now, measure, &mut self.rng)
            .map_err(|source| WorldError::Role { who: self.pack.name.clone(), source })?;
        self.drain()
    }

    /// Sets the temperature in thousandths of a degree Celsius above which modules ask for more (H175).
    pub fn set_temperature_limit(&mut self, limit_mc: i32) {
        self.modules.iter_mut().for_each(|m| m.role.set_temperature_limit(Some(limit_mc)));
    }

    /// Somebody at the pack presses its button or compares the digits it shows.
    pub fn tell_pack(&mut self, command: controller::Command) -> Result<(), WorldError> {
        self.pack
            .role
            .command(self.now, command, &mut self.rng)
            .map_err(|source| WorldError::Role { who: self.pack.name.clone(), source })?;
        self.drain()
    }

    /// When something happens next.
    pub fn next_event(&mut self) -> Option<Instant> {
        if !self.heard.is_empty() {
            return Some(self.now);
        }
        let wires = self.wires.iter().filter_map(Wire::next_event);
        let modules = self.modules.iter().filter_map(|m| m.role.due());
        wires.chain(modules).chain(self.pack.role.due()).min().map(|t| t.max(self.now))
    }

    /// Moves to the next event, at most to `until`; `tap` sees every frame as it went over its bus.
    ///
    /// Returns `None` once nothing happens before `until`, which is then the current time.
    pub fn step(
        &mut self,
        until: Instant,
        tap: &mut impl FnMut(Bus, &Delivery),
    ) -> Result<Option<Step>, WorldError> {
        self.drain()?;
        if let Some(step) = self.heard.pop_front() {
            return Ok(Some(step));
        }
        let Some(next) = self.next_event().filter(|t| *t <= until) else {
            self.now = self.now.max(until);
            return Ok(None);
        };
        let before = self.now;
        self.tick(next)?;
        let mut moved = false;
        for (index, bus) in [Bus::Can1, Bus::Can2].into_iter().enumerate() {
            if let Some(delivery) = self.wires[index].advance(next, &mut self.faults) {
                moved = true;
                self.now = self.now.max(delivery.at);
                tap(bus, &delivery);
                self.deliver(bus, &delivery)?;
            }
        }
        self.now = self.now.max(next);
        if !moved && self.now == before {
            // An end waits for room on its bus; time goes on.
            self.now = self.now + Duration::from_micros(100);
        }
        self.drain()?;
        Ok(Some(self.heard.pop_front().unwrap_or(Step::Quiet)))
    }

    fn tick(&mut self, next: Instant) -> Result<(), WorldError> {
        if self.pack.role.due().is_some_and(|t| t <= next) {
            self.now = self.now.max(next);
            let done = self.pack.role.tick(self.now, &mut self.rng);
            done.map_err(|source| WorldError::Role { who: self.pack.name.clone(), source })?;
        }
        for device in self.modules.iter_mut().filter(|m| m.role.due().is_some_and(|t| t <= next)) {
            self.now = self.now.max(next);
            let done = device.role.tick(self.now, &mut self.rng);
            done.map_err(|source| WorldError::Role { who: device.name.clone(), source })?;
        }
        Ok(())
    }

    fn deliver(&mut self, bus: Bus, delivery: &Delivery) -> Result<(), WorldError> {
        self.count(bus, &delivery.frame);
        let (now, frame, index) = (self.now, &delivery.frame, bus as usize);
        if self.pack.port[index] != Some(delivery.from) {
            let done = self.pack.role.frame(now, bus, frame, &mut self.rng);
            done.map_err(|source| WorldError::Role { who: self.pack.name.clone(), source })?;
        }
        match bus {
            Bus::Can1 if delivery.from != self.app => self.heard.push_back(Step::Heard(*frame)),
            Bus::Can1 => {}
            Bus::Can2 => {
                for device in self.modules.iter_mut().filter(|m| m.port[1] != Some(delivery.from)) {
                    let done = device.role.frame(now, frame, &mut self.rng);
                    done.map_err(|source| WorldError::Role { who: device.name.clone(), source })?;
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, bus: Bus, frame: &Frame) {
        if matches!(frame.id(), Id::Extended(raw) if raw >> 17 & 1 == 1) {
            self.counts.sealed += 1;
            return;
        }
        self.counts.clear += 1;
        let Ok(Class::Clear(id)) = classify(bus, frame) else { return };
        let paired = match bus {
            Bus::Can1 => self.pack.role.is_paired(),
            Bus::Can2 => self
                .modules
                .iter()
                .any(|m| m.role.relation().is_paired() && (id.node == 0 || m.role.node() == id.node)),
        };
        if paired && policy::is_protected_when_paired(bus, id.base) {
            self.counts.clear_protected += 1;
        }
    }

    /// Carries out what the roles want done: records first, then frames.
    fn drain(&mut self) -> Result<(), WorldError> {
        let now = self.now;
        while let Some(output) = self.pack.role.poll(now) {
            match output {
                controller::Output::Store(record) => store(&mut self.pack, &record, &mut self.rng)?,
                controller::Output::Transmit(bus, frame) => {
                    let index = bus as usize;
                    let Some(port) = self.pack.port[index] else { continue };
                    self.wires[index]
                        .send(port, now, frame)
                        .map_err(|source| WorldError::Wire { who: self.pack.name.clone(), source })?;
                }
                controller::Output::Event(controller::Event::State(state)) => {
                    self.heard.push_back(Step::State(state));
                }
                controller::Output::Event(_) => {}
            }
        }
        for device in &mut self.modules {
            while let Some(output) = device.role.poll(now) {
                match output {
                    module::Output::Store(record) => store(device, &record, &mut self.rng)?,
                    module::Output::Transmit(frame) => {
                        let Some(port) = device.port[1] else { continue };
                        self.wires[1]
                            .send(port, now, frame)
                            .map_err(|source| WorldError::Wire { who: device.name.clone(), source })?;
                    }
                    module::Output::Event(_) => {}
                }
            }
        }
        Ok(())
    }
}

fn store<T>(device: &mut Device<T>, record: &Record, rng: &mut impl CryptoRng) -> Result<(), WorldError> {
    flash::keep(&mut device.flash, record, rng)
        .map_err(|source| WorldError::Flash { who: device.name.clone(), source })
}
