//! The power of one device goes at every operation of its flash while a pack is commissioned and resumed, with and without
//! a device channel before the binding. Afterwards the installation becomes operational, no nonce was used twice, and
//! nothing was sealed that was not reserved.
#![allow(clippy::unwrap_used, clippy::panic)]

mod oracle;
#[path = "../../pack/tests/world/mod.rs"]
mod world;

use lct::{
    binding::Assurance, counter::Reservation, pake::ProverSecret, schedule::Direction, secret::Secret,
    storage::StorageKeys,
};
use pack::{
    app::Party,
    can::{Bus, Frame},
    controller::Command,
    identity::{Identity, Loaded, Record, key},
    lifecycle::Condition,
    link::{Inbound, Link},
    sealed_id::SealedId,
    session::tier_of,
    time::Instant,
    vault::Vault,
};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use sim::flash::{Nor, Operation, Tear};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use world::{Storage, World};

const APP: usize = 0;
const PACK: usize = 1;

struct Device {
    identity: Identity,
    vault: Option<Vault<Nor>>,
    /// Reservations made so far, by key.
    reserved: BTreeMap<u16, u32>,
}

/// Nonce bases that were used, and the reservations that were made when the last of them came.
type Bases = (BTreeSet<[u8; 4]>, u32);

/// The flash of every device, and the judge of everything that is sealed.
struct Bench {
    devices: Vec<Device>,
    /// One for each bus and direction.
    monitors: [Link<40>; 4],
    /// Each nonce with the message that it sealed.
    sealed: BTreeMap<[u8; 12], Vec<u8>>,
    /// Of each device, slot and tier.
    bases: BTreeMap<(usize, u8, u8), Bases>,
    rng: ChaCha20Rng,
    cuts: u32,
}

/// The code that is printed on the pack.
fn printed() -> ProverSecret {
    ProverSecret::from_stretched(&Secret::new([7; 80])).unwrap()
}

/// Records that fill the flash of a used device, so that commissioning opens a page and collects another; a pack keeps
/// what belongs to its printed code.
fn used(mut nor: Nor, who: usize, identity: &Identity, rng: &mut ChaCha20Rng) -> Nor {
    let mut vault = Vault::mount(&mut nor, &identity.key, rng).unwrap();
    if who == PACK {
        let record = Record::new(key::CODE, &[&[1], printed().record().expose()]).unwrap();
        vault.store(&record, rng).unwrap();
    }
    for n in 0..25 {
        vault.store(&Record::new(0x2000 + n / 5, &[&[n as u8; 256]]).unwrap(), rng).unwrap();
    }
    drop(vault);
    nor.record_history();
    nor
}

impl Bench {
    fn new(identities: &[Identity], seed: u64, cut: Option<(usize, u64, Tear)>) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let devices = identities.iter().enumerate().map(|(who, identity)| {
            let mut nor = used(Nor::in_memory(3), who, identity, &mut rng);
            if let Some((_, after, tear)) = cut.filter(|c| c.0 == who) {
                nor.cut_after(after, tear);
            }
            let vault = Vault::mount(nor, &identity.key, &mut rng).ok();
            Device { identity: identity.clone(), vault, reserved: BTreeMap::new() }
        });
        let devices = devices.collect();
        let ends = [(Bus::Can1, Direction::Ab), (Bus::Can1, Direction::Ba)];
        let ends = ends.into_iter().chain(ends.map(|(_, d)| (Bus::Can2, d)));
        let mut ends = ends.map(|(bus, direction)| Link::new(bus, direction));
        let monitors = [(); 4].map(|()| ends.next().unwrap());
        Bench { devices, monitors, sealed: BTreeMap::new(), bases: BTreeMap::new(), rng, cuts: 0 }
    }

    fn nor(&self, who: usize) -> &Nor {
        self.devices[who].vault.as_ref().unwrap().board()
    }

    fn judge(&mut self, who: usize, bus: Bus, id: SealedId, message: &[u8]) {
        let nonce: [u8; 12] = message[..12].try_into().unwrap();
        let known = self.sealed.entry(nonce).or_insert_with(|| message.to_vec());
        assert_eq!(known, message, "one nonce for two messages of device {who}");
        if (bus, id.device()) == (Bus::Can2, 0) {
            return;
        }
        let slot = if (who, bus) == (PACK, Bus::Can2) { id.device() } else { 0 };
        let tier = tier_of(id.level());
        let key = key::counter(slot, tier);
        let device = &self.devices[who];
        let keys = StorageKeys::new(&device.identity.key, &Secret::new([0; 32])).unwrap();
        let record = device.vault.as_ref().unwrap().load(key).unwrap().expect("a reservation is in flash");
        let reservation = Reservation::decode(&record, &keys.counters).unwrap();
        let counter = u64::from_be_bytes(message[4..12].try_into().unwrap());
        assert!(counter < reservation.limit, "device {who} used a counter that it had not reserved");
        // A new key starts at zero with a reservation of its own.
        let made = device.reserved.get(&key).copied().unwrap_or(0);
        let base: [u8; 4] = message[..4].try_into().unwrap();
        let (known, before) = self.bases.entry((who, slot, tier as u8)).or_default();
        // A long message of the epoch before may end after the first short ones of the next.
        if known.insert(base) {
            assert!(known.len() == 1 || made > *before, "device {who} took a reservation of another epoch");
            *before = made;
        }
    }
}

struct Shared(Rc<RefCell<Bench>>);

impl Storage for Shared {
    fn store(&mut self, who: usize, record: &Record) -> bool {
        let mut bench = self.0.borrow_mut();
        let Bench { devices, rng, .. } = &mut *bench;
        let Some(vault) = &mut devices[who].vault else { return false };
        let stored = vault.store(record, rng).is_ok();
        if stored && record.starts_with(b"MBC1") {
            *devices[who].reserved.entry(record.key).or_default() += 1;
        }
        stored
    }

    fn power_on(&mut self, who: usize) {
        let mut bench = self.0.borrow_mut();
        let Bench { devices, rng, cuts, .. } = &mut *bench;
        let device = &mut devices[who];
        let mut nor = device.vault.take().unwrap().into_board();
        // A cut that is still to come may come while the store is mounted.
        for _ in 0..2 {
            if nor.is_off() {
                *cuts += 1;
                nor.power_on();
            }
            let _cut = Vault::mount(&mut nor, &device.identity.key, rng);
        }
        device.vault = Some(Vault::mount(nor, &device.identity.key, rng).unwrap());
    }

    fn load(&mut self, who: usize, key: u16) -> Loaded {
        self.0.borrow().devices[who].vault.as_ref().unwrap().load(key)
    }

    fn sent(&mut self, who: usize, now: Instant, bus: Bus, frame: &Frame) {
        let mut bench = self.0.borrow_mut();
        let mut buffer = [0; pack::link::MESSAGE_MAX];
        for direction in 0..2 {
            let monitor = &mut bench.monitors[2 * (bus as usize) + direction];
            if let Some(Inbound::Sealed(id, n)) = monitor.receive(now, frame, |_| true, &mut buffer) {
                bench.judge(who, bus, id, &buffer[..n]);
            }
        }
    }
}

/// What a run left.
struct Outcome {
    histories: Vec<Vec<Operation>>,
    cuts: u32,
    messages: usize,
    records: usize,
    key_lost: u32,
}

fn up(w: &World) -> bool {
    w.app.relation().is_up()
        && w.pack.modules() == w.modules.len()
        && w.pack.modules_up()
        && w.modules.iter().all(|m| m.relation().is_up())
}

/// Makes the device channel that a binding with this assurance needs, and lets both sides start again.
fn open_channel(w: &mut World, assurance: Assurance) {
    let pack = w.identities[PACK].cid();
    if !w.app.bootstrap().is_up() {
        let now = w.now;
        match assurance {
            Assurance::Plain => {
                w.pack.command(now, Command::Button, &mut w.rng).unwrap();
                w.app.begin_plain(now, pack, &mut w.rng).unwrap();
            }
            _ => w.app.begin_code(now, pack, &printed(), &mut w.rng).unwrap(),
        }
        w.run_for(400);
        let now = w.now;
        let _cut = w.app.compare(now, true);
        let _cut = w.pack.command(now, Command::Compare { equal: true }, &mut w.rng);
        w.run_for(100);
    }
    [PACK, APP].into_iter().for_each(|who| w.restart(who));
    w.run_for(3_000);
}

/// Binds and pairs what is not up, until everything is.
fn commission(w: &mut World, assurance: Assurance, key_lost: &mut u32) {
    for attempt in 0..5 {
        w.run_for(3_000);
        let conditions = [w.app.condition(), w.pack.condition()];
        let lost = conditions.into_iter().chain(w.modules.iter().map(|m| m.condition()));
        *key_lost += lost.filter(|c| *c != Condition::Sound).count() as u32;
        // After a cut the rest of the installation needs its time to notice and to resume.
        if attempt > 0 && !up(w) {
            w.run_for(12_000);
        }
        if up(w) {
            return;
        }
        if !w.app.relation().is_up() {
            let (app, pack) = ((None, APP), (Some(Party::Pack), PACK));
            w.assurance = assurance;
            if assurance != Assurance::Attested {
                open_channel(w, assurance);
            }
            // Once one side is bound B0 binds no more; what is better takes its place.
            let _again = w.bind(app, pack) || {
                w.assurance = Assurance::Attested;
                assurance == Assurance::Plain && attempt > 0 && w.bind(app, pack)
            };
            let _again = w.app.relation().binding().is_some() && w.pair(app, pack);
            w.assurance = Assurance::Attested;
        }
        for m in 0..w.modules.len() {
            if !w.modules[m].relation().is_up() && w.modules[m].node() <= 31 {
                let (pack, module) =
                    ((Some(Party::Pack), PACK), (Some(Party::Module(w.modules[m].node())), m + 2));
                let _again = w.bind(pack, module) && w.pair(pack, module);
            }
        }
        if up(w) {
            return;
        }
    }
    let modules: Vec<_> = w.modules.iter().map(|m| (m.node(), m.relation().is_up(), m.condition())).collect();
    panic!(
        "not operational: app {}, pack {:?} {} {}, modules {modules:?}",
        w.app.relation().is_up(),
        w.pack.condition(),
        w.pack.modules(),
        w.pack.modules_up()
    );
}

/// How many modules, how app and pack are bound, and the seed.
type Case = (usize, Assurance, u64);

fn run((modules, assurance, seed): Case, cut: Option<(usize, u64, Tear)>) -> Outcome {
    let mut w = World::new(modules, seed);
    let bench = Rc::new(RefCell::new(Bench::new(&w.identities, seed, cut)));
    w.storage = Some(Box::new(Shared(bench.clone())));
    let mut key_lost = 0;
    commission(&mut w, assurance, &mut key_lost);
    // The next start of everything resumes.
    (0..modules + 2).for_each(|who| w.restart(who));
    commission(&mut w, assurance, &mut key_lost);
    let bench = bench.borrow();
    let all = 0..modules + 2;
    Outcome {
        histories: all.clone().map(|who| bench.nor(who).history().to_vec()).collect(),
        cuts: bench.cuts,
        messages: bench.sealed.len(),
        records: all.map(|who| oracle::no_nonce_twice(bench.nor(who).history())).sum(),
        key_lost,
    }
}

/// Roles and monitors are as large as on a device, and a test's stack is not.
const STACK: usize = 64 << 20;

fn with_room<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(test).unwrap();
    thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e))
}

/// What device `who` does to its flash while nothing is cut.
fn uncut(case: Case, who: usize) -> Vec<Operation> {
    let whole = with_room(move || run(case, None));
    assert_eq!((whole.cuts, whole.key_lost), (0, 0));
    whole.histories[who].clone()
}

/// True for a word in the middle of a run of words: neither of the first two nor of the last two of a record, of a
/// copy or of an erasure by zeros.
fn is_inner(operations: &[Operation], at: usize) -> bool {
    let place = |o: &Operation| match *o {
        Operation::Program { page, word, value } => Some((page, word, value == [0; 8])),
        _ => None,
    };
    let around = at.checked_sub(2).and_then(|first| operations.get(first..at + 3)).unwrap_or_default();
    let next = |pair: &[Operation]| match (place(&pair[0]), place(&pair[1])) {
        (Some((page, word, zero)), Some(then)) => then == (page, word + 1, zero),
        _ => false,
    };
    !around.is_empty() && around.windows(2).all(next)
}

/// Says where a run failed.
struct Place(usize, u64, Tear);

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("device {}, cut at operation {} ({:?})", self.0, self.1, self.2);
        }
    }
}

/// Cuts device `who` at every operation, as `tears` says for its number, but only at one of `stride` inner words.
fn cut_everywhere(case: Case, who: usize, stride: usize, tears: fn(usize) -> &'static [Tear]) -> u32 {
    let (modules, assurance, _) = case;
    let operations = uncut(case, who);
    let points: Vec<usize> =
        (0..operations.len()).filter(|n| n % stride == 0 || !is_inner(&operations, *n)).collect();
    let erasures = points.iter().filter(|n| matches!(operations[**n], Operation::Erase { .. })).count();
    let total = Mutex::new([0; 4]);
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
            for tear in tears(*point) {
                let _place = Place(who, *point as u64, *tear);
                let outcome = run(case, Some((who, *point as u64, *tear)));
                assert_eq!(outcome.cuts, 1);
                let seen = [1, outcome.messages, outcome.records, (outcome.key_lost > 0).into()];
                total.lock().unwrap().iter_mut().zip(seen).for_each(|(sum, n)| *sum += n);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).unwrap();
        }
    });
    let [cuts, messages, records, key_lost] = *total.lock().unwrap();
    covered(format_args!(
        "{} bound with {}, {modules} modules: {} flash operations, cut at {} of them ({erasures} erasures, one inner word of \
         {stride}), {cuts} cuts, {messages} sealed messages and {records} records judged, key-lost in {key_lost} runs",
        ["app", "pack", "module", "second module"][who],
        assurance.name(),
        operations.len(),
        points.len()
    ));
    assert!(points.len() > 200 && erasures > 0, "{} points, {erasures} erasures", points.len());
    cuts as u32
}

/// The way in which an operation is torn goes round.
fn one_way(point: usize) -> &'static [Tear] {
    const ROUND: [Tear; 5] =
        [Tear::Unreadable, Tear::Partial, Tear::Nothing, Tear::Unreadable, Tear::Complete];
    core::slice::from_ref(&ROUND[point % 5])
}

#[test]
fn the_app_is_cut_at_its_flash_operations() {
    cut_everywhere((1, Assurance::Attested, 1), APP, 8, one_way);
}

#[test]
fn the_pack_is_cut_at_its_flash_operations() {
    cut_everywhere((1, Assurance::Attested, 1), PACK, 8, one_way);
}

#[test]
fn the_module_is_cut_at_its_flash_operations() {
    cut_everywhere((1, Assurance::Attested, 1), 2, 8, one_way);
}

#[test]
fn app_and_pack_are_cut_while_a_code_leads_to_their_binding() {
    for who in [APP, PACK] {
        cut_everywhere((0, Assurance::Code, 1), who, 32, one_way);
    }
}

#[test]
fn app_and_pack_are_cut_while_a_comparison_leads_to_their_binding() {
    for who in [APP, PACK] {
        cut_everywhere((0, Assurance::Plain, 1), who, 32, one_way);
    }
}

#[test]
#[ignore = "every operation of every device, without leaving out any: minutes"]
fn every_device_is_cut_at_every_operation() {
    let attested = (0..3).map(|who| cut_everywhere((1, Assurance::Attested, 1), who, 1, one_way));
    let cuts: u32 = attested.sum();
    let cuts = [Assurance::Plain, Assurance::Code].into_iter().fold(cuts, |cuts, assurance| {
        let both = (0..2).map(|who| cut_everywhere((0, assurance, 1), who, 1, one_way));
        cuts + both.sum::<u32>()
    });
    covered(format_args!("{cuts} cuts"));
}

#[test]
#[ignore = "every device of two modules, torn in every way: long"]
fn two_modules_and_every_way_to_tear() {
    // One way to tear each operation is the matter of the test above; here every way, at fewer of the inner words.
    let case = (2, Assurance::Attested, 1);
    let cuts: u32 = (0..4).map(|who| cut_everywhere(case, who, 8, |_| &Tear::ALL)).sum();
    covered(format_args!("{cuts} cuts"));
}

#[test]
#[ignore = "10 000 random cuts: long"]
fn ten_thousand_random_cuts_of_commissioning() {
    with_room(random_cuts);
}

fn random_cuts() {
    let mut rng = ChaCha20Rng::seed_from_u64(99);
    let (mut cuts, mut runs) = (0, 0u64);
    while cuts < 10_000 {
        let (who, tear) = ((rng.next_u32() % 3) as usize, Tear::ALL[(rng.next_u32() % 4) as usize]);
        cuts += run((1, Assurance::Attested, runs), Some((who, rng.next_u64() % 700, tear))).cuts;
        runs += 1;
    }
    covered(format_args!("{cuts} cuts in {runs} runs"));
}

/// Says what was covered, past the harness that keeps the output of tests that pass to itself.
fn covered(what: std::fmt::Arguments<'_>) {
    use std::io::Write;
    // A closed stream is no reason to fail.
    let _closed = writeln!(std::io::stderr(), "power cuts: {what}");
}
