//! What is left in memory of secrets that were dropped (`spec/channel.md`, H9, H138).
//!
//! This program starts itself again as a child that commissions, then drops or erases, and stops at each stage. The
//! parent reads all writable memory of the child and searches it for the secrets, which the child told it in a masked
//! form. What must be found while it is in use has to be gone afterwards: the first proves that the search sees.
//!
//! Moves leave copies in memory that nobody uses any more, on the stack and in freed blocks, and in room that a larger
//! value has and does not use; what runs next overwrites it. The child does that before the last search: what is
//! found then is held by somebody. The place where a device keeps a relationship is searched without that.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod world;

use lct::{
    binding::Assurance,
    certificate::Certificate,
    exchange::Side,
    id::Cid,
    pake::ProverSecret,
    schedule::{Direction, MasterSecret, Tier},
    secret::Secret,
    spk::SpkSecret,
};
use pack::{app::Party, identity::key, lifecycle::Condition, module, relation::Relation};
use rand_chacha::{ChaCha20Rng, rand_core::Rng, rand_core::SeedableRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    hint::black_box,
    io::{BufRead, BufReader, Write},
    os::unix::fs::FileExt,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};
use world::World;

const APP: usize = 0;
const PACK: usize = 1;
const MODULE: usize = 2;
/// Names the scenario to the child.
const SCENARIO: &str = "REMAINS_SCENARIO";
/// Bytes in a row that count as found.
const WINDOW: usize = 8;
const MASK: u8 = 0x5A;

// --- the child ----------------------------------------------------------------------------------------

/// Tells the parent a secret. No copy of it is made here.
fn tell(name: &str, secret: &[u8]) {
    let mut line = format!("secret {name} ");
    for byte in secret {
        line += &format!("{:02x}", byte ^ MASK);
    }
    println!("{line}");
}

fn shown(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Stands still until the parent has searched.
fn stage(name: &str) {
    println!("stage {name}");
    std::io::stdout().flush().unwrap();
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// Overwrites the stack below, as far as `frames` of four kilobytes reach.
#[inline(never)]
fn overwrite(frames: u32) -> u8 {
    let room = black_box([0; 4096]);
    if frames == 0 { room[0] } else { overwrite(frames - 1) ^ black_box(&room)[1] }
}

/// Writes to every free block of the heap.
fn reuse() {
    let mut blocks: Vec<Vec<u8>> = Vec::with_capacity(1 << 16);
    let mut size = 100_000;
    while size > 2_048 {
        blocks.extend((0..2_000_000 / size).map(|_| vec![0xEE; size]));
        size = size * 4 / 5;
    }
    // A block has sixteen bytes more than the one before; eight of each are the allocator's.
    for size in (24..=2_056).rev().step_by(16) {
        blocks.extend((0..256).map(|_| vec![0xEE; size]));
    }
    black_box(&blocks);
    drop(blocks);
    overwrite(1_500);
}

/// A generator keeps what it drew last: other numbers take its place.
fn draw_others(rng: &mut ChaCha20Rng) {
    *rng = ChaCha20Rng::seed_from_u64(0);
    let mut others = [0; 1024];
    rng.fill_bytes(&mut others);
    black_box(others);
}

/// A device channel by the code, bindings, pairings, sealed traffic.
fn commissioned() -> Box<World> {
    let mut w = Box::new(World::new(1, 77));
    let code = ProverSecret::from_stretched(&Secret::new([7; 80])).unwrap();
    let record = code.record();
    w.flash[PACK].insert(key::CODE, [&[1][..], record.expose()].concat());
    w.restart(PACK);
    tell("w0 of the code", &record.expose()[..32]);
    let now = w.now;
    w.app.begin_code(now, Cid::of("pack-0001"), &code, &mut w.rng).unwrap();
    w.run_for(300);
    assert!(w.app.bootstrap().is_up());
    w.assurance = Assurance::Code;
    assert!(w.bind((None, APP), (Some(Party::Pack), PACK)));
    w.assurance = Assurance::Attested;
    w.run_for(3_000);
    let module = (Some(Party::Module(w.modules[0].node())), MODULE);
    assert!(w.bind((Some(Party::Pack), PACK), module));
    assert!(w.pair((None, APP), (Some(Party::Pack), PACK)));
    assert!(w.pair((Some(Party::Pack), PACK), module));
    w.measure(1_000);
    w.run_for(3_000);
    assert!(w.app.relation().is_up() && w.modules[0].relation().is_up());
    w
}

/// The secrets in the flash of `who`, at the places of `spec/channel.md`, H61.
fn tell_flash(w: &World, who: usize, name: &str) {
    for slot in 0..2 {
        let places = [
            (key::bond(slot), "seed", 170),
            (key::session(slot), "master secret", 65),
            (key::binding(slot), "master secret of the binding", 41),
        ];
        for (record, what, at) in places {
            if let Some(record) = w.flash[who].get(&record).filter(|r| r.len() > at) {
                tell(&format!("{name}, slot {slot}: {what}"), &record[at..at + 32]);
            }
        }
    }
    if let Some(session) = w.flash[who].get(&key::session(0)) {
        println!("told {name} {}", shown(&session[29..65]));
    }
    tell(&format!("{name}: next key of the log"), &w.flash[who][&key::AUDIT_HEAD][41..73]);
}

fn tell_identity(w: &World, who: usize, name: &str) {
    let scalar = w.identities[who].key.to_bytes();
    tell(&format!("{name}: identity"), scalar.expose());
}

fn all_roles() {
    let kept = Box::new([0xC5, 0x1E, 0x77, 0x90, 0x2B, 0xD4, 0x68, 0xAF]);
    tell("kept on purpose", &*kept);
    let mut w = commissioned();
    for (who, name) in [(APP, "app"), (PACK, "pack"), (MODULE, "module")] {
        tell_flash(&w, who, name);
        tell_identity(&w, who, name);
    }
    stage("in use");
    draw_others(&mut w.rng);
    drop(w);
    stage("dropped");
    reuse();
    stage("reused");
    black_box(kept);
}

fn erased(command: module::Command) {
    let mut w = commissioned();
    tell_flash(&w, MODULE, "module");
    tell_identity(&w, MODULE, "kept on purpose, module");
    println!("place {:p} {}", w.modules[0].relation(), size_of::<Relation>());
    stage("in use");
    let (now, expected) = match &command {
        module::Command::Tamper => (w.now, Condition::Tampered),
        _ => (w.now, Condition::Sound),
    };
    w.modules[0].command(now, command, &mut w.rng).unwrap();
    w.run_for(2_000);
    assert_eq!(w.modules[0].condition(), expected);
    stage("erased");
    // Its peers share the keys: all go, and only an identity stays.
    draw_others(&mut w.rng);
    let identity = Box::new(w.identities[MODULE].clone());
    drop(w);
    reuse();
    stage("reused");
    black_box(&identity);
}

fn authority(keep: bool) {
    let mut w = Box::new(World::new(0, 78));
    w.run_for(3_000);
    assert!(w.bind((None, APP), (Some(Party::Pack), PACK)));
    let certificate = w.certificate(APP, PACK);
    for (who, name) in [(APP, "own seed A"), (PACK, "own seed B")] {
        tell(name, &w.flash[who][&key::bond(0)][170..202]);
    }
    let kept = keep.then(|| {
        let own = w.app.relation().own_spk().unwrap();
        let parsed = Certificate::parse(&certificate).unwrap();
        Box::new(parsed.open_section(Side::A, own, &w.authority.spk.public()).unwrap())
    });
    println!("told certificate {}", shown(&certificate));
    println!("told authority {}", shown(&w.authority.spk.public().0));
    draw_others(&mut w.rng);
    drop(w);
    stage("issued");
    reuse();
    stage("reused");
    black_box(kept);
}

/// Not a test of its own: what the parent starts.
#[test]
fn child() {
    // The harness leaves its line open.
    println!();
    match std::env::var(SCENARIO).as_deref() {
        Ok("all roles") => all_roles(),
        Ok("factory reset") => erased(module::Command::FactoryReset),
        Ok("tamper") => erased(module::Command::Tamper),
        Ok("authority") => authority(false),
        Ok("authority that keeps") => authority(true),
        Ok(other) => panic!("no scenario {other}"),
        Err(_) => {}
    }
}

// --- the parent ---------------------------------------------------------------------------------------

struct Observer {
    child: Child,
    stdin: ChildStdin,
    lines: BufReader<ChildStdout>,
    secrets: BTreeMap<String, Vec<u8>>,
    /// Where the child keeps its relationship: address and length.
    place: (u64, usize),
    told: BTreeMap<String, Vec<u8>>,
}

fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect()
}

impl Observer {
    fn start(scenario: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(SCENARIO, scenario)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, lines) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Observer { child, stdin, lines, secrets: BTreeMap::new(), place: (0, 0), told: BTreeMap::new() }
    }

    /// Lets the child go on to `stage` and takes in what it tells until then.
    fn until(&mut self, stage: &str) {
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "the child ended before `{stage}`");
            let line = line.trim_end();
            if let Some(rest) = line.strip_prefix("secret ") {
                let (name, digits) = rest.rsplit_once(' ').unwrap();
                let plain: Vec<u8> = hex(digits).iter().map(|byte| byte ^ MASK).collect();
                assert!(plain.iter().collect::<BTreeSet<_>>().len() > 4, "{name} is no secret");
                self.secrets.insert(name.into(), plain);
            } else if let Some(name) = line.strip_prefix("stage ") {
                assert_eq!(name, stage);
                return;
            } else if let Some(rest) = line.strip_prefix("place ") {
                let (start, size) = rest.split_once(' ').unwrap();
                let start = u64::from_str_radix(start.trim_start_matches("0x"), 16).unwrap();
                self.place = (start, size.parse().unwrap());
            } else if let Some(rest) = line.strip_prefix("told ") {
                let (name, digits) = rest.split_once(' ').unwrap();
                self.told.insert(name.into(), hex(digits));
            }
        }
    }

    fn go_on(&mut self) {
        self.stdin.write_all(b"\n").unwrap();
    }

    /// Names of the secrets of which a part lies in one of `regions`.
    fn found_in(&self, regions: &[Vec<u8>]) -> BTreeSet<&str> {
        // The two ends of a channel have the same secrets.
        let mut windows: BTreeMap<[u8; WINDOW], Vec<&str>> = BTreeMap::new();
        let mut begins = vec![false; 1 << 16];
        for (name, secret) in &self.secrets {
            // Numbers lie with their last byte first.
            let reversed: Vec<u8> = secret.iter().rev().copied().collect();
            for window in secret.windows(WINDOW).chain(reversed.windows(WINDOW)) {
                windows.entry(window.try_into().unwrap()).or_default().push(name);
                begins[usize::from(u16::from_be_bytes([window[0], window[1]]))] = true;
            }
        }
        let mut found = BTreeSet::new();
        for window in regions.iter().flat_map(|region| region.windows(WINDOW)) {
            if begins[usize::from(u16::from_be_bytes([window[0], window[1]]))]
                && let Some(names) = windows.get(window)
            {
                found.extend(names);
            }
        }
        found
    }

    fn memory(&self) -> std::fs::File {
        std::fs::File::open(format!("/proc/{}/mem", self.child.id())).unwrap()
    }

    /// Names of the secrets of which a part lies anywhere in the child's memory.
    fn found(&self) -> BTreeSet<&str> {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.child.id())).unwrap();
        let memory = self.memory();
        let mut regions = Vec::new();
        for line in maps.lines().filter(|line| line.contains(" rw")) {
            let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
            let [start, end] = [start, end].map(|digits| u64::from_str_radix(digits, 16).unwrap());
            let mut region = vec![0; (end - start) as usize];
            match memory.read_exact_at(&mut region, start) {
                Ok(()) => regions.push(region),
                // Pages of the kernel.
                Err(error) => assert!(line.contains("[v"), "{line}: {error}"),
            }
        }
        let found = self.found_in(&regions);
        let searched: usize = regions.iter().map(Vec::len).sum();
        assert!(searched > 1 << 20, "{searched} bytes");
        println!("{} of {} secrets found in {} kB", found.len(), self.secrets.len(), searched >> 10);
        found
    }

    /// The same for the place of the relationship.
    fn found_in_place(&self) -> BTreeSet<&str> {
        let mut region = vec![0; self.place.1];
        self.memory().read_exact_at(&mut region, self.place.0).unwrap();
        self.found_in(&[region])
    }

    fn end(mut self) {
        self.go_on();
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.lines, &mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    /// Adds the keys under which messages of these devices' pairings are sealed; a session holds no more than these.
    fn derive_keys(&mut self) {
        for (name, session) in &self.told {
            let (th4, epoch) = session.split_first_chunk::<32>().unwrap();
            let master = &self.secrets[&format!("{name}, slot 0: master secret")];
            let master = MasterSecret(Secret::from_slice(master).unwrap());
            let epoch = u32::from_be_bytes(epoch.try_into().unwrap());
            let channel = th4[..8].try_into().unwrap();
            for way in [Direction::Ab, Direction::Ba] {
                let traffic = master.traffic(Tier::Pair, way, epoch, &channel, None).unwrap();
                let key = traffic.key().unwrap().expose().to_vec();
                self.secrets.insert(format!("{name}: key {way:?}"), key);
            }
        }
    }

    fn names(&self) -> BTreeSet<&str> {
        self.secrets.keys().map(String::as_str).collect()
    }
}

fn kept<'a>(names: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
    names.iter().filter(|name| name.starts_with("kept on purpose")).copied().collect()
}

#[test]
fn nothing_is_left_of_roles_that_were_dropped() {
    let mut child = Observer::start("all roles");
    child.until("in use");
    child.derive_keys();
    assert!(child.names().len() > 20, "{:?}", child.names());
    let found = child.found();
    let unseen: Vec<_> = child.names().difference(&found).copied().collect();
    assert!(unseen.is_empty(), "the search does not see {unseen:?}");
    child.go_on();
    child.until("dropped");
    println!("in unused memory: {:?}", child.found());
    child.go_on();
    child.until("reused");
    assert_eq!(child.found(), kept(&child.names()));
    child.end();
}

#[test]
fn a_device_keeps_no_key_of_a_peer_after_a_factory_reset_or_tampering() {
    for scenario in ["factory reset", "tamper"] {
        let mut child = Observer::start(scenario);
        child.until("in use");
        child.derive_keys();
        assert_eq!(child.found(), child.names(), "the search sees each");
        let held = child.found_in_place();
        assert!(held.contains("module, slot 0: master secret") && held.contains("module, slot 0: seed"));
        child.go_on();
        child.until("erased");
        assert_eq!(child.found_in_place(), BTreeSet::new(), "{scenario}: where the relationship was");
        println!("{scenario}, in unused memory: {:?}", child.found());
        child.go_on();
        child.until("reused");
        assert_eq!(child.found(), kept(&child.names()), "{scenario}: the identity stays, and nothing else");
        child.end();
    }
}

#[test]
fn an_authority_that_issued_a_certificate_has_none_of_its_secrets() {
    for scenario in ["authority", "authority that keeps"] {
        let mut child = Observer::start(scenario);
        child.until("issued");
        let seeds = std::mem::take(&mut child.secrets);
        let authority = lct::spk::Spk::from_slice(&child.told["authority"]).unwrap();
        let certificate = Certificate::parse(&child.told["certificate"]).unwrap();
        for (side, name) in [(Side::A, "A"), (Side::B, "B")] {
            let seed = Secret::from_slice(&seeds[&format!("own seed {name}")]).unwrap();
            let own = SpkSecret::from_seed(seed).unwrap();
            let section = certificate.open_section(side, &own, &authority).unwrap();
            child.secrets.insert(format!("half {name}"), section.half.expose().to_vec());
            child.secrets.insert("exchange key".into(), section.exchange_key.expose().to_vec());
        }
        println!("{scenario}, in unused memory: {:?}", child.found());
        child.go_on();
        child.until("reused");
        let expected: &[&str] = if scenario == "authority" { &[] } else { &["exchange key", "half A"] };
        assert_eq!(child.found(), expected.iter().copied().collect(), "{scenario}");
        child.end();
    }
}
