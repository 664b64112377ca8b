//! The run itself: moves virtual time over the bench and the gateway, feeds measurements, and brings everything to
//! an orderly end.

mod field;
mod gap;
mod pace;
mod standing;
mod tell;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration as WallDuration;

use bus::pcapng::{Recorder, RecordingError};
use bus::udp::UdpSender;
use gateway::audit::AuditLogs;
use gateway::checkup::Channel;
use gateway::commission::Request;
use gateway::upload::{Progress, upload};
use gateway::word::{Line, Word, listen};
use gateway::{Gateway, Outbox, Output, Uplink};
use lct::id::{BindingId, Cid};
use lct::sign::{PublicKey, SigningKey};
use lct::spk::Spk;
use node::Chain;
use pack::app::Party;
use pack::can::Bus;
use pack::identity::Identity;
use pack::link::FrameFormat;
use pack::message::RelayState;
use pack::module::Module;
use pack::time::{Duration, Instant};
use pack::vault::Vault;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sim::fault::FaultConfig;
use sim::flash::{self, MODULE_PAGES, Nor};
use sim::reading::Reading;
use sim::wire::Delivery;
use sim::world::{Step, World};
use tokio::sync::watch;
use uuid::Uuid;

use super::super::Failure;
use super::super::check::{self, Report};
use super::super::data_dir::DataDir;
use super::bootstrap;
use super::entity::Entity;
use super::faults::Faults;
use super::key_log::KeyLog;
use super::members::access;
use super::parts::{app_flash, host_folder};
use super::report::Run;
use super::revoked::{Revoked, unpaired};
use super::source::Source;
use super::spoil;
use super::takeover;
use super::tasks::TaskLog;
use super::{Args, Fault, say};
use crate::custody::authority::Openings;
use pace::Pace;

/// Virtual time for commissioning before the run is given up.
const COMMISSION_LIMIT: Duration = Duration::from_secs(900);
/// Virtual time that the pack may take to switch on, and that the last statements may take to arrive.
const SWITCH_LIMIT: Duration = Duration::from_secs(30);
const SETTLE_LIMIT: Duration = Duration::from_secs(120);
/// Virtual time between two checks, and the longest that one may take.
const CHECK_PERIOD: Duration = Duration::from_secs(3_600);
const CHECK_LIMIT: Duration = Duration::from_secs(300);
/// Virtual time that channels get to come up before they are checked.
const UP_LIMIT: Duration = Duration::from_secs(30);
/// Pause on the wall between two questions whether an owner agreed; as long as that in virtual time.
const OWNER: WallDuration = WallDuration::from_secs(1);
/// Pause on the wall between two looks while nothing is to be measured.
const WAITING: WallDuration = WallDuration::from_millis(20);
/// Jobs in the outbox at which measuring waits for the ledger.
const OUTBOX_LIMIT: u64 = 256;
/// Jobs in the outbox of which every progress line warns: while the ledger is away nothing bounds them but the disk.
const OUTBOX_MANY: u64 = 100_000;
/// Virtual time between two looks for keys that do not fit.
const KEYS_PERIOD: Duration = Duration::from_secs(5);
/// Virtual time between two progress lines.
const PROGRESS: Duration = Duration::from_secs(60);

/// What a run is made of.
pub struct Bench<'a> {
    pub args: &'a Args,
    pub dir: &'a DataDir,
    pub chain: &'a Arc<Chain>,
    pub url: &'a str,
    pub start_ms: u64,
    pub clock: Arc<AtomicU64>,
    pub app: Identity,
    pub pack: Identity,
    pub modules: Vec<Identity>,
    pub account: SigningKey,
    pub plan: gateway::Plan,
    pub host: Uuid,
    /// The app from which this one takes the pack over, as long as it did not.
    pub lost: Option<String>,
    /// Who is the authority by now.
    pub authority: Spk,
    /// As of the installation.
    pub opening: Openings,
}

/// Where the run stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Keys are lost, or a pairing without which the pack cannot switch on was ended: it waits for the order that helps.
    Waiting,
    Commissioning,
    SwitchingOn,
    Measuring,
    Stopping,
    Done,
}

/// How a bench ended.
pub enum Ended {
    /// With figures, and the components that took part.
    Ran(Run, Vec<(String, Cid)>),
    /// With a report.
    Checked(Report),
}

struct Live<'a> {
    args: &'a Args,
    opening: Openings,
    clock: Arc<AtomicU64>,
    start_ms: u64,
    world: World<ChaCha20Rng>,
    gateway: Gateway,
    app_flash: Vault<Nor>,
    outbox: Arc<Outbox>,
    uploads: watch::Receiver<Progress>,
    logs: AuditLogs,
    recorders: Option<[Recorder; 2]>,
    can1_udp: Option<UdpSender>,
    recording_failed: Option<RecordingError>,
    key_log: Option<KeyLog>,
    rng: ChaCha20Rng,
    tasks: TaskLog,
    found: usize,
    /// Digits that the app shows and nobody compared yet.
    digits: Option<u32>,
    /// What the last checkup of the channels found, until it is reported.
    checked: Option<Vec<Channel>>,
    chain: Arc<Chain>,
    components: Vec<(String, Cid)>,
    dir: &'a DataDir,
    names: BTreeMap<Cid, String>,
    /// Whose pairing with the one above was ended before this start.
    unpaired: BTreeSet<Cid>,
    faults: Faults,
    entity: Entity,
    /// When keys that do not fit are looked up again.
    keys_due: Instant,
    /// When it is looked for keys of a laptop's bindings again.
    field_due: Instant,
    before: gap::Before,
}

impl Bench<'_> {
    /// Runs to the end of the data or until Ctrl-C, and returns the figures and the components.
    pub async fn run(self, mut source: Source, rng: &mut ChaCha20Rng) -> Result<Ended, Failure> {
        let mut components: Vec<(String, Cid)> = Vec::new();
        for identity in [&self.app, &self.pack].into_iter().chain(&self.modules) {
            components.push((identity.component_id.to_string(), identity.cid()));
        }
        let folder = self.dir.path().join(host_folder(&self.app.component_id));
        std::fs::create_dir_all(&folder)
            .map_err(|e| Failure::Failed(format!("{}: {}", folder.display(), super::reason(&e))))?;
        let outbox = Outbox::open(&folder.join("outbox.redb"))
            .map_err(|e| Failure::Failed(e.to_string()))?
            .holding(self.args.hold_mib << 20);
        if let Some(of) = &self.args.give_up_held {
            field::give_up_held(&outbox, of.as_deref())?;
        }
        let named = components.iter().map(|(name, cid)| (*cid, name.clone()));
        let logs = AuditLogs::new(&self.dir.audit(), named).map_err(|e| Failure::Failed(e.to_string()))?;
        let tasks = TaskLog::open(folder.join("commissioned"))?;
        if let Some(name) = &self.args.lose_keys {
            let all = [&self.app, &self.pack].into_iter().chain(&self.modules);
            spoil::keys(all, name, &self.dir.flash(), rng)?;
        }
        let app_flash = Nor::open(&self.dir.flash().join(app_flash(&self.app.component_id)), MODULE_PAGES)
            .and_then(|nor| flash::mount(nor, &self.app.key, rng))
            .map_err(|e| Failure::Failed(format!("store of the app: {e}")))?;
        let (count, ids) = (self.modules.len(), self.ids());
        let (pack, app) = (self.pack.component_id.to_string(), self.app.component_id.to_string());
        let through = self.args.through.map_or_else(|| self.url.to_owned(), |at| format!("http://{at}"));
        let client = api::Client::new(&through).map_err(|e| Failure::Failed(e.to_string()))?;
        if let Some(lost) = &self.lost {
            let app = self.app.component_id.as_str();
            say(&format!("{app} takes {pack} over from {lost}, whose computer is lost"));
            takeover::order(&client, self.dir, [app, &pack]).await?;
        }
        let word = Word::fetch(&client, &pack).await.map_err(|e| Failure::Failed(e.to_string()))?;
        let revoked = Revoked::read(&word.list, &self.authority.sign_pub())?;
        let present = count - revoked.modules(self.chain, &ids)?;
        let unpaired = unpaired(self.chain, &ids)?;
        let before = self
            .lost
            .as_ref()
            .map(|_| gap::Before::read(self.chain, &components))
            .transpose()?
            .unwrap_or_default();
        let faults = self.fault_config(&source);
        let mut world = World::power_on(
            self.pack,
            self.modules,
            Some(&self.dir.flash()),
            faults,
            Instant::START,
            child(rng),
        )
        .map_err(|e| Failure::Failed(e.to_string()))?;
        let start_ms = self.start_ms;
        let mut gateway = Gateway::start(
            self.app,
            *self.dir.chain_id(),
            |key| app_flash.load(key),
            tasks.done.clone(),
            present,
            Box::new(move |now| start_ms + now.as_millis()),
            Instant::START,
            rng,
        )
        .map_err(|e| Failure::Failed(e.to_string()))?;
        if let Some(limit_mc) = self.args.temperature_limit {
            world.set_temperature_limit(limit_mc);
        }
        gateway.set_plan(self.plan);
        gateway.set_field_keys(outbox.field_keys());
        gateway.set_room(outbox.held().has_room());
        let entity = Entity::open().await?;
        say(&format!("the app's host, which carries the messages of laptops, is at {}", entity.url));
        gateway.set_access(access(&entity.url, &self.host)?);
        if self.args.can_fd {
            world.set_format(FrameFormat::Fd);
            gateway.set_format(FrameFormat::Fd);
        }
        if self.args.bootstrap == lct::binding::Assurance::Plain
            && gateway.app().relation().binding().is_none()
        {
            let button = pack::controller::Command::Button;
            world.tell_pack(button).map_err(|e| Failure::Failed(e.to_string()))?;
            say("somebody presses the button of the pack: its commissioning window is open for ten minutes");
        }
        let recorders = match &self.args.record {
            Some(folder) => {
                std::fs::create_dir_all(folder)
                    .map_err(|e| Failure::Failed(format!("{}: {}", folder.display(), super::reason(&e))))?;
                let start_ns = start_ms * 1_000_000;
                let open =
                    |bus| Recorder::create(folder, bus, start_ns).map_err(|e| Failure::Failed(e.to_string()));
                Some([open(Bus::Can1)?, open(Bus::Can2)?])
            }
            None => None,
        };
        let can1_udp = self.args.can1_udp.as_ref().map(UdpSender::open).transpose();
        let can1_udp = can1_udp.map_err(|e| Failure::Failed(format!("CAN 1 over UDP: {e}")))?;
        let key_log = self.args.key_log.as_deref().map(KeyLog::create).transpose()?;
        let mut uplink = Uplink::new(client.clone(), self.account, *self.dir.chain_id(), child(rng));
        let (progress, waiting) = watch::channel(Progress::default());
        let mut live = Live {
            args: self.args,
            opening: self.opening,
            clock: self.clock,
            start_ms,
            world,
            gateway,
            app_flash,
            outbox: Arc::new(outbox),
            uploads: waiting.clone(),
            logs,
            recorders,
            can1_udp,
            recording_failed: None,
            key_log,
            rng: child(rng),
            tasks,
            found: 0,
            digits: None,
            checked: None,
            chain: self.chain.clone(),
            components: components.clone(),
            dir: self.dir,
            names: components.iter().map(|(name, cid)| (*cid, name.clone())).collect(),
            unpaired,
            faults: Faults::default(),
            entity,
            keys_due: Instant::START,
            field_due: Instant::START,
            before,
        };
        live.hear(&word);
        if self.args.check_only {
            // What does not come up is what the check is to find.
            live.wait_until_up(&mut uplink, present).await?;
            let report = live.check(&mut uplink, self.url, self.dir).await?;
            report.keep(self.dir.path())?;
            return Ok(Ended::Checked(report));
        }
        // In this order: a signal is heard from here on, however soon the pack is operational.
        let stopped = tokio::select! {
            biased;
            () = interrupted() => true,
            done = live.commission(&mut uplink, present) => done.map(|()| false)?,
        };
        if stopped {
            say("stopped before the pack was operational; the next start goes on from here");
            return Ok(Ended::Ran(Run { modules: count as u64, ..live.finish(0)? }, components));
        }
        if let Some(lost) = &self.lost {
            takeover::end(&client, self.dir, lost).await?;
        }
        live.learn_keys()?;
        let (finish, finished) = watch::channel(false);
        let (line, far) = Line::new();
        let mut renewals =
            Uplink::new(client.clone(), super::operator(self.dir)?, *self.dir.chain_id(), child(rng));
        let listener = tokio::spawn(listen(client, pack, app, far));
        let mut uploader = tokio::spawn(upload(live.outbox.clone(), uplink, progress, finished));
        let figures = tokio::select! {
            figures = live.operate(&mut source, &mut renewals, self.url, self.dir, waiting.clone(), line) => figures?,
            died = &mut uploader => return Err(uploader_failure(died)),
        };
        // It ends by itself; the bridge must not be asked while it stops.
        listener.abort();
        finish.send_replace(true);
        match uploader.await {
            Ok(Ok(())) => {}
            died => return Err(uploader_failure(died)),
        }
        let refused_jobs = live.outbox.depth().map_err(|e| Failure::Failed(e.to_string()))?.1;
        let held_jobs = live.outbox.held().jobs;
        if held_jobs > 0 {
            say(&format!(
                "{held_jobs} jobs are held until the journal of a laptop is brought (`modbatt delegate bring`); they are kept"
            ));
        }
        if let Some(trouble) = &waiting.borrow().trouble {
            say(&format!("ledger: {trouble}"));
        }
        Ok(Ended::Ran(
            Run { refused_jobs, held_jobs, modules: count as u64, ..live.finish(figures)? },
            components,
        ))
    }

    fn ids(&self) -> Vec<(Cid, Cid)> {
        // The partner whose binding signs: the app for the pack, the pack for its modules.
        let modules = self.modules.iter().map(|m| (m.cid(), self.pack.cid()));
        [(self.pack.cid(), self.app.cid())].into_iter().chain(modules).collect()
    }

    fn fault_config(&self, source: &Source) -> FaultConfig {
        let (mut drop, mut flip) = (0u32, 0u32);
        for fault in &self.args.fault {
            match fault {
                Fault::Drop(n) => drop = drop.saturating_add(*n),
                Fault::Flip(n) => flip = flip.saturating_add(*n),
            }
        }
        // Each row makes at least two sealed messages of every module and one of the pack.
        let per_row = 2 * self.modules.len() as u64 + 1;
        let expected_messages = source.rows().map_or(0, |rows| rows as u64 * per_row);
        FaultConfig { drop, flip, seed: self.args.seed, expected_messages }
    }
}

impl Live<'_> {
    /// Does everything up to the next event before `until`; true once `until` is reached.
    ///
    /// Requests to the authority are answered while virtual time stands still.
    async fn step(&mut self, until: Instant, uplink: &mut Uplink<ChaCha20Rng>) -> Result<bool, Failure> {
        let unbrought = |keys: &[PublicKey]| Self::unbrought(&self.outbox, &self.uploads, keys);
        self.entity.take(self.world.now(), &mut self.gateway, unbrought);
        let settled = self.outbox.take_settled();
        let told = self.gateway.settled(self.world.now(), &settled);
        told.map_err(|e| Failure::Failed(e.to_string()))?;
        loop {
            let now = self.world.now();
            let output = self.gateway.poll(now, &mut self.rng);
            let Some(output) = output.map_err(|e| Failure::Failed(e.to_string()))? else { break };
            match output {
                Output::Store(record) => flash::keep(&mut self.app_flash, &record, &mut self.rng)
                    .map_err(|e| Failure::Failed(format!("store of the app: {e}")))?,
                Output::Transmit(frame) => {
                    self.world.send(frame).map_err(|e| Failure::Failed(e.to_string()))?;
                }
                Output::Ask(request) => {
                    // From the introduction on the old keys may end at any moment, and with the record they do (H181).
                    let ends =
                        matches!(*request, Request::BindingKeys { .. } | Request::CompleteBinding { .. });
                    // Before anybody is introduced: what the old keys signed would have no ledger that knows them (H253).
                    let held = matches!(*request, Request::BindingKeys { .. })
                        && self.outbox.is_held(&self.gateway.keys_replaced());
                    let waits = if held && self.gateway.is_commissioned() {
                        Some(field::HELD.to_owned())
                    } else if ends && self.gateway.is_commissioned() && !self.is_uploaded().await? {
                        Some("what is on its way to the ledger".to_owned())
                    } else {
                        match uplink.execute(&request).await {
                            Ok(reply) => {
                                self.gateway.reply(now, reply).map_err(|e| Failure::Failed(e.to_string()))?;
                                None
                            }
                            // Who takes a pack over is bound in commissioning, and its owner can agree only now. An owner lives
                            // by the clock on the wall, which nothing else holds back here.
                            Err(e) if e.is_owner_asked() && !self.gateway.is_commissioned() => {
                                tokio::time::sleep(OWNER).await;
                                Some(e.to_string())
                            }
                            Err(e) => {
                                let taken = self.gateway.unanswered(now, e.to_string());
                                taken.map_err(|e| Failure::Failed(e.to_string()))?;
                                None
                            }
                        }
                    };
                    if let Some(why) = waits {
                        let first = self.gateway.postpone(now, request, &why);
                        if first.map_err(|e| Failure::Failed(e.to_string()))? {
                            say(&format!("a new binding waits: {why}"));
                        }
                    }
                }
                Output::Root => match uplink.root().await {
                    Ok(root) => {
                        if let Err(e) = self.gateway.verify(now, &root, &mut self.rng) {
                            say(&format!("bindings are not verified: {e}"));
                        }
                    }
                    Err(e) => say(&format!("bindings are not verified: {e}")),
                },
                Output::Keep(job, kept) => {
                    self.say_gap(&job);
                    let number = self.outbox.keep(&job).map_err(|e| Failure::Failed(e.to_string()))?;
                    match (kept, number) {
                        (Some(kept), Some(number)) => self.gateway.kept(now, kept, number),
                        (Some(kept), None) => self.gateway.not_kept(kept),
                        (None, _) => {}
                    }
                    self.gateway.set_room(self.outbox.held().has_room());
                }
                Output::Learn(key) => {
                    let height = self.chain.tip().height;
                    self.outbox.learn(&key, height).map_err(|e| Failure::Failed(e.to_string()))?;
                }
                Output::Log(of, part) => {
                    let kept = self.logs.write(of.cid, &part).map_err(|e| Failure::Failed(e.to_string()))?;
                    if let Some(receipt) = kept {
                        self.gateway
                            .log_kept(now, of, receipt)
                            .map_err(|e| Failure::Failed(e.to_string()))?;
                    }
                }
                Output::Keys(of, keys) => self.entity.answer(of, keys),
                Output::Carried(to, told) => self.entity.carried(to, told),
                Output::Event(event) => self.tell(event)?,
            }
        }
        let now = self.world.now();
        let next = [self.world.next_event(), self.gateway.due()].into_iter().flatten().min();
        let next = next.unwrap_or(until).max(now).min(until);
        let recorders = &mut self.recorders;
        let can1_udp = &mut self.can1_udp;
        let start_us = self.start_ms * 1_000;
        let failed = &mut self.recording_failed;
        let mut tap = |bus: Bus, delivery: &Delivery| {
            if bus == Bus::Can1
                && let Some(mirror) = can1_udp
                && let Err(e) = mirror.send(&delivery.frame.into(), start_us + delivery.at.as_micros())
            {
                say(&format!("CAN 1 is no longer copied to UDP: {e}"));
                *can1_udp = None;
            }
            if let Some(recorders) = recorders
                && let Err(e) = recorders[bus as usize].record(delivery.at, &delivery.frame, None)
            {
                failed.get_or_insert(e);
            }
        };
        let stepped = self.world.step(next, &mut tap).map_err(|e| Failure::Failed(e.to_string()))?;
        if let Some(e) = self.recording_failed.take() {
            return Err(Failure::Failed(e.to_string()));
        }
        if let Some(log) = &mut self.key_log {
            log.update(self.world.pack().identity(), self.world.pack_flash())?;
        }
        let now = self.world.now();
        self.clock.store(self.start_ms + now.as_millis(), Ordering::Relaxed);
        match stepped {
            Some(Step::Heard(frame)) => {
                self.gateway.frame(now, &frame, &mut self.rng).map_err(|e| Failure::Failed(e.to_string()))?;
            }
            Some(Step::State(state)) => say(&format!("pack is {}", state_name(state))),
            Some(Step::Quiet) | None => {}
        }
        if self.gateway.due().is_some_and(|due| due <= now) {
            self.gateway.tick(now, &mut self.rng).map_err(|e| Failure::Failed(e.to_string()))?;
        }
        Ok(stepped.is_none() && now >= until)
    }

    /// Takes what the authority says.
    fn hear(&mut self, word: &Word) {
        let now = self.world.now();
        let taken = self.gateway.take_successions(now, &word.successions);
        let taken = taken.and_then(|()| self.gateway.take_list(now, &word.list, &mut self.rng));
        if let Err(e) = taken.and_then(|()| self.gateway.take_token(now, &word.token)) {
            say(&format!("the app does not take what the authority says: {e}"));
        }
        let renewals = word.renewals.iter();
        self.gateway.renew(now, renewals.map(|p| (BindingId(p.binding_id.0), [p.a.as_str(), p.b.as_str()])));
    }

    /// Takes the orders that wait, and tells how they ended.
    async fn serve(&mut self, word: &Word, uplink: &mut Uplink<ChaCha20Rng>) {
        for (id, ending) in self.gateway.orders(self.world.now(), &word.orders) {
            if let Err(e) = uplink.order_ended(&id, &ending).await {
                say(&format!("how an order ended cannot be told yet: {e}"));
            }
        }
    }

    /// Gives the channels of an installation that was commissioned before time to come up.
    async fn wait_until_up(
        &mut self,
        uplink: &mut Uplink<ChaCha20Rng>,
        modules: usize,
    ) -> Result<(), Failure> {
        let limit = self.world.now() + UP_LIMIT;
        while !self.is_up(modules) && !self.step(limit, uplink).await? {}
        Ok(())
    }

    /// Asks every channel for an echo, and reports.
    async fn check(
        &mut self,
        uplink: &mut Uplink<ChaCha20Rng>,
        url: &str,
        dir: &DataDir,
    ) -> Result<Report, Failure> {
        let now = self.world.now();
        self.gateway.check(now, &mut self.rng).map_err(|e| Failure::Failed(e.to_string()))?;
        let limit = now + CHECK_LIMIT;
        let found = loop {
            let over = self.step(limit, uplink).await?;
            match self.checked.take() {
                Some(found) => break found,
                None if over => break Vec::new(),
                None => {}
            }
        };
        self.report(&found, url, dir).await
    }

    /// Checks everything that is known here; `found` is what the echoes found.
    async fn report(&self, found: &[Channel], url: &str, dir: &DataDir) -> Result<Report, Failure> {
        let time_ms = self.clock.load(Ordering::Relaxed);
        let mut report = Report::new(time_ms);
        let (app, pack) = (self.gateway.app().identity(), self.world.pack().identity());
        let modules: Vec<&Identity> = self.world.modules().map(Module::identity).collect();
        let all: Vec<&Identity> = [app, pack].into_iter().chain(modules.iter().copied()).collect();
        check::keys(&mut report, &all, u32::try_from(time_ms / 1_000).unwrap_or(u32::MAX));
        check::conditions(&mut report, self.conditions());
        let members = self.gateway.members();
        check::channels(&mut report, found, |party| {
            let cid = members.iter().find(|(p, _)| *p == party).map(|(_, cid)| *cid);
            let known = all.iter().find(|own| Some(own.cid()) == cid);
            known.map_or_else(|| format!("{party:?}"), |own| own.component_id.to_string())
        });
        let client = api::Client::new(url).map_err(|e| Failure::Failed(e.to_string()))?;
        let own_binding = self.gateway.app().relation().binding().map(|(id, _)| id.0);
        check::registration(&mut report, &client, app, None, None).await;
        check::registration(&mut report, &client, pack, Some(app), own_binding).await;
        for module in modules {
            check::registration(&mut report, &client, module, Some(pack), None).await;
        }
        check::revocations(&mut report, &client, &all).await;
        let app_side = self.gateway.app().relation().policy_in_force();
        let of_modules = self
            .world
            .modules()
            .map(|m| (m.identity().component_id.as_str(), m.relation().policy_in_force()));
        let versions: Vec<(&str, u32)> =
            [(pack.component_id.as_str(), app_side)].into_iter().chain(of_modules).collect();
        check::policies(&mut report, &client, &pack.component_id, &versions).await;
        check::logs(&mut report, &client, &dir.audit(), &all, &self.opening).await?;
        Ok(report)
    }

    async fn commission(&mut self, uplink: &mut Uplink<ChaCha20Rng>, modules: usize) -> Result<(), Failure> {
        let limit = self.world.now() + COMMISSION_LIMIT;
        while !self.is_up(modules) {
            self.compare()?;
            if self.step(limit, uplink).await? {
                return Err(Failure::Failed(format!(
                    "commissioning did not end within {} minutes of bus time; the pack has {} of {modules} modules",
                    COMMISSION_LIMIT.as_millis() / 60_000,
                    self.world.pack().modules()
                )));
            }
        }
        self.say_who_waits();
        Ok(())
    }

    /// What a person does in B0: looks at both sides and says whether they show the same.
    fn compare(&mut self) -> Result<(), Failure> {
        let Some(of_pack) = self.world.pack().bootstrap().digits() else { return Ok(()) };
        let Some(of_app) = self.digits.take() else { return Ok(()) };
        let equal = of_app == of_pack;
        say(&format!("the pack shows the digits {}", bootstrap::shown(of_pack)));
        say(if equal {
            "they are equal; in the field a person compares them, here the demo does"
        } else {
            "they differ"
        });
        let now = self.world.now();
        self.gateway.compare(now, equal).map_err(|e| Failure::Failed(e.to_string()))?;
        let verdict = pack::controller::Command::Compare { equal };
        self.world.tell_pack(verdict).map_err(|e| Failure::Failed(e.to_string()))
    }

    /// Switches on, measures, stops.
    async fn operate(
        &mut self,
        source: &mut Source,
        uplink: &mut Uplink<ChaCha20Rng>,
        url: &str,
        dir: &DataDir,
        mut waiting: watch::Receiver<Progress>,
        mut line: Line,
    ) -> Result<u64, Failure> {
        let mut interrupt = std::pin::pin!(interrupted());
        let mut reading = Reading::default();
        let mut rows = 0u64;
        let mut phase = Phase::Commissioning;
        let mut limit = self.world.now() + SWITCH_LIMIT;
        let mut pace = Pace::new(self.args.speed);
        let (mut origin, mut told) = (self.world.now(), self.world.now());
        let mut check_due = self.world.now() + CHECK_PERIOD;
        while phase != Phase::Done {
            let now = self.world.now();
            self.look_for_keys()?;
            self.move_held()?;
            match phase {
                Phase::Commissioning if !self.may_switch_on() => {
                    match self.gateway.is_operating() {
                        // What is lost was said.
                        _ if !self.lost().is_empty() || self.is_exchanged() => {}
                        true => say("no module is paired: `modbatt pair` pairs one with the pack"),
                        false => say("app and pack are not paired: `modbatt pair` pairs them"),
                    }
                    pace = Pace::new(self.args.speed);
                    (origin, phase) = (now, Phase::Waiting);
                }
                Phase::Waiting if !self.may_switch_on() => {}
                Phase::Commissioning | Phase::Waiting => {
                    self.set_state(RelayState::On)?;
                    (limit, phase) = (now + SWITCH_LIMIT, Phase::SwitchingOn);
                }
                Phase::SwitchingOn if self.world.pack().state() == RelayState::On => {
                    say("operational");
                    super::print(&format!("ready {url} data {}\n", dir.path().display()))?;
                    self.world.arm_faults();
                    pace = Pace::new(self.args.speed);
                    (origin, told, phase) = (now, now, Phase::Measuring);
                }
                Phase::SwitchingOn if now >= limit => {
                    return Err(Failure::Failed(
                        "the pack did not switch on; its modules do not answer".into(),
                    ));
                }
                Phase::Stopping if !self.gateway.app().relation().is_paired() => {
                    say("app and pack are not paired: what the pack measured since stays in it");
                    phase = Phase::Done;
                }
                Phase::Stopping if now >= limit => {
                    return Err(Failure::Failed(
                        "the last statements of the pack did not arrive; what the devices measured since is lost when they lose power".into(),
                    ));
                }
                Phase::Stopping if self.world.is_settled() && self.gateway.is_settled() => {
                    phase = Phase::Done
                }
                _ => {}
            }
            let mut until = match phase {
                Phase::Waiting | Phase::SwitchingOn | Phase::Stopping => now + Duration::from_millis(50),
                _ => now,
            };
            if phase == Phase::Measuring {
                match source.next_ms(rows) {
                    Some(ms) => until = origin + Duration::from_millis(ms),
                    None => {
                        (phase, limit) = self.stop()?;
                        continue;
                    }
                }
            }
            let served = matches!(phase, Phase::Measuring | Phase::Waiting);
            let paced = if served { pace.limit(origin, until) } else { until };
            let reached = loop {
                if self.step(paced, uplink).await? {
                    break paced == until;
                }
            };
            if !served {
                tokio::task::yield_now().await;
                continue;
            }
            if phase == Phase::Waiting {
                tokio::time::sleep(WAITING).await;
            }
            tokio::select! {
                biased;
                () = &mut interrupt => {
                    say("stopping");
                    (phase, limit) = self.stop()?;
                    continue;
                }
                waited = self.breathe(&mut waiting, &pace, origin, until) => waited?,
            }
            let bus = self.gateway.bus(self.world.now());
            line.bus.send_if_modified(|known| std::mem::replace(known, bus) != bus);
            if line.words.has_changed().unwrap_or(false)
                && let Some(word) = line.words.borrow_and_update().clone()
            {
                self.hear(&word);
                self.serve(&word, uplink).await;
            }
            let now = self.world.now();
            if (phase == Phase::Measuring && now >= check_due) || check::is_asked(dir.path()) {
                check_due = now + CHECK_PERIOD;
                self.gateway.check(now, &mut self.rng).map_err(|e| Failure::Failed(e.to_string()))?;
            }
            if let Some(found) = self.checked.take() {
                let report = self.report(&found, url, dir).await?;
                report.keep(dir.path())?;
                say(&report.summary());
            }
            if reached && phase == Phase::Measuring {
                let connected = self.world.pack().state() == RelayState::On;
                if source.read(connected, &mut reading) {
                    rows += 1;
                    self.world.measure(&reading).map_err(|e| Failure::Failed(e.to_string()))?;
                }
                if self.world.now().saturating_since(told) >= PROGRESS {
                    told = self.world.now();
                    self.progress(rows, source, &reading, &waiting.borrow().clone());
                }
            }
        }
        Ok(rows)
    }

    /// Waits until the ledger keeps up and the wall clock has come so far.
    async fn breathe(
        &self,
        waiting: &mut watch::Receiver<Progress>,
        pace: &Pace,
        origin: Instant,
        until: Instant,
    ) -> Result<(), Failure> {
        // A ledger that is away holds up no pack.
        let slow = |p: &Progress| p.waiting > OUTBOX_LIMIT && !p.away;
        while slow(&waiting.borrow()) {
            if waiting.changed().await.is_err() {
                break;
            }
        }
        pace.wait(origin, until.min(self.world.now())).await;
        Ok(())
    }

    /// The app's own faults, which nobody reports to it.
    fn own_faults(&mut self) {
        let app = self.gateway.app();
        let active = app.health().active().map(|fault| (fault.code as u16, fault.code.severity() as u8));
        self.faults.report(app.identity().component_id.as_str(), active);
    }

    fn name(&self, party: Party) -> String {
        let member = self.gateway.members().into_iter().find(|(of, _)| *of == party);
        let name = member.and_then(|(_, cid)| self.names.get(&cid).cloned());
        name.unwrap_or_else(|| format!("{party:?}"))
    }

    fn progress(&mut self, rows: u64, source: &Source, reading: &Reading, uploads: &Progress) {
        let of = source.rows().map_or(String::new(), |n| format!(" of {n}"));
        self.own_faults();
        let trouble = uploads.trouble.as_deref().map_or(String::new(), |t| format!("; ledger: {t}"));
        let many = match uploads.waiting > OUTBOX_MANY {
            true => " (they fill the disk until the ledger is back)",
            false => "",
        };
        let (volts, amps) = (f64::from(reading.pack_mv) / 1_000.0, f64::from(reading.pack_ma) / 1_000.0);
        say(&format!(
            "row {rows}{of}: {volts:.2} V, {amps:.2} A; {} sealed frames, {} jobs waiting{many}{}; {}{trouble}",
            self.world.counts().sealed,
            uploads.waiting,
            field::held_in_words(&self.outbox.held()),
            self.faults.in_words()
        ));
    }

    fn set_state(&mut self, state: RelayState) -> Result<(), Failure> {
        let now = self.world.now();
        self.gateway.set_state(now, state, &mut self.rng).map_err(|e| Failure::Failed(e.to_string()))
    }

    fn stop(&mut self) -> Result<(Phase, Instant), Failure> {
        self.set_state(RelayState::Off)?;
        Ok((Phase::Stopping, self.world.now() + SETTLE_LIMIT))
    }

    fn finish(mut self, rows: u64) -> Result<Run, Failure> {
        self.own_faults();
        if let Some(recorders) = self.recorders {
            for recorder in recorders {
                recorder.finish().map_err(|e| Failure::Failed(e.to_string()))?;
            }
        }
        let counts = self.world.counts();
        let (gaps, _) = self.gateway.losses();
        let faults = self.world.faults();
        let lost = self.world.lost_messages();
        let app = self.gateway.app().link_counters();
        Ok(Run {
            rows,
            frames_sealed: counts.sealed,
            frames_clear: counts.clear,
            frames_clear_after_pairing: counts.clear_protected,
            open_failures: u64::from(self.world.refused().sealed + self.gateway.app().refused().sealed),
            messages_lost: u64::from(lost.incomplete + lost.unsent + app.incomplete + app.unsent),
            gaps,
            disturbed: (faults.dropped, faults.flipped),
            faults: self.faults,
            virtual_ms: self.world.now().as_millis(),
            ..Run::default()
        })
    }
}

async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without a signal handler the run ends only with its data.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn child(rng: &mut ChaCha20Rng) -> ChaCha20Rng {
    ChaCha20Rng::from_rng(rng)
}

fn state_name(state: RelayState) -> &'static str {
    match state {
        RelayState::Off => "off",
        RelayState::Standby => "in standby",
        RelayState::Precharge => "in precharge",
        RelayState::On => "on",
    }
}

fn uploader_failure(died: Result<Result<(), gateway::OutboxError>, tokio::task::JoinError>) -> Failure {
    match died {
        Ok(Err(e)) => Failure::Failed(e.to_string()),
        _ => Failure::Failed("the upload to the ledger ended unexpectedly".into()),
    }
}
