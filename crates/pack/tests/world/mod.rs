//! An app, a pack controller and modules on two lossless buses under virtual time, with a software authority.
#![allow(dead_code)]

pub mod cuts;
pub mod keeper;
pub mod policy;
pub mod rogue;

use lct::{
    attest::{CertificateType, DeviceCertificate, Subject},
    binding::{Assurance, BindRequest, Introduction},
    certificate::{Certificate, Issue},
    handshake::Kind,
    id::{BindingId, Cid, PairingId, Role},
    key_package::{KeyPackage, Parties},
    metadata::{ClearMetadata, Entity, LinkParameters, PairingContext, Timing},
    rebind::Rebind,
    revocation::{self, Reason, RevocationList, Revoked},
    secret::Secret,
    sign::{Signature, SigningKey},
    spk::{Spk, SpkSecret},
};
use pack::{
    app::{self, App, Party},
    can::{Bus, Frame},
    controller::{self, Controller},
    identity::{Identity, Loaded, Record, key},
    message::ScanCell,
    module::{self, Measurement, Module, Rating},
    pdu::{self, binding as op},
    testimony::{self, Told},
    time::{Duration, Instant},
};
use rand_chacha::{ChaCha20Rng, rand_core::Rng, rand_core::SeedableRng};
use std::collections::{BTreeMap, VecDeque};

pub type Flash = BTreeMap<u16, Vec<u8>>;

/// Where records go instead of [`World::flash`], and who sees each frame as its party sends it.
pub trait Storage {
    /// Stores a record of party `who`; false when the power went meanwhile.
    fn store(&mut self, who: usize, record: &Record) -> bool;
    /// Power comes back.
    fn power_on(&mut self, who: usize);
    /// Reads a record at a start.
    fn load(&mut self, who: usize, key: u16) -> Loaded;
    /// A frame leaves party `who`.
    fn sent(&mut self, who: usize, now: Instant, bus: Bus, frame: &Frame);
}

/// Buses on which frames take their time, in the place of [`World::wires`], where each takes the same and nobody waits for
/// another.
pub trait Buses {
    /// Party `who` sends a frame at `now`.
    fn send(&mut self, who: usize, now: Instant, bus: Bus, frame: &Frame);
    /// When the next frame arrives, if nothing else is sent before.
    fn next(&mut self) -> Option<Instant>;
    /// The frame that arrives next, at `to` at the latest: when, from whom (no party for others' frames), where.
    fn advance(&mut self, to: Instant) -> Option<(Instant, usize, Bus, Frame)>;
}

/// Who sent a frame, when, on which bus.
pub type Ear = dyn FnMut(usize, Instant, Bus, &Frame);

/// Takes an event of any party, to be printed.
pub type Owner = dyn FnMut(&dyn std::fmt::Debug);

pub struct Authority {
    pub spk: SpkSecret,
    pub root: SigningKey,
    pub batch: SigningKey,
    pub batch_cert: DeviceCertificate,
}

/// What the authority drew, learned and issued, as an authority that forgets nothing has it.
#[derive(Default)]
pub struct Held {
    pub bindings: Vec<HeldBinding>,
    pub certificates: Vec<HeldCertificate>,
}

pub struct HeldBinding {
    pub ids: [(Cid, Role); 2],
    pub spks: [Spk; 2],
    /// The package of side A, when both sides got one.
    pub package: Option<KeyPackage>,
}

pub struct HeldCertificate {
    pub bytes: Vec<u8>,
    pub spks: [Spk; 2],
    /// Halves of A and B, exchange key.
    pub secrets: [Secret<32>; 3],
}

pub struct World {
    pub now: Instant,
    pub rng: ChaCha20Rng,
    pub authority: Authority,
    /// Signs ceremonies and certificates in the authority's place.
    pub delegate: Option<SpkSecret>,
    pub held: Held,
    pub identities: Vec<Identity>,
    pub flash: Vec<Flash>,
    pub app: App,
    pub pack: Box<Controller>,
    pub modules: Vec<Module>,
    pub wires: [VecDeque<(usize, Frame)>; 2],
    pub log: Vec<(Instant, Bus, Frame)>,
    pub events: Vec<app::Event>,
    pub module_events: Vec<(usize, module::Event)>,
    pub pack_events: Vec<controller::Event>,
    /// What the next binding asks for.
    pub assurance: Assurance,
    /// A relationship key that the authority passes off as B's, with what attests it.
    pub forged: Option<(Spk, Signature)>,
    /// Lease that certificates grant; each is issued a second after the one before.
    pub timing: Timing,
    /// Certificates issued so far.
    pub issued: u32,
    /// What certificates are for, and their operations bits.
    pub rights: (PairingContext, u8),
    /// Revocation list that certificates name.
    pub crl_number: u32,
    /// Policy that certificates name.
    pub policy_version: u32,
    /// Bases that certificates allow to travel compact.
    pub compact: Vec<u16>,
    /// Number of the pack on CAN 1.
    pub number: u8,
    /// Bases that certificates let stay clear.
    pub stay_clear: Vec<u16>,
    /// Which sides (A, B) get sealed device halves with the next binding.
    pub packages: [bool; 2],
    /// What the authority says to who asks for leave to bind anew; none when it gives none.
    pub leave: fn(Rebind) -> Option<Rebind>,
    /// What A and B signed with the last binding, as the authority hears it.
    pub signed: [Option<Vec<u8>>; 2],
    /// Whether what devices state is kept, and acknowledged, at once.
    pub keeps_statements: bool,
    /// Called for each frame; false loses it.
    pub filter: Box<dyn FnMut(&mut Frame) -> bool>,
    pub storage: Option<Box<dyn Storage>>,
    /// With these a ceremony waits for each answer and no longer.
    pub buses: Option<Box<dyn Buses>>,
    /// Hears each frame as its party sends it.
    pub ear: Option<Box<Ear>>,
    /// Hears what each party tells its owner.
    pub owner: Option<Box<Owner>>,
    /// Hears who worked since it was called last: a party, or nobody of them.
    pub worked: Option<Box<dyn FnMut(Option<usize>)>>,
    /// How long after it was due everybody ticks.
    pub late: Duration,
}

/// So often in a row somebody may want to tick at once before that is a fault of its: a second of it.
const SPINS_MAX: u32 = 10_000;

/// Unix time at which bindings are made.
pub const BOUND: u32 = 1_700_000_000;

const APP: usize = 0;
const PACK: usize = 1;

/// Records hold secrets, which outlive none of their copies.
fn wipe(record: Option<Vec<u8>>) {
    if let Some(mut record) = record {
        record.fill(0);
        std::hint::black_box(&record);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.flash.iter_mut().flat_map(std::mem::take).for_each(|(_, record)| wipe(Some(record)));
    }
}

pub fn authority(rng: &mut ChaCha20Rng) -> Authority {
    let (root, batch) = (SigningKey::generate(rng), SigningKey::generate(rng));
    let subject = Subject {
        kind: CertificateType::Batch,
        cid: Cid::of("batch-2026"),
        role: Role::Authority,
        flags: 0,
        not_before: 0,
        not_after: u32::MAX,
        hw: [0; 8],
        key: batch.public(),
        code_commit: [0; 32],
    };
    let batch_cert = DeviceCertificate::issue(&subject, &root, rng);
    Authority { spk: SpkSecret::generate(rng).unwrap(), root, batch, batch_cert }
}

pub fn identity(a: &Authority, name: &str, role: Role, unique_id: u32, rng: &mut ChaCha20Rng) -> Identity {
    let key = SigningKey::generate(rng);
    let subject = Subject {
        kind: CertificateType::Device,
        cid: Cid::of(name),
        role,
        flags: 1,
        not_before: 0,
        not_after: u32::MAX,
        hw: *b"MB-TEST1",
        key: key.public(),
        code_commit: [0; 32],
    };
    Identity {
        component_id: name.try_into().unwrap(),
        serial: name.try_into().unwrap(),
        role,
        device: DeviceCertificate::issue(&subject, &a.batch, rng),
        batch: a.batch_cert,
        key,
        root: a.root.public(),
        authority: a.spk.public(),
        hardware: 1,
        firmware: 1,
        capacity_mwh: 1_482_000,
        unique_id,
    }
}

const RATING: Rating = Rating { charge_ma: 65_000, discharge_ma: -200_000, end_of_charge_mv: 8_300 };

impl World {
    pub fn new(modules: usize, seed: u64) -> World {
        World::numbered(modules, seed, 0)
    }

    /// The message with the first list of the authority, which ends a component. Another call signs another list of that number.
    pub fn revokes(&mut self, id: Cid) -> Vec<u8> {
        let subject = revocation::Subject::Component(id);
        let list = RevocationList {
            number: 1,
            this_update: BOUND,
            next_update: BOUND + 604_800,
            previous: [0; 32],
            entries: [Revoked { subject, reason: Reason::Retired, time: BOUND }].into_iter().collect(),
        };
        let list = list.issue(self.authority.spk.signing_key(), &mut self.rng).unwrap();
        [&[pdu::REVOCATION], list.as_slice()].concat()
    }

    /// The same with pack number `number` (0 or 1) on CAN 1.
    pub fn numbered(modules: usize, seed: u64, number: u8) -> World {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let a = authority(&mut rng);
        let mut identities = vec![
            identity(&a, "app-0001", Role::App, 0, &mut rng),
            identity(&a, "pack-0001", Role::Pack, 0, &mut rng),
        ];
        for m in 1..=modules as u32 {
            identities.push(identity(&a, &format!("module-{m:04}"), Role::Module, 0xA000_0000 + m, &mut rng));
        }
        let flash = vec![Flash::new(); identities.len()];
        let now = Instant::START;
        World {
            app: App::start(identities[APP].clone(), number, |_| Ok(None), now, &mut rng).unwrap(),
            pack: Box::new(
                Controller::start(identities[PACK].clone(), number, |_| Ok(None), now, &mut rng).unwrap(),
            ),
            modules: identities[2..]
                .iter()
                .map(|i| Module::start(i.clone(), RATING, |_| Ok(None), now, &mut rng).unwrap())
                .collect(),
            now,
            rng,
            authority: a,
            delegate: None,
            held: Held::default(),
            identities,
            flash,
            wires: Default::default(),
            log: Vec::new(),
            events: Vec::new(),
            module_events: Vec::new(),
            pack_events: Vec::new(),
            assurance: Assurance::Attested,
            forged: None,
            compact: Vec::new(),
            number,
            stay_clear: Vec::new(),
            timing: Timing { created: 1, valid_from: BOUND, expires: BOUND + 90 * 86_400, max_uses: 0 },
            issued: 0,
            rights: (PairingContext::BatteryManagement, 7),
            crl_number: 0,
            packages: [false; 2],
            leave: Some,
            signed: [None, None],
            policy_version: 1,
            keeps_statements: true,
            filter: Box::new(|_| true),
            storage: None,
            buses: None,
            ear: None,
            owner: None,
            worked: None,
            late: Duration::ZERO,
        }
    }

    /// Cuts the power of one party (0 app, 1 pack, 2.. modules) and starts it from its flash.
    pub fn restart(&mut self, who: usize) {
        let (identity, now) = (self.identities[who].clone(), self.now);
        let flash = std::mem::take(&mut self.flash[who]);
        let mut storage = self.storage.take();
        if let Some(storage) = &mut storage {
            storage.power_on(who);
        }
        let load = |k: u16| match &mut storage {
            Some(storage) => storage.load(who, k),
            None => flash.get(&k).map(|value| Record::new(k, &[value])).transpose(),
        };
        match who {
            APP => self.app = App::start(identity, self.number, load, now, &mut self.rng).unwrap(),
            PACK => *self.pack = Controller::start(identity, self.number, load, now, &mut self.rng).unwrap(),
            m => self.modules[m - 2] = Module::start(identity, RATING, load, now, &mut self.rng).unwrap(),
        }
        (self.storage, self.flash[who]) = (storage, flash);
    }

    /// Keeps a record; a party whose power went meanwhile starts again.
    fn keep(&mut self, who: usize, r: &Record) {
        if self.storage.as_mut().is_some_and(|storage| !storage.store(who, r)) {
            return self.restart(who);
        }
        match r.key {
            key::ERASE_ALL => {
                let gone = self.flash[who].extract_if(.., |k, _| !key::is_lasting(*k));
                gone.for_each(|(_, record)| wipe(Some(record)));
            }
            _ if r.is_empty() => wipe(self.flash[who].remove(&r.key)),
            _ => wipe(self.flash[who].insert(r.key, r.to_vec())),
        }
    }

    fn put(&mut self, who: usize, bus: Bus, frame: Frame) {
        if let Some(storage) = &mut self.storage {
            storage.sent(who, self.now, bus, &frame);
        }
        if let Some(ear) = &mut self.ear {
            ear(who, self.now, bus, &frame);
        }
        match &mut self.buses {
            Some(buses) => buses.send(who, self.now, bus, &frame),
            None => self.wires[bus as usize].push_back((who, frame)),
        }
    }

    fn tell(&mut self, event: &dyn std::fmt::Debug) {
        if let Some(owner) = &mut self.owner {
            owner(event);
        }
    }

    fn drain(&mut self) -> bool {
        let mut busy = false;
        let now = self.now;
        while let Some(out) = self.app.poll(now) {
            busy = true;
            match out {
                app::Output::Store(r) => self.keep(APP, &r),
                app::Output::Transmit(f) => self.put(APP, Bus::Can1, f),
                app::Output::Event(e) => {
                    self.tell(&e);
                    if self.keeps_statements
                        && let app::Event::Told(from, told) = &e
                    {
                        self.statement_kept(*from, told);
                    }
                    self.events.push(e)
                }
            }
        }
        while let Some(out) = self.pack.poll(now) {
            busy = true;
            match out {
                controller::Output::Store(r) => self.keep(PACK, &r),
                controller::Output::Transmit(bus, f) => self.put(PACK, bus, f),
                controller::Output::Event(e) => {
                    self.tell(&e);
                    self.pack_events.push(e);
                }
            }
        }
        for i in 0..self.modules.len() {
            while let Some(out) = self.modules[i].poll(now) {
                busy = true;
                match out {
                    module::Output::Store(r) => self.keep(i + 2, &r),
                    module::Output::Transmit(f) => self.put(i + 2, Bus::Can2, f),
                    module::Output::Event(e) => {
                        self.tell(&e);
                        self.module_events.push((i, e));
                    }
                }
            }
        }
        busy
    }

    /// Acknowledges a statement, as a gateway does that has it on disk.
    pub fn statement_kept(&mut self, from: Option<Party>, told: &Told) {
        let (now, number) = (self.now, testimony::number(told.signed.decode().unwrap().position()));
        match from {
            Some(party) => self.app.received(now, party, pdu::VALIDATION, number).unwrap(),
            None => self.app.statement_kept(now, number),
        }
    }

    /// Acknowledges a part of a log, as a gateway does that has it on disk.
    pub fn log_kept(&mut self, from: Option<Party>, receipt: u64) {
        let now = self.now;
        match from {
            Some(party) => {
                let _later = self.app.received(now, party, pdu::AUDIT, receipt);
            }
            None => self.app.log_kept(receipt),
        }
    }

    fn deliver(&mut self) -> bool {
        let mut busy = false;
        for (index, bus) in [Bus::Can1, Bus::Can2].into_iter().enumerate() {
            if let Some((from, mut frame)) = self.wires[index].pop_front() {
                busy = true;
                self.now = self.now + Duration::from_micros(270);
                if (self.filter)(&mut frame) {
                    self.arrive(from, bus, frame);
                }
            }
        }
        busy
    }

    /// A frame of party `from` is heard by the others.
    fn arrive(&mut self, from: usize, bus: Bus, frame: Frame) {
        self.log.push((self.now, bus, frame));
        let (now, rng) = (self.now, &mut self.rng);
        let mut worked = |who| self.worked.iter_mut().for_each(|hears| hears(who));
        worked(None);
        if from != PACK {
            self.pack.frame(now, bus, &frame, rng).unwrap();
            worked(Some(PACK));
        }
        match bus {
            Bus::Can1 if from != APP => self.app.frame(now, &frame, rng).unwrap(),
            Bus::Can1 => {}
            Bus::Can2 => {
                for (i, m) in self.modules.iter_mut().enumerate().filter(|(i, _)| i + 2 != from) {
                    m.frame(now, &frame, rng).unwrap_or_else(|e| panic!("module {i}: {e}"));
                    worked(Some(i + 2));
                }
            }
        }
    }

    /// Runs until `end`, every party ticking when it wants to.
    pub fn run_until(&mut self, end: Instant) {
        let mut spins = 0;
        loop {
            while self.drain() | self.deliver() {}
            let dues =
                [self.app.due(), self.pack.due()].into_iter().chain(self.modules.iter().map(Module::due));
            let due = dues.flatten().min();
            if let Some(buses) = &mut self.buses
                && let Some(next) = buses.next().filter(|t| *t <= end && due.is_none_or(|due| *t <= due))
            {
                if let Some((at, from, bus, mut frame)) = buses.advance(next) {
                    self.now = self.now.max(at);
                    if (self.filter)(&mut frame) {
                        self.arrive(from, bus, frame);
                    }
                }
                spins = 0;
                continue;
            }
            let Some(next) = due.filter(|t| *t <= end) else { break };
            let stuck = next <= self.now;
            self.now = self.now.max(next + self.late);
            spins = if stuck { spins + 1 } else { 0 };
            if stuck {
                self.now = self.now + Duration::from_micros(100);
            }
            // On a device that would be a processor that never rests.
            assert!(spins < SPINS_MAX, "somebody wants to tick at {next:?} and does nothing about it");
            let (now, rng) = (self.now, &mut self.rng);
            let mut worked = |who| self.worked.iter_mut().for_each(|hears| hears(who));
            self.app.tick(now, rng).unwrap();
            worked(None);
            self.pack.tick(now, rng).unwrap();
            worked(Some(PACK));
            for (i, m) in self.modules.iter_mut().enumerate() {
                m.tick(now, rng).unwrap();
                worked(Some(i + 2));
            }
        }
        self.now = self.now.max(end);
    }

    pub fn run_for(&mut self, ms: u64) {
        self.run_until(self.now + Duration::from_millis(ms));
    }

    /// Gives the parties `ms` for what is `seen` among the events: without [`World::buses`] all of it, with them as long as it
    /// takes, a run begun anew (H15) included.
    fn give_time(&mut self, ms: u64, seen: impl Fn(&World) -> bool) {
        if self.buses.is_none() {
            return self.run_for(ms);
        }
        let end = self.now + Duration::from_millis(10 * ms);
        while self.now < end && !seen(self) {
            self.run_until((self.now + Duration::from_micros(500)).min(end));
        }
    }

    /// Whether an answer came that nobody took yet.
    fn answered(&self, from: Option<Party>, kind: u8, operation: u8) -> bool {
        let fits = |e: &app::Event| matches!(e, app::Event::Answer(f, p) if *f == from && p.starts_with(&[kind, operation]));
        self.events.iter().any(fits)
    }

    pub fn give(&mut self, to: Option<Party>, message: &[u8]) {
        let now = self.now;
        match to {
            None => {
                let _refused = self.app.authority(now, message, &mut self.rng);
            }
            Some(to) => self.app.send(now, to, message).unwrap(),
        }
    }

    pub fn answer(&mut self, from: Option<Party>, kind: u8, operation: u8) -> Option<Vec<u8>> {
        let at = self.events.iter().position(
            |e| matches!(e, app::Event::Answer(f, p) if *f == from && p.starts_with(&[kind, operation])),
        )?;
        match self.events.remove(at) {
            app::Event::Answer(_, p) => Some(p.to_vec()),
            _ => None,
        }
    }

    /// Who signs in the next ceremony.
    fn issuer(&self) -> SpkSecret {
        self.delegate.as_ref().unwrap_or(&self.authority.spk).clone()
    }

    /// Binds `a` (None is the app itself) to `b`; returns whether both sides signed the record.
    pub fn bind(&mut self, a: (Option<Party>, usize), b: (Option<Party>, usize)) -> bool {
        let mut id = [0; 16];
        self.rng.fill_bytes(&mut id);
        self.bind_as(BindingId(id), a, b)
    }

    /// [`World::bind`] under an id that the issuer chose.
    pub fn bind_as(
        &mut self,
        binding_id: BindingId,
        a: (Option<Party>, usize),
        b: (Option<Party>, usize),
    ) -> bool {
        let ids = [a, b].map(|(_, i)| (self.identities[i].cid(), self.identities[i].role));
        let (mut keys, mut questions) = (Vec::new(), Vec::new());
        for (me, (party, _)) in [a, b].into_iter().enumerate() {
            let request = BindRequest {
                binding_id,
                own: ids[me],
                partner: ids[1 - me],
                nonce: [me as u8 + 1; 16],
                partner_access: heapless::Vec::from_slice(b"can").unwrap(),
            };
            let bytes = request.issue(self.issuer().signing_key(), &mut self.rng).unwrap();
            self.give(party, &[&[pdu::BINDING, op::REQUEST], bytes.as_slice()].concat());
            self.give_time(500, |w| w.answered(party, pdu::BINDING, op::KEYS));
            let Some(answer) = self.answer(party, pdu::BINDING, op::KEYS) else { return false };
            keys.push((
                Spk::from_slice(&answer[18..86]).unwrap(),
                Signature::from_slice(&answer[86..150]).unwrap(),
            ));
            questions.push(answer[150..].split_first_chunk::<16>().map(|(nonce, old)| Rebind {
                device: ids[me].0,
                nonce: *nonce,
                old: BindingId(old.try_into().unwrap()),
            }));
        }
        if let Some(forged) = self.forged {
            keys[1] = forged;
        }
        let spks = [keys[0].0, keys[1].0];
        let package = KeyPackage {
            kind: Kind::Bind,
            relation: [7; 16],
            half_own: Secret::random(&mut self.rng),
            half_peer: Secret::random(&mut self.rng),
            lct_half: Secret::new([0; 64]),
            salt: [5; 32],
            parameters: LinkParameters { iv_seed: [6; 16], kdf: 1, aead: 1, rotation_days: 30 },
            epoch: 0,
        };
        let packages = [package.clone(), package.for_peer(Secret::new([0; 64]))];
        let given = self.packages;
        let package = (given == [true; 2]).then_some(package);
        self.held.bindings.push(HeldBinding { ids, spks, package });
        for (me, (party, _)) in [a, b].into_iter().enumerate().filter(|(me, _)| given[*me]) {
            let parties = Parties { own: ids[me], peer: ids[1 - me] };
            let nonce = [me as u8 + 1; 16];
            let authority = self.issuer();
            let sealed = packages[me]
                .seal(&parties, &keys[me].0, &nonce, authority.signing_key(), &mut self.rng)
                .unwrap();
            let head = [pdu::KEY_PACKAGE, pdu::key_package::SEALED];
            self.give(party, &[&head, binding_id.0.as_slice(), &sealed].concat());
            self.give_time(500, |w| w.answered(party, pdu::KEY_PACKAGE, pdu::key_package::STATUS));
            let taken = self.answer(party, pdu::KEY_PACKAGE, pdu::key_package::STATUS);
            assert_eq!(taken.as_deref(), Some(&[&[3, 5], binding_id.0.as_slice(), &[0]].concat()[..]));
        }
        // B first, so that it knows A's key when A begins the handshake.
        for (me, (party, _)) in [a, b].into_iter().enumerate().rev() {
            let partner = [a.1, b.1][1 - me];
            let intro = Introduction {
                binding_id,
                own: ids[me].0,
                device: self.identities[partner].device,
                batch: self.authority.batch_cert,
                spk: keys[1 - me].0,
                nonce: [2 - me as u8; 16],
                attestation: keys[1 - me].1,
                access_commits: [[1; 32], [2; 32]],
                time: BOUND,
                assurance: self.assurance,
            };
            let bytes = intro.issue(self.issuer().signing_key(), &mut self.rng).unwrap();
            let leave = questions[me].and_then(self.leave);
            let token = leave.map(|l| l.issue(self.issuer().signing_key(), &mut self.rng).to_vec());
            while self.buses.is_some() && self.answer(party, pdu::BINDING, op::STATUS).is_some() {}
            let head = [pdu::BINDING, op::INTRODUCTION];
            self.give(party, &[&head, bytes.as_slice(), &token.unwrap_or_default()].concat());
            self.give_time(500, |w| w.answered(party, pdu::BINDING, op::STATUS));
        }
        self.give_time(1_000, |w| {
            [a, b].into_iter().all(|(party, _)| w.answered(party, pdu::BINDING, op::SIGNED))
        });
        self.signed = [a, b].map(|(party, _)| self.answer(party, pdu::BINDING, op::SIGNED));
        self.signed.iter().all(Option::is_some)
    }

    pub fn spk_of(&self, who: usize, peer: usize) -> Spk {
        let relation_peer = |r: &pack::relation::Relation| r.own_spk().unwrap().public();
        match (who, peer) {
            (APP, _) => relation_peer(self.app.relation()),
            (PACK, APP) => *self.app.relation().peer_spk().unwrap(),
            (PACK, m) => *self.modules[m - 2].relation().peer_spk().unwrap(),
            (m, _) => relation_peer(self.modules[m - 2].relation()),
        }
    }

    pub fn certificate(&mut self, a: usize, b: usize) -> Vec<u8> {
        let mut id = [0; 16];
        self.rng.fill_bytes(&mut id);
        let side = |i: &Identity| Entity {
            cid: i.cid(),
            role: i.role,
            access: heapless::Vec::from_slice(b"can").unwrap(),
        };
        let created = self.timing.created + self.issued;
        self.issued += 1;
        let (context, operations) = self.rights;
        let metadata = ClearMetadata {
            pairing_id: PairingId(id),
            context,
            entities: [side(&self.identities[a]), side(&self.identities[b])],
            timing: Timing { created, ..self.timing },
            operations,
            unencrypted_allowed: self.stay_clear.iter().copied().collect(),
            salt: [3; 32],
            iv_seed: [4; 16],
            policy_version: self.policy_version,
            compact: heapless::Vec::from_slice(&self.compact).unwrap(),
            crl_number: self.crl_number,
        };
        let mut clear = [0; 512];
        let n = metadata.encode(&mut clear).unwrap();
        let (spk_a, spk_b) = (self.spk_of(a, b), self.spk_of(b, a));
        let issuer = self.issuer();
        let [half_a, half_b, xk] = [(); 3].map(|()| Secret::<32>::random(&mut self.rng));
        let bytes = lct::certificate::issue(
            &Issue {
                pairing_id: PairingId(id),
                clear_metadata: &clear[..n],
                spk_a: &spk_a,
                spk_b: &spk_b,
                spk_authority: &issuer.public(),
                key: issuer.signing_key(),
                half_a: &half_a,
                half_b: &half_b,
                exchange_key: &xk,
                validation_nonce: &[9; 32],
                endpoint: "http://127.0.0.1/api/v1/pairings",
                timeout_s: 3600,
            },
            &mut self.rng,
        )
        .unwrap()
        .to_vec();
        let (spks, secrets) = ([spk_a, spk_b], [half_a, half_b, xk]);
        self.held.certificates.push(HeldCertificate { bytes: bytes.clone(), spks, secrets });
        bytes
    }

    /// Pairs two bound entities; returns whether both completions verify.
    pub fn pair(&mut self, a: (Option<Party>, usize), b: (Option<Party>, usize)) -> bool {
        let cert = self.certificate(a.1, b.1);
        let parsed = Certificate::parse(&cert).unwrap();
        let keys = [self.spk_of(a.1, b.1).sign_pub(), self.spk_of(b.1, a.1).sign_pub()];
        for party in [b.0, a.0] {
            let status = pdu::CERTIFICATE_STATUS;
            while self.buses.is_some() && self.answer(party, pdu::CERTIFICATE, status).is_some() {}
            self.give(party, &[&[pdu::CERTIFICATE], cert.as_slice()].concat());
            self.give_time(1_000, |w| w.answered(party, pdu::CERTIFICATE, status));
        }
        self.give_time(1_000, |w| {
            [a.0, b.0].into_iter().all(|party| w.answered(party, pdu::CERTIFICATE, pdu::PAIRING_COMPLETE))
        });
        let mut seen = Vec::new();
        for (party, key) in [a.0, b.0].into_iter().zip(keys) {
            let Some(answer) = self.answer(party, pdu::CERTIFICATE, pdu::PAIRING_COMPLETE) else {
                return false;
            };
            let done = lct::pairing::Completion {
                pairing_id: parsed.pairing_id,
                nonce: answer[18..50].try_into().unwrap(),
                cert_hash: parsed.hash(),
                th4: answer[50..82].try_into().unwrap(),
            };
            if key.verify(&done.digest(), &Signature::from_slice(&answer[82..]).unwrap()).is_err() {
                return false;
            }
            seen.push(done);
        }
        if seen[0] != seen[1] {
            eprintln!("{seen:02x?}");
        }
        seen[0] == seen[1]
    }

    /// From factory state to every channel up.
    pub fn commission(&mut self) {
        self.give_time(3_000, |w| {
            w.pack.modules() == w.modules.len() && w.modules.iter().all(|m| m.node() != module::UNREGISTERED)
        });
        assert_eq!(self.pack.modules(), self.modules.len(), "registered");
        assert!(self.bind((None, APP), (Some(Party::Pack), PACK)), "app and pack are bound");
        for m in 0..self.modules.len() {
            let module = Some(Party::Module(self.modules[m].node()));
            assert!(self.bind((Some(Party::Pack), PACK), (module, m + 2)), "pack and module {m} are bound");
        }
        assert!(self.pair((None, APP), (Some(Party::Pack), PACK)), "app and pack are paired");
        for m in 0..self.modules.len() {
            let module = Some(Party::Module(self.modules[m].node()));
            assert!(self.pair((Some(Party::Pack), PACK), (module, m + 2)), "pack and module {m} are paired");
        }
        let now = self.now;
        self.app.set_time(now, 1_700_000_000_000).unwrap();
        self.run_for(200);
    }

    pub fn measure(&mut self, ma: i32) {
        let now = self.now;
        let mut worked = |who| self.worked.iter_mut().for_each(|hears| hears(who));
        worked(None);
        for (i, m) in self.modules.iter_mut().enumerate() {
            let mut cells = heapless::Vec::new();
            for mv in [3_901, 3_902] {
                cells.push(ScanCell { mv, celsius: 25 }).unwrap();
            }
            let measurement = Measurement { cells, current_ma: ma, temperature_mc: [25_000; 3] };
            m.command(now, module::Command::Measure(measurement), &mut self.rng).unwrap();
            worked(Some(i + 2));
        }
        let pack_mv = 7_800 * self.modules.len() as u32;
        self.pack.command(now, controller::Command::Measure { pack_mv, pack_ma: ma }, &mut self.rng).unwrap();
        worked(Some(PACK));
    }
}
