//! `modbatt demo` as a user and a script see it: the contract of its figures, faults, restarts, losses of power, bad
//! input. Everything is checked from outside: files, exit codes, other processes.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../sim/tests/data/mod.rs"]
mod data;
#[allow(dead_code)]
mod process;
#[allow(dead_code)]
mod recording;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use process::{Ended, run, start};
use serde_json::Value;

const ONE_C: &str = "module123-irdischarge-65ah-1_0c.csv";
const TWO_C: &str = "module123-irdischarge-65ah-2_0c.csv";

/// Figures that the last line of a run and `ledger status` both give.
const LEDGER: [&str; 7] = [
    "records",
    "batches",
    "blocks",
    "transactions",
    "components",
    "energy_discharged_mwh",
    "energy_charged_mwh",
];

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[track_caller]
fn n(object: &Value, key: &str) -> u64 {
    object[key].as_u64().unwrap_or_else(|| panic!("no number `{key}` in {object}"))
}

/// A replay as fast as the machine allows.
fn replay(file: &Path, dir: &Path, more: &[&str]) -> Ended {
    let fixed =
        ["demo", "--replay", text(file), "--headless", "--speed", "max", "--json", "--data-dir", text(dir)];
    run(&[&fixed, more].concat())
}

/// `ledger status` in a process of its own.
#[track_caller]
fn status(dir: &Path) -> Value {
    run(&["ledger", "status", "--data-dir", text(dir), "--json"]).good().json()
}

#[track_caller]
fn assert_same_ledger(line: &Value, dir: &Path) {
    let status = status(dir);
    for key in LEDGER {
        assert_eq!(n(line, key), n(&status, key), "{key}");
    }
}

/// Rows of a tester's file and the energy taken out by its last row, mWh.
fn rows_and_energy(file: &Path) -> (u64, f64) {
    let text = fs::read_to_string(file).unwrap();
    let mut lines = text.lines().skip_while(|l| !l.starts_with("Total Time"));
    let column = lines.next().unwrap().split(',').position(|name| name == "Watt-Hours").unwrap();
    let rows: Vec<&str> = lines.filter(|l| l.starts_with(|c: char| c.is_ascii_digit())).collect();
    let watt_hours: f64 = rows.last().unwrap().split(',').nth(column).unwrap().parse().unwrap();
    (rows.len() as u64, -watt_hours * 1_000.0)
}

fn receipts(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(dir.join("receipts")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Verifies every receipt and returns the energy charged and discharged that their statements add up to.
#[track_caller]
fn verify_all(dir: &Path, trust: &str) -> (u64, u64) {
    let (mut charged, mut discharged, mut closed) = (0, 0, (0, 0));
    for file in receipts(dir) {
        let name = text(&file);
        let proved = run(&["verify", name, "--trust", trust, "--json"]).good().json();
        assert_eq!(proved["result"], "proved", "{name}");
        let statement = &proved["statement"];
        match statement["event"].as_str() {
            Some("charge") => charged += n(statement, "mwh"),
            Some("discharge") => discharged += n(statement, "mwh"),
            _ if statement["events"].is_u64() => {
                closed.0 += n(statement, "charged_mwh");
                closed.1 += n(statement, "discharged_mwh");
            }
            _ => {}
        }
    }
    assert_eq!(closed, (charged, discharged), "the cycles close with the sums of their events");
    (charged, discharged)
}

/// The whole contract for scripts on one file; returns the figures.
#[track_caller]
fn contract(file: &Path, temp: &Path) -> Value {
    let (dir, record) = (temp.join("data"), temp.join("recorded"));
    let ended = replay(file, &dir, &["--record", text(&record)]);
    let line = ended.good().json();
    ended.has_no_internals("replay");
    let (url, folder) = ended.ready();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    assert_eq!(folder, text(&dir));
    assert_eq!(line["data_dir"].as_str(), Some(text(&dir)));
    assert_eq!(line["trust_file"].as_str(), Some(text(&dir.join("genesis.json"))));

    let (rows, measured) = rows_and_energy(file);
    assert_eq!((n(&line, "rows"), n(&line, "modules")), (rows, 3));
    assert_eq!(n(&line, "records"), rows * 4);
    assert_eq!(n(&line, "open_failures"), 0);
    assert_eq!(n(&line, "frames_clear_after_pairing"), 0);
    assert_eq!((n(&line, "record_gaps"), n(&line, "refused_jobs")), (0, 0));
    assert!(n(&line, "batches") >= rows * 4 / 100 && n(&line, "batches") < rows, "{line}");
    assert!(n(&line, "blocks") > 5, "{line}");
    let taken = n(&line, "energy_discharged_mwh") as f64;
    let error = (taken / measured - 1.0) * 100.0;
    println!("{}: {taken} mWh, the file says {measured} mWh: {error:+.3} %", file.display());
    assert!(error.abs() < 0.5);
    assert_same_ledger(&line, &dir);

    let seen = recording::both(&record, false);
    assert_eq!(seen.sealed, n(&line, "frames_sealed"));
    assert_eq!(seen.clear, n(&line, "frames_clear"));
    assert_eq!(seen.trespassers, Vec::<String>::new());
    let (tried, taken) = recording::shown_to_old_nodes(&record);
    println!(
        "{tried} frames of the secure link are nothing to nodes of the older generation; {taken} clear ones are"
    );
    assert!(tried >= seen.sealed && taken > 0, "the recording has clear messages that they know");

    assert_eq!(receipts(&dir).len() as u64, n(&line, "receipts_written"));
    assert!(!dir.join("run.json").exists(), "nobody runs on the directory any more");
    line
}

#[test]
fn a_replay_keeps_the_contract() {
    let Some(file) = data::leaf(TWO_C) else { return };
    let temp = tempfile::tempdir().unwrap();
    let line = contract(&file, temp.path());
    let dir = temp.path().join("data");
    let trust = line["trust_file"].as_str().unwrap();
    let sums = verify_all(&dir, trust);
    assert_eq!(sums, (n(&line, "energy_charged_mwh"), n(&line, "energy_discharged_mwh")));

    // A chain of its own: killed as soon as it exists.
    let other = temp.path().join("other");
    let mut foreign = start(&["demo", "--data-dir", text(&other)]);
    foreign.wait_for("a chain", |_, err| err.contains(" and ledger at "));
    foreign.kill();
    let foreign = other.join("genesis.json");

    let damaged = temp.path().join("damaged.receipt");
    let mut tried = 0;
    for kind in ["registration-app", "lct-", "binding-", "pairing-", "energy-", "cycle-", "record-module"] {
        let of_kind = |p: &&PathBuf| p.file_name().unwrap().to_str().unwrap().starts_with(kind);
        let files = receipts(&dir);
        let file = files.iter().find(of_kind).unwrap_or_else(|| panic!("no receipt {kind}"));
        let unknown = run(&["verify", text(file), "--json"]);
        assert_eq!(unknown.code, Some(3), "{kind}: {}", unknown.err);
        assert_eq!(unknown.json()["result"], "signer_unknown");
        let distrusted = run(&["verify", text(file), "--trust", text(&foreign)]);
        assert_eq!(distrusted.code, Some(1), "{kind}");
        distrusted.fails_at_once(kind, &["refused"]);

        let bytes = fs::read(file).unwrap();
        for step in 0..8 {
            let mut changed = bytes.clone();
            let at = (bytes.len() - 1) * step / 7;
            changed[at] ^= 1 << (step % 8);
            fs::write(&damaged, changed).unwrap();
            let refused = run(&["verify", text(&damaged), "--trust", trust]);
            assert_eq!(refused.code, Some(1), "{kind}: byte {at} of {}: {}", bytes.len(), refused.out);
            refused.fails_at_once(kind, &[]);
            tried += 1;
        }
    }
    println!("{} receipts verified; {tried} with one changed byte refused", n(&line, "receipts_written"));
}

#[test]
fn the_longer_replay_keeps_the_contract_too() {
    let Some(file) = data::leaf(ONE_C) else { return };
    let temp = tempfile::tempdir().unwrap();
    let line = contract(&file, temp.path());
    let sums = verify_all(&temp.path().join("data"), line["trust_file"].as_str().unwrap());
    assert_eq!(sums, (n(&line, "energy_charged_mwh"), n(&line, "energy_discharged_mwh")));
}

#[test]
fn disturbed_buses_lose_messages_but_no_statement() {
    let Some(file) = data::leaf(TWO_C) else { return };
    let (rows, measured) = rows_and_energy(&file);
    // (faults, frames lost, bits flipped)
    let table: [(&[&str], u64, u64); 4] = [
        (&["--fault", "flip=5"], 0, 5),
        (&["--fault", "drop=20"], 20, 0),
        (&["--fault", "drop=40", "--fault", "flip=30", "--seed", "7"], 40, 30),
        (&["--fault", "drop=0"], 0, 0),
    ];
    for (faults, drop, flip) in table {
        let temp = tempfile::tempdir().unwrap();
        let (dir, record) = (temp.path().join("data"), temp.path().join("recorded"));
        let line = replay(&file, &dir, &[faults, &["--record", text(&record)]].concat()).good().json();
        assert_eq!((n(&line, "frames_dropped"), n(&line, "frames_flipped")), (drop, flip), "{faults:?}");
        assert_eq!(n(&line, "open_failures"), flip, "{faults:?}");
        assert_eq!(n(&line, "rows"), rows);
        // Every row is in a signed statement, whether or not its message arrived.
        assert_eq!(n(&line, "records"), rows * 4, "{faults:?}");
        assert!(n(&line, "record_gaps") <= drop + flip, "{faults:?}: {line}");
        assert_eq!(n(&line, "refused_jobs"), 0, "{faults:?}");
        let error = n(&line, "energy_discharged_mwh") as f64 / measured - 1.0;
        assert!(error.abs() < 0.005, "{faults:?}: {error}");
        assert_same_ledger(&line, &dir);
        let seen = recording::both(&record, false);
        assert_eq!((seen.sealed, seen.clear), (n(&line, "frames_sealed"), n(&line, "frames_clear")));
        assert_eq!(seen.trespassers, Vec::<String>::new(), "{faults:?}");
        let energy = receipts(&dir).into_iter().filter(|p| text(p).contains("/energy-")).count();
        println!("{faults:?}: {} gaps, {energy} energy statements", n(&line, "record_gaps"));
        assert!(energy > 20);
    }
}

/// Epochs of the channel to the pack, as progress tells them.
fn epochs(ended: &Ended) -> Vec<u32> {
    let told = ended.err.lines().filter_map(|l| l.strip_prefix("channel to the pack is up, epoch "));
    told.map(|epoch| epoch.parse().unwrap()).collect()
}

#[test]
fn a_second_run_goes_on_where_the_first_ended() {
    let Some(file) = data::leaf(TWO_C) else { return };
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let first = replay(&file, &dir, &[]);
    let before = first.good().json();
    let kept: Vec<(PathBuf, Vec<u8>)> =
        receipts(&dir).into_iter().map(|p| (p.clone(), fs::read(p).unwrap())).collect();

    let record = temp.path().join("recorded");
    let second = replay(&file, &dir, &["--record", text(&record)]);
    let after = second.good().json();
    for key in ["records", "energy_discharged_mwh"] {
        assert_eq!(n(&after, key), 2 * n(&before, key), "{key}");
    }
    assert!(n(&after, "blocks") > n(&before, "blocks") && n(&after, "batches") > n(&before, "batches"));
    assert_eq!(n(&after, "components"), n(&before, "components"));
    assert_eq!((n(&after, "open_failures"), n(&after, "frames_clear_after_pairing")), (0, 0));
    assert_same_ledger(&after, &dir);
    // Channels are resumed, nothing is commissioned again, and nothing protected is ever clear.
    assert!(first.err.contains("done: pair") && !second.err.contains("done: "));
    let [last, next] = [&first, &second].map(|ended| epochs(ended).last().copied().unwrap());
    assert!(next > last, "epoch {last}, then {next}");
    let seen = recording::both(&record, true);
    assert_eq!(seen.trespassers, Vec::<String>::new());
    assert_eq!((seen.sealed, seen.clear), (n(&after, "frames_sealed"), n(&after, "frames_clear")));

    for (path, bytes) in kept {
        assert!(fs::read(&path).unwrap() == bytes, "{} was changed", path.display());
    }
    let sums = verify_all(&dir, after["trust_file"].as_str().unwrap());
    assert_eq!(sums, (n(&after, "energy_charged_mwh"), n(&after, "energy_discharged_mwh")));
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[test]
fn a_loss_of_power_at_any_moment_loses_nothing_stored() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let mut dice = Dice(4);
    let (mut records, mut commissioning) = (0, 0);
    // How many lines of progress a run may print. It repeats what it finds, so eight lines are one or two further
    // steps of commissioning; `None` lets it measure for a while.
    let points = [0, 1, 4, 8, 9, 8, 9, 8, 8, 9, 8, 8].map(Some).into_iter().chain([None; 4]);
    let kills = points.clone().count();
    for lines in points {
        // Batches take 30 s: the runs that are to have some go faster.
        let speed = if lines.is_none() { "200" } else { "20" };
        let mut running = start(&["demo", "--speed", speed, "--json", "--data-dir", text(&dir)]);
        let operational = |err: &str| err.lines().any(|l| l == "operational");
        running.wait_for("the moment to kill", |_, err| {
            operational(err) || lines.is_some_and(|lines| err.lines().count() >= lines)
        });
        if lines.is_none() {
            let end = std::time::Instant::now() + Duration::from_secs(60);
            while n(&status(&dir), "records") <= records {
                let said = running.said();
                assert!(std::time::Instant::now() < end, "no record reached the ledger within 60 s:\n{said}");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        std::thread::sleep(Duration::from_millis(dice.below(if lines.is_none() { 1_500 } else { 30 })));
        let killed = running.kill();
        killed.has_no_internals("killed");
        commissioning += usize::from(!operational(&killed.err));
        if !dir.join("format").exists() {
            assert_eq!(lines, Some(0), "a directory is complete before anything is said");
            continue;
        }
        let figures = status(&dir);
        assert!(n(&figures, "records") >= records, "after {lines:?} lines: {figures}");
        records = n(&figures, "records");
    }
    assert!(records > 0, "the last runs measured");

    let mut running = start(&["demo", "--speed", "200", "--json", "--data-dir", text(&dir)]);
    running.wait_ready();
    std::thread::sleep(Duration::from_millis(1_500));
    running.interrupt();
    let ended = running.wait();
    let line = ended.good().json();
    assert!(n(&line, "records") >= records + n(&line, "rows") * 4, "{records} before, then {line}");
    assert_eq!((n(&line, "refused_jobs"), n(&line, "open_failures")), (0, 0));
    assert_eq!(n(&line, "frames_clear_after_pairing"), 0);
    assert_same_ledger(&line, &dir);
    let trust = line["trust_file"].as_str().unwrap();
    for file in receipts(&dir) {
        run(&["verify", text(&file), "--trust", trust]).good();
    }
    println!(
        "killed {kills} times, {commissioning} of them before Operational; {} records",
        n(&line, "records")
    );
    assert!(commissioning >= 6, "only {commissioning} kills met commissioning");
}

/// The model begins with a rest: the cycle opens, moves less than a mWh, and must close all the same.
#[test]
fn a_run_that_ends_at_rest_closes_its_cycle() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let mut running = start(&["demo", "--speed", "4", "--json", "--data-dir", text(&dir)]);
    running.wait_ready();
    std::thread::sleep(Duration::from_millis(1_200));
    running.interrupt();
    let ended = running.wait();
    let line = ended.good().json();
    assert!(n(&line, "rows") > 1, "{line}");
    assert_eq!(n(&line, "refused_jobs"), 0, "{}", ended.err);
    assert_eq!((&line["faults"], n(&line, "alerts")), (&Value::Array(vec![]), 0));
    let closed = receipts(&dir).into_iter().filter(|p| text(p).contains("/cycle-")).count();
    assert_eq!(closed, 1, "{:?}", receipts(&dir));
    verify_all(&dir, line["trust_file"].as_str().unwrap());
}

/// More messages than a device puts up with do not open: the figures and the minute's line name who complains.
#[test]
fn faults_of_devices_are_among_the_figures() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let fixed = ["demo", "--modules", "1", "--speed", "60", "--json", "--data-dir", text(&dir)];
    let mut running = start(&[&fixed[..], &["--fault", "flip=200"]].concat());
    running.wait_for("the fault", |_, err| err.contains("faults: ") || err.contains("row 181"));
    running.interrupt();
    let ended = running.wait();
    let line = ended.good().json();
    assert!(ended.err.lines().any(|l| l.starts_with("row ") && l.contains("OpenFailures")), "{}", ended.err);
    let faults = line["faults"].as_array().unwrap();
    let fault = faults.iter().find(|f| f["name"] == "OpenFailures").unwrap_or_else(|| panic!("{line}"));
    assert_eq!((n(fault, "code"), n(fault, "severity")), (0x0603, 3));
    assert!(fault["component"].as_str().unwrap().contains("-0001") && fault["active"].is_boolean());
    assert_eq!(n(&line, "frames_clear_after_pairing"), 0, "protection is not lost with it");
}

/// Runs the model with so many modules until it has measured for a while, then stops it.
fn model(modules: u64) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let count = modules.to_string();
    let began = std::time::Instant::now();
    let mut running =
        start(&["demo", "--modules", &count, "--speed", "max", "--json", "--data-dir", text(&dir)]);
    running.wait_ready();
    println!("{modules} modules: ready after {:.1} s", began.elapsed().as_secs_f64());
    let alive = status(&dir);
    assert_eq!(n(&alive, "components"), modules + 2, "asked of the program that runs");
    let taken = run(&["demo", "--data-dir", text(&dir)]);
    taken.fails_at_once("two programs on one directory", &["in use", "process", "http://127.0.0.1:"]);
    running.wait_for("a minute of the model", |_, err| err.contains("row 61"));
    running.interrupt();
    let ended = running.wait();
    let line = ended.good().json();
    println!("{line}");
    assert_eq!(n(&line, "modules"), modules);
    assert!(n(&line, "rows") > 30, "{line}");
    assert_eq!(n(&line, "records"), n(&line, "rows") * (modules + 1), "{line}");
    assert_eq!(n(&line, "record_gaps"), 0, "{line}");
    assert_eq!((n(&line, "open_failures"), n(&line, "frames_clear_after_pairing")), (0, 0));
    assert_eq!(n(&line, "refused_jobs"), 0);
    // Modules that speak at the same moments take turns (H170); where they do not, one loses for nearly each of them.
    assert!(n(&line, "messages_lost") < 8, "{line}");
    assert_same_ledger(&line, &dir);
    let other = if modules == 1 { "2" } else { "30" };
    run(&["demo", "--modules", other, "--data-dir", text(&dir)])
        .fails_at_once("another number of modules", &["holds a pack of", other]);
}

#[test]
fn one_module_runs_until_a_signal() {
    model(1);
}

#[test]
fn thirty_one_modules_run_until_a_signal() {
    model(31);
}

#[test]
fn damaged_files_are_refused_before_anything_is_made() {
    let Some(file) = data::leaf(TWO_C) else { return };
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let whole = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let joined = |change: &dyn Fn(usize, &str) -> String| {
        lines.iter().enumerate().map(|(i, l)| change(i + 1, l) + "\n").collect::<String>()
    };
    let table: [(&str, String, &[&str]); 7] = [
        ("cut in the middle of a row", whole[..whole.len() / 2].to_owned(), &["line "]),
        (
            "letters in a value",
            joined(&|i, l| if i == 500 { l.replacen(",-1", ",x1", 1) } else { l.into() }),
            &["line 500"],
        ),
        (
            "a row short of columns",
            joined(&|i, l| if i == 77 { "1,2,3".into() } else { l.into() }),
            &["line 77"],
        ),
        (
            "time that goes back",
            joined(&|i, l| if i == 900 { lines[99].into() } else { l.into() }),
            &["line 900"],
        ),
        ("no header", joined(&|_, l| l.replace("Total Time", "Total")), &["line "]),
        ("header without rows", lines[..18].join("\n"), &[]),
        ("empty", String::new(), &[]),
    ];
    for (what, content, parts) in table {
        let path = temp.path().join("damaged.csv");
        fs::write(&path, content).unwrap();
        let ended = replay(&path, &dir, &[]);
        ended.fails_at_once(what, &[parts, &["damaged.csv"]].concat());
        println!("{what}: {}", ended.err.trim_end());
        assert!(!dir.exists(), "{what}: a data directory was left behind");
    }
    replay(&temp.path().join("none.csv"), &dir, &[]).fails_at_once("no file", &["none.csv"]);
    replay(temp.path(), &dir, &[]).fails_at_once("a folder", &[text(temp.path())]);
    replay(&file, &dir, &["--modules", "5"]).fails_at_once("modules of the file", &["3 modules"]);
    assert!(!dir.exists());
}

#[test]
fn wrong_arguments_are_refused_in_one_sentence() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = busy.local_addr().unwrap().to_string();
    let file = temp.path().join("file");
    fs::write(&file, "no directory").unwrap();
    let foreign = temp.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("letter.txt"), "mine").unwrap();
    let table: [(&[&str], &[&str]); 17] = [
        (&["--frobnicate"], &["--frobnicate"]),
        (&["--modules", "0"], &["0"]),
        (&["--modules", "32"], &["32"]),
        (&["--modules", "three"], &["three"]),
        (&["--fault", "nonsense"], &["drop=N", "flip=N"]),
        (&["--fault", "flip=-1"], &["drop=N"]),
        (&["--fault", "burn=3"], &["drop=N"]),
        (&["--fault", "drop=99999999999999"], &["drop=N"]),
        (&["--speed", "0"], &["0.01"]),
        (&["--speed", "NaN"], &["0.01"]),
        (&["--listen", "somewhere"], &["somewhere"]),
        (&["--listen", &busy], &["in use", "--listen"]),
        (&["--listen", "0.0.0.0:0"], &["loopback"]),
        (&["--listen", "[::]:0"], &["loopback"]),
        (&["--data-dir", text(&file)], &["is not a directory"]),
        (&["--data-dir", text(&foreign)], &["is not a modbatt data directory"]),
        (&["--data-dir", "/proc/modbatt"], &["/proc/modbatt"]),
    ];
    for (args, parts) in table {
        let own_dir = args[0] == "--data-dir";
        let place: &[&str] = if own_dir { &[] } else { &["--data-dir", text(&dir)] };
        let ended = run(&[&["demo"], args, place].concat());
        ended.fails(&args.join(" "), parts);
        assert!(!ended.out.contains("ready"), "{args:?}");
        println!("{}: {}", args.join(" "), ended.err.lines().last().unwrap());
    }
    assert_eq!(fs::read_to_string(foreign.join("letter.txt")).unwrap(), "mine");
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1, "nothing was put into somebody's folder");
}

#[test]
fn directories_that_do_not_fit_are_refused_and_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    let [ours, other] = ["ours", "other"].map(|name| {
        let dir = temp.path().join(name);
        let mut running = start(&["demo", "--speed", "max", "--data-dir", text(&dir)]);
        running.wait_ready();
        running.interrupt();
        running.wait().good();
        dir
    });
    let before = status(&ours);
    let refused = |what: &str, parts: &[&str]| {
        run(&["demo", "--data-dir", text(&ours)]).fails(what, parts);
        run(&["ledger", "status", "--data-dir", text(&ours), "--json"]).fails_at_once(what, parts);
    };

    let (format, genesis, ledger) = (ours.join("format"), ours.join("genesis.json"), ours.join("ledger"));
    let (good_format, good_genesis) = (fs::read(&format).unwrap(), fs::read(&genesis).unwrap());
    let next = String::from_utf8(good_format.clone()).unwrap().replace("data 1", "data 2");
    fs::write(&format, next).unwrap();
    refused("another format version", &["format 2", "this build knows 1"]);
    fs::write(&format, "rubbish").unwrap();
    refused("a damaged format file", &["damaged"]);
    fs::write(&format, &good_format).unwrap();

    fs::write(&genesis, fs::read(other.join("genesis.json")).unwrap()).unwrap();
    refused("the genesis of another chain", &["belongs to chain"]);
    fs::write(&genesis, &good_genesis[..good_genesis.len() / 2]).unwrap();
    refused("half a genesis", &["genesis.json", "damaged"]);
    fs::write(&genesis, &good_genesis).unwrap();

    let aside = temp.path().join("aside");
    fs::rename(&ledger, &aside).unwrap();
    fs::rename(other.join("ledger"), &ledger).unwrap();
    refused("the ledger of another chain", &["chain"]);
    fs::rename(&ledger, other.join("ledger")).unwrap();
    fs::rename(&aside, &ledger).unwrap();

    let key = ours.join("keys/account");
    let good_key = fs::read(&key).unwrap();
    fs::write(&key, &good_key[..20]).unwrap();
    run(&["demo", "--data-dir", text(&ours)]).fails_at_once("half a key", &["keys/account", "damaged"]);
    fs::write(&key, &good_key).unwrap();

    assert_eq!(status(&ours), before, "nothing was lost");
    let mut running = start(&["demo", "--speed", "max", "--json", "--data-dir", text(&ours)]);
    running.wait_ready();
    running.interrupt();
    let line = running.wait().good().json();
    assert!(n(&line, "blocks") >= n(&before, "blocks"));
}

#[test]
fn a_full_disk_under_the_recording_ends_the_run_and_keeps_the_ledger() {
    if !Path::new("/dev/full").exists() {
        println!("not run: there is no /dev/full");
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let (dir, record) = (temp.path().join("data"), temp.path().join("recorded"));
    fs::create_dir(&record).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("/dev/full", record.join("can2.pcapng")).unwrap();
    run(&["demo", "--speed", "max", "--json", "--data-dir", text(&dir), "--record", text(&record)])
        .fails("a full disk", &["the disk is full", "can2.pcapng"]);
    let before = status(&dir);
    let mut running = start(&["demo", "--speed", "max", "--json", "--data-dir", text(&dir)]);
    running.wait_ready();
    running.interrupt();
    let ended = running.wait();
    let line = ended.good().json();
    assert!(n(&line, "blocks") >= n(&before, "blocks"));
    assert_eq!((n(&line, "refused_jobs"), n(&line, "open_failures")), (0, 0), "{}", ended.err);
}
