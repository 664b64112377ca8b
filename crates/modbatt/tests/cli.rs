//! The command as a user and a script see it: exit codes, sentences, files.
//!
//! Rules L15 and L85 of the ledger.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "cli/of_a_ledger.rs"]
mod of_a_ledger;
#[path = "cli/of_the_service.rs"]
mod of_the_service;
#[path = "../../ledger/tests/world/mod.rs"]
mod world;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use lct::energy::EnergyKind;
use lct::id::Role;
use ledger::tx::Tx;
use node::engine::solo::Solo;
use node::segments::{Entry, StoredBatch};
use serde_json::Value;

/// How a run ended.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    /// A failure: this code, one sentence with all of `parts` on standard error, nothing of Rust's own making.
    #[track_caller]
    fn fails(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        assert_eq!(self.err.lines().count(), 1, "one sentence: {}", self.err);
        for part in parts {
            assert!(self.err.contains(part), "no `{part}` in: {}", self.err);
        }
        for internal in ["panicked", "RUST_BACKTRACE", "Error {", "Err(", "os error"] {
            assert!(!self.err.contains(internal), "{}", self.err);
        }
    }

    #[track_caller]
    fn json(&self) -> Value {
        let last = self.out.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {}{}", self.out, self.err))
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_modbatt"));
    command.args(args).env_remove("MODBATT_TRUST").env("RUST_BACKTRACE", "1");
    command
}

fn finish(mut command: Command) -> Ended {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn run(args: &[&str]) -> Ended {
    finish(command(args))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A data directory with a small ledger: two components, a binding, a batch of five records, an energy cycle.
struct Installation {
    _temp: tempfile::TempDir,
    dir: PathBuf,
    /// Transactions in order: two registrations, binding, batch, opening, discharge, refused discharge.
    txs: Vec<String>,
}

impl Installation {
    fn file(&self, name: &str) -> PathBuf {
        self.dir.parent().unwrap().join(name)
    }

    /// Writes a receipt and returns its path.
    #[track_caller]
    fn receipt(&self, of: &str) -> PathBuf {
        let path = self.file(&format!("{}.receipt", of.replace('/', "-")));
        let ended = run(&["receipt", of, "-o", text(&path), "--data-dir", text(&self.dir)]);
        assert_eq!(ended.code, 0, "{}", ended.err);
        path
    }

    fn chain(&self) -> node::Chain {
        node::Chain::open(&self.dir.join("ledger"), &world::genesis()).unwrap()
    }
}

fn installation() -> Installation {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    fs::create_dir_all(dir.join("ledger")).unwrap();
    let chain_id = hex::encode(world::chain_id());
    fs::write(dir.join("format"), format!("modbatt data 1\nchain {chain_id}\n")).unwrap();
    fs::write(dir.join("genesis.json"), api::genesis::to_json(&world::genesis())).unwrap();

    let chain = Arc::new(node::Chain::open(&dir.join("ledger"), &world::genesis()).unwrap());
    let engine = Solo::new(chain.clone(), world::validator("v")).unwrap();
    let (operator, authority) = (world::key("operator"), world::key("authority"));
    let device = world::bound_key("pack-1", "app-1");
    let statement = world::batch_statement("pack-1", 0, 5);
    let stored = StoredBatch {
        statement: world::batch_bytes(&statement),
        entries: world::records("pack-1", 0, 5).into_iter().map(Entry::Record).collect(),
    };
    chain.append(&[stored]).unwrap();
    let event = |kind, seq, mwh| world::energy_with(&world::energy(kind, 1, seq, mwh), &device);
    let txs = [
        world::tx(&operator, 1, world::register("app-1", Role::App)),
        world::tx(&operator, 2, world::register("pack-1", Role::Pack)),
        world::tx(&authority, 1, world::bind(("app-1", Role::App), ("pack-1", Role::Pack))),
        world::tx(&operator, 3, world::batch_with(&statement, &device)),
        world::tx(&operator, 4, event(EnergyKind::Opening, 1, 0)),
        world::tx(&operator, 5, event(EnergyKind::Discharge, 2, 1234)),
        // The same event again is refused and costs its sender the nonce.
        world::tx(&operator, 6, event(EnergyKind::Discharge, 2, 1234)),
    ];
    let mut now = world::START_MS + 600_000;
    for tx in &txs {
        chain.submit(tx.clone()).unwrap();
        now += 1000;
        engine.cut(now).unwrap();
    }
    engine.drain(|| now + 1000).unwrap();
    let txs = txs.iter().map(|tx| hex::encode(Tx::id_of(tx))).collect();
    Installation { _temp: temp, dir, txs }
}

#[test]
fn usage_errors_exit_with_2_and_help_lists_the_exit_codes() {
    for args in [
        &["--nonsense"][..],
        &["nonsense"],
        &[],
        &["verify"],
        &["selftest", "--vectors"],
        &["receipt", "pack-1/1", "-o", "x"],
        &["receipt", "pack-1/1", "-o", "x", "--data-dir", "d", "--url", "http://127.0.0.1:1"],
        &["receipt", "pack-1", "-o", "x", "--data-dir", "d"],
        &["receipt", "pack-1/1", "--data-dir", "d"],
        &["ledger", "status"],
    ] {
        let ended = run(args);
        assert_eq!(ended.code, 2, "{args:?}: {}", ended.err);
        assert!(!ended.err.is_empty(), "{args:?}");
    }
    for args in [
        &["--help"][..],
        &["selftest", "--help"],
        &["verify", "--help"],
        &["receipt", "--help"],
        &["ledger", "status", "--help"],
    ] {
        let ended = run(args);
        assert_eq!(ended.code, 0);
        assert!(ended.out.contains("3  the receipt is consistent, but its signer is unknown"), "{args:?}");
    }
    let version = run(&["--version"]);
    assert_eq!(
        (version.code, version.out.as_str()),
        (0, concat!("modbatt ", env!("CARGO_PKG_VERSION"), "\n"))
    );
}

#[test]
fn selftest_passes_on_both_files_and_fails_on_a_changed_one() {
    let published = run(&["selftest"]);
    assert_eq!(published.code, 0, "{}", published.out);
    assert!(published.out.contains("all 146 computed entries agree"), "{}", published.out);

    // Other inputs and more epochs, computed by another implementation (other_vectors.py).
    let other = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/other_vectors.json");
    let ended = run(&["selftest", "--vectors", other, "--json"]);
    assert_eq!(ended.code, 0, "{}", ended.out);
    let report = ended.json();
    assert_eq!((&report["ok"], &report["failures"]), (&Value::Bool(true), &Value::Array(vec![])));
    assert_eq!(report["not_checked"], Value::Array(vec![]));

    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("v.json");
    let mut vectors: Value = serde_json::from_str(&fs::read_to_string(other).unwrap()).unwrap();
    vectors["rekey"]["MS1"] = Value::from("00".repeat(32));
    vectors["level5"]["digest"] = Value::from("xy");
    fs::write(&path, vectors.to_string()).unwrap();
    let ended = run(&["selftest", "--vectors", text(&path)]);
    assert_eq!((ended.code, ended.err.as_str()), (1, ""));
    for line in [
        "rekey.MS1: differs",
        &format!("  expected {}", "00".repeat(32)),
        "  computed ",
        "level5.digest: malformed: `x` at position 1 is no hex digit",
        "FAILED: 2 entries",
    ] {
        assert!(ended.out.lines().any(|l| l.starts_with(line)), "no `{line}` in {}", ended.out);
    }
    let json = run(&["selftest", "--json", "--vectors", text(&path)]);
    let failures: Vec<_> =
        json.json()["failures"].as_array().unwrap().iter().map(|f| f["entry"].clone()).collect();
    assert_eq!((json.code, failures), (1, vec![Value::from("rekey.MS1"), Value::from("level5.digest")]));
}

/// Every attack with its control is run beside the crates of the link; here the command, with two of them.
#[test]
fn redteam_prints_a_table_and_json_and_knows_its_names() {
    let ended = run(&["redteam", "--only", "misbinding"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{}", ended.out);
    assert!(ended.out.contains("1 of 1 attacks held, 1 controls succeed"), "{}", ended.out);
    let json = run(&["redteam", "--only", "replay", "--json", "--seed", "7"]);
    assert_eq!(json.code, 0, "{}", json.out);
    let report = json.json();
    for (field, value) in [("attacks", 1), ("succeeded", 0), ("controls_succeeded", 1), ("seed", 7)] {
        assert_eq!(report[field], value, "{field}");
    }
    let replay = &report["by_name"]["replay"];
    assert_eq!(
        (&replay["succeeded"], &replay["control_succeeded"]),
        (&Value::from(false), &Value::from(true))
    );
    assert!(replay["tries"].as_u64().unwrap() > 100 && !report["not_built"].as_array().unwrap().is_empty());
    assert_eq!(
        run(&["redteam", "--only", "replay", "--json", "--seed", "7"]).out,
        json.out,
        "one seed, one run"
    );
    run(&["redteam", "--only", "reply"]).fails(2, &["no attack is called reply", "replay, ", "misbinding"]);
}

#[test]
fn selftest_says_why_a_file_cannot_be_read() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("v.json");
    run(&["selftest", "--vectors", text(&path)])
        .fails(2, &["cannot read the vectors", text(&path), "no such file"]);
    run(&["selftest", "--vectors", text(temp.path())])
        .fails(2, &["cannot read the vectors", "is a directory"]);
    for (content, part) in [
        (&b"{\"label\": {"[..], "is not a JSON file: EOF while parsing"),
        (b"", "is not a JSON file: EOF while parsing"),
        (b"[1]", "holds no vectors"),
        (b"\xFF\xFE{}", "not UTF-8"),
    ] {
        fs::write(&path, content).unwrap();
        run(&["selftest", "--vectors", text(&path)]).fails(2, &[text(&path), part]);
    }
    fs::write(&path, "{}").unwrap();
    assert_eq!(run(&["selftest", "--vectors", text(&path)]).code, 1, "nothing checked is not a pass");
}

#[test]
fn a_reader_that_leaves_is_no_error_and_a_full_disk_is_one() {
    let mut child = command(&["selftest"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    if cfg!(target_os = "linux") {
        let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = command(&["selftest"]);
        let output = command.stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8(output.stderr).unwrap().contains("no space left"));
    }
}

#[test]
fn ledger_status_reads_the_figures_from_disk() {
    let installation = installation();
    let ended = run(&["ledger", "status", "--data-dir", text(&installation.dir), "--json"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let status = ended.json();
    let expected = [
        ("blocks", 8), // one per transaction and the empty one that certifies the last
        ("height", 8),
        ("transactions", 6),
        ("components", 2),
        ("records", 5),
        ("batches", 1),
        ("energy_discharged_mwh", 1234),
        ("energy_charged_mwh", 0),
    ];
    for (name, value) in expected {
        assert_eq!(status[name], Value::from(value), "{name}");
    }
    assert_eq!(status["chain_id"], Value::from(hex::encode(world::chain_id())));
    assert_eq!(status["state_root"].as_str().map(str::len), Some(64));
    assert_eq!(status["data_dir"], Value::from(text(&installation.dir)));
    let table = run(&["ledger", "status", "--data-dir", text(&installation.dir)]);
    assert!(table.out.contains("discharged      1.234 Wh"), "{}", table.out);
}

#[test]
fn ledger_status_names_what_is_wrong_with_a_directory() {
    let status = |dir: &Path| run(&["ledger", "status", "--data-dir", text(dir)]);
    let temp = tempfile::tempdir().unwrap();
    status(&temp.path().join("none")).fails(2, &["there is no data directory", "none"]);
    status(temp.path()).fails(2, &["is not a modbatt data directory"]);
    fs::write(temp.path().join("file"), "x").unwrap();
    status(&temp.path().join("file")).fails(2, &["is not a directory"]);

    let installation = installation();
    let dir = &installation.dir;
    let swap = |name: &str, content: &[u8]| {
        let before = fs::read(dir.join(name)).unwrap();
        fs::write(dir.join(name), content).unwrap();
        let ended = status(dir);
        fs::write(dir.join(name), before).unwrap();
        ended
    };
    swap("format", b"modbatt data 7\nchain 00\n").fails(2, &["data format 7", "knows 1"]);
    let foreign = format!("modbatt data 1\nchain {}\n", "ab".repeat(32));
    swap("format", foreign.as_bytes()).fails(2, &["belongs to chain", "abababab"]);
    let other = ledger::genesis::Genesis { name: "other".into(), ..world::genesis() };
    let json = api::genesis::to_json(&other);
    swap("genesis.json", json.as_bytes()).fails(2, &["genesis.json belongs to chain"]);
    // Both agree, but the ledger is of the first chain.
    let format = fs::read(dir.join("format")).unwrap();
    fs::write(dir.join("format"), format!("modbatt data 1\nchain {}\n", hex::encode(other.chain_id())))
        .unwrap();
    swap("genesis.json", json.as_bytes()).fails(2, &["holds the chain", &hex::encode(world::chain_id())]);
    fs::write(dir.join("format"), format).unwrap();

    swap("ledger/ledger.redb", b"not a database at all").fails(2, &["ledger.redb", "damaged"]);
    fs::remove_file(dir.join("ledger/ledger.redb")).unwrap();
    status(dir).fails(2, &["there is no ledger in"]);
    for program in [&["ledger", "run"][..], &["serve", "--listen", "127.0.0.1:0"]] {
        let run = run(&[program, &["--data-dir", text(dir)]].concat());
        run.fails(2, &["has no `ledger.redb`"]);
        assert!(!dir.join("ledger/ledger.redb").exists(), "no other chain is begun: {program:?}");
    }
}

#[test]
fn receipts_prove_transactions_and_records_without_network_or_database() {
    let installation = installation();
    let trust = installation.dir.join("genesis.json");
    let cases = [
        (installation.txs[1].clone(), "component pack-1 (serial SN-pack-1", "component/register"),
        (installation.txs[2].clone(), "were bound as", "binding/record"),
        (installation.txs[3].clone(), "signed 5 record(s) from number 0", "telemetry/batch"),
        (installation.txs[5].clone(), "delivered 1.234 Wh", "energy/event"),
        ("pack-1/4".to_owned(), "measured record 4", "telemetry/batch"),
        (format!("{}/0", lct::id::Cid::of("pack-1")), "measured record 0", "telemetry/batch"),
    ];
    for (of, words, kind) in &cases {
        let receipt = installation.receipt(of);
        let proved = run(&["verify", text(&receipt), "--trust", text(&trust)]);
        assert_eq!(proved.code, 0, "{of}: {}", proved.err);
        assert!(proved.out.contains(words), "{of}: {}", proved.out);
        assert!(proved.out.contains("Signer: trusted"));
        let unknown = run(&["verify", text(&receipt), "--json"]);
        assert_eq!((unknown.code, unknown.err.as_str()), (3, ""), "{of}");
        let json = unknown.json();
        assert_eq!((&json["result"], &json["kind"]), (&Value::from("signer_unknown"), &Value::from(*kind)));
    }
    let mut by_variable = command(&["verify", text(&installation.receipt("pack-1/2")), "--json"]);
    by_variable.env("MODBATT_TRUST", &trust);
    let ended = finish(by_variable);
    assert_eq!((ended.code, &ended.json()["result"]), (0, &Value::from("proved")));
    assert_eq!(ended.json()["record"]["values"], serde_json::json!([3652, -1200, 25]));
    let energy = run(&["verify", text(&installation.receipt(&installation.txs[5])), "--json"]).json();
    assert_eq!(
        (&energy["statement"]["event"], &energy["statement"]["mwh"]),
        (&Value::from("discharge"), &Value::from(1234))
    );
}

#[test]
fn a_receipt_changed_anywhere_is_refused() {
    let installation = installation();
    let trust = installation.dir.join("genesis.json");
    let good = fs::read(installation.receipt("pack-1/3")).unwrap();
    let path = installation.file("changed.receipt");
    let verify = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        run(&["verify", text(&path), "--trust", text(&trust)])
    };
    assert_eq!(verify(&good).code, 0);
    let step = good.len() / 60;
    for at in (0..good.len()).step_by(step) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        verify(&bad).fails(1, &["is refused:", text(&path)]);
    }
    for len in [0, 3, 5, good.len() / 2, good.len() - 1] {
        verify(&good[..len]).fails(1, &["is refused:"]);
    }
    let mut longer = good.clone();
    longer.push(0);
    verify(&longer).fails(1, &["is refused:"]);
    verify(&vec![0x4D; 2 << 20]).fails(1, &["is refused:"]);
    let mut other_version = good.clone();
    other_version[4] = 9;
    verify(&other_version).fails(1, &["version 9", "newer build"]);
    other_version[4] = 1;
    verify(&other_version).fails(1, &["version 1", "writes it anew"]);
    let refused = run(&["verify", text(&path), "--json"]);
    assert_eq!((refused.code, &refused.json()["result"]), (1, &Value::from("refused")));
}

#[test]
fn trust_is_never_guessed() {
    let installation = installation();
    let receipt = installation.receipt(&installation.txs[0]);
    let verify = |trust: &Path| run(&["verify", text(&receipt), "--trust", text(trust)]);
    let path = installation.file("trust.json");

    let other = ledger::genesis::Genesis { name: "other".into(), ..world::genesis() };
    fs::write(&path, api::genesis::to_json(&other)).unwrap();
    verify(&path).fails(1, &["is refused: the receipt is for another chain", "trust file"]);
    let mut checkpoint = world::genesis().trust();
    fs::write(&path, api::genesis::trust_to_json(&checkpoint)).unwrap();
    assert_eq!(verify(&path).code, 0, "a checkpoint is trust too");
    checkpoint.validators.0[0].key = world::validator("someone else").verifying_key().to_bytes();
    fs::write(&path, api::genesis::trust_to_json(&checkpoint)).unwrap();
    verify(&path).fails(1, &["validators are not the trusted ones"]);

    verify(&installation.file("none.json")).fails(2, &["cannot read the trust file", "no such file"]);
    fs::write(&path, "{\"format\": 1}").unwrap();
    verify(&path).fails(2, &["is not a usable trust file"]);
    verify(&receipt).fails(2, &["is not a trust file"]);
    // A default that cannot be read is not silently no trust.
    let mut by_variable = command(&["verify", text(&receipt)]);
    by_variable.env("MODBATT_TRUST", installation.file("none.json"));
    finish(by_variable).fails(2, &["cannot read the trust file"]);
    let mut empty = command(&["verify", text(&receipt)]);
    empty.env("MODBATT_TRUST", "");
    assert_eq!(finish(empty).code, 3);
    run(&["verify", text(&installation.file("none"))]).fails(2, &["cannot read the receipt", "no such file"]);
    run(&["verify", text(&installation.dir)]).fails(2, &["cannot read the receipt", "is a directory"]);
}

#[test]
fn checkpoints_are_made_compared_witnessed_and_trusted() {
    let installation = installation();
    let keys = installation.dir.join("keys");
    fs::create_dir_all(&keys).unwrap();
    let data = text(&installation.dir);
    let [one, two, by] =
        ["1.checkpoint", "2.checkpoint", "1-2.succession"].map(|name| installation.file(name));
    let key = installation.file("witness.key");
    fs::write(&key, lct::hash::sha256(&[b"a witness"])).unwrap();
    let make = |out: &Path| run(&["checkpoint", "make", "--data-dir", data, "-o", text(out)]);
    fs::write(keys.join("validator"), world::validator("another").to_bytes()).unwrap();
    make(&one).fails(1, &["no checkpoint can be made", "not certified"]);
    assert!(!one.exists());
    fs::write(keys.join("validator"), world::validator("v").to_bytes()).unwrap();
    assert_eq!(make(&one).code, 0);
    let cosign = |file: &Path, more: &[&str]| {
        run(&[&["checkpoint", "cosign", text(file), "--key", text(&key)], more].concat())
    };
    let unfounded = cosign(&one, &[]);
    assert_eq!(unfounded.code, 2);
    assert!(unfounded.err.contains("--first"), "{}", unfounded.err);
    assert_eq!(cosign(&one, &["--first"]).code, 0);

    let chain = Arc::new(installation.chain());
    let tx = world::tx(&world::key("operator"), 7, world::register("module-1", Role::Module));
    let id = chain.submit(tx).unwrap();
    let engine = Solo::new(chain.clone(), world::validator("v")).unwrap();
    engine.drain(|| world::START_MS + 900_000).unwrap();
    drop((engine, chain));
    assert_eq!(make(&two).code, 0);
    let lead = |a: &Path, b: &Path| {
        run(&["checkpoint", "lead", text(a), text(b), "--data-dir", data, "-o", text(&by)])
    };
    lead(&two, &one).fails(1, &["height"]);
    let led = lead(&one, &two);
    assert_eq!(led.code, 0, "{}", led.err);
    let after = ["--after", text(&one), "--by", text(&by)];
    assert_eq!(cosign(&two, &after).code, 0);
    let shown = run(&[&["checkpoint", "show", text(&two), "--json"], &after[..]].concat()).json();
    assert_eq!((&shown["height"], shown["witnesses"].as_array().unwrap().len()), (&Value::from(10), 1));

    // The witness refuses what does not go on where it signed last.
    let backwards = ["--after", text(&two), "--by", text(&by)];
    cosign(&one, &backwards).fails(1, &["does not follow", "older", "evidence"]);

    let receipt = installation.receipt(&hex::encode(id));
    for trust in [&one, &two] {
        assert_eq!(run(&["verify", text(&receipt), "--trust", text(trust)]).code, 0);
    }
    // Beside the later one what shows that its history holds the receipt's block.
    let led = installation.file("1-2.inclusion");
    let include = |checkpoint: &Path| {
        let args = ["checkpoint", "include", text(&receipt), text(checkpoint)];
        run(&[&args[..], &["--data-dir", data, "-o", text(&led)]].concat())
    };
    include(&one).fails(1, &["does not reach the receipt"]);
    assert_eq!(include(&two).code, 0);
    let by = |trust: &Path| run(&["verify", text(&receipt), "--trust", text(trust), "--by", text(&led)]);
    assert_eq!(by(&two).code, 0);
    by(&one).fails(1, &["history of the checkpoint"]);
    run(&["verify", text(&receipt), "--by", text(&led)]).fails(2, &["--trust"]);

    let mut bytes = fs::read(&two).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&two, bytes).unwrap();
    run(&["verify", text(&receipt), "--trust", text(&two)]).fails(1, &["not a usable checkpoint", "witness"]);
}

#[test]
fn a_receipt_that_cannot_be_had_leaves_no_file() {
    let installation = installation();
    let out = installation.file("x.receipt");
    let receipt =
        |of: &str, out: &Path| run(&["receipt", of, "-o", text(out), "--data-dir", text(&installation.dir)]);
    receipt(&"00".repeat(32), &out).fails(1, &["no block holds this transaction"]);
    receipt("pack-1/5", &out).fails(1, &["no batch on the chain covers record 5 of pack-1"]);
    receipt("pack-2/0", &out).fails(1, &["covers record 0 of pack-2"]);
    receipt(&installation.txs[6], &out).fails(1, &["the chain refused this transaction"]);
    assert!(!out.exists());
    receipt("pack-1/0", &installation.file("none/x.receipt")).fails(1, &["none", "no such file"]);
    if cfg!(target_os = "linux") {
        receipt("pack-1/0", Path::new("/dev/full")).fails(1, &["the disk that holds /dev/full is full"]);
    }
    receipt("pack-1/0", &installation.dir).fails(1, &[text(&installation.dir)]);
    fs::remove_dir_all(installation.dir.join("ledger/segments")).unwrap();
    receipt("pack-1/0", &out).fails(1, &["the record is not stored here"]);
    assert_eq!(receipt(&installation.txs[3], &out).code, 0, "the batch itself can still be proved");
}

/// Answers `answers` to as many requests, in order, and returns their first lines.
fn serve(answers: Vec<(u16, Vec<u8>)>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let answer = |(status, body): (u16, Vec<u8>)| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let n = stream.read(&mut request).unwrap();
            let head =
                format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
            String::from_utf8_lossy(&request[..n]).lines().next().unwrap_or_default().to_owned()
        };
        answers.into_iter().map(answer).collect()
    });
    (url, server)
}

#[test]
fn a_running_program_is_asked_instead_of_the_disk() {
    let installation = installation();
    let dir = text(&installation.dir);
    let status = run(&["ledger", "status", "--data-dir", dir, "--json"]);
    let receipt = fs::read(installation.receipt("pack-1/1")).unwrap();
    let mut answer = status.json();
    answer.as_object_mut().unwrap().remove("data_dir");

    let running = installation.chain();
    run(&["ledger", "status", "--data-dir", dir])
        .fails(1, &["is in use by a program that does not say where"]);
    let mut foreign = answer.clone();
    foreign["chain_id"] = Value::from("cd".repeat(32));
    let mut changed = receipt.clone();
    changed[200] ^= 1;
    let problem = br#"{"error":"no such record","code":"W4_ERR_RECEIPT_NOT_FOUND","status":404}"#;
    let (url, server) = serve(vec![
        (200, answer.to_string().into_bytes()),
        (200, foreign.to_string().into_bytes()),
        (200, receipt.clone()),
        (200, changed),
        (404, problem.to_vec()),
        (200, receipt.clone()),
    ]);
    fs::write(installation.dir.join("run.json"), format!("{{\"url\":\"{url}\",\"pid\":1}}")).unwrap();
    let asked = run(&["ledger", "status", "--data-dir", dir, "--json"]);
    assert_eq!((asked.code, asked.json()), (0, status.json()), "{}", asked.err);
    run(&["ledger", "status", "--data-dir", dir]).fails(1, &["serves chain cdcdcdcd"]);
    let out = installation.file("asked.receipt");
    let get = || run(&["receipt", "pack-1/1", "-o", text(&out), "--data-dir", dir]);
    assert_eq!(get().code, 0);
    assert_eq!(fs::read(&out).unwrap(), receipt);
    get().fails(1, &["does not hold, nothing was written"]);
    get().fails(1, &["the bridge refused: no such record (W4_ERR_RECEIPT_NOT_FOUND)"]);
    assert_eq!(fs::read(&out).unwrap(), receipt, "a failure leaves the old file");
    fs::remove_file(&out).unwrap();
    let by_url = run(&["receipt", "pack-1/1", "-o", text(&out), "--url", &url]);
    assert_eq!(by_url.code, 0, "{}", by_url.err);
    let requests = server.join().unwrap();
    assert!(requests[0].starts_with("GET /api/v1/ledger/status "), "{requests:?}");
    assert!(requests[2].starts_with("GET /api/v1/receipts/pack-1/1 "), "{requests:?}");

    // Nobody answers any more: the program died, or is ending.
    run(&["ledger", "status", "--data-dir", dir]).fails(1, &["cannot be reached"]);
    run(&["receipt", "pack-1/1", "-o", text(&out), "--url", "http://10.0.0.1:1"])
        .fails(2, &["stays on this machine"]);
    drop(running);
    assert_eq!(run(&["ledger", "status", "--data-dir", dir]).code, 0, "an old run.json does not matter");
}

/// The cases of the web4 standard's table, in mWh, and what is wrong with files that cannot be evaluated.
#[test]
fn operations_on_energy_are_computed_from_a_file() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("ops.json");
    let eval = |content: &str| {
        fs::write(&path, content).unwrap();
        run(&["energy", "eval", text(&path)])
    };
    let done = eval(
        r#"{"ops":[
        {"id":"top","op":"transfer","sender":100000,"receiver":50000,"amount":20000,"fee":0.05},
        {"id":"cap","op":"transfer","sender":200000,"receiver":490000,"amount":30000,"fee":0.05,"cap":500000},
        {"id":"wh","op":"transfer","sender_wh":200,"receiver_wh":490.0,"amount_wh":30,"fee":5e-2,"cap_wh":500},
        {"id":"lock","op":"lock","available":100,"amount":30},
        {"id":"commit","op":"commit","available":70,"locked":30},
        {"id":"rollback","op":"rollback","available":70,"locked":30},
        {"id":"charge","op":"recharge","balance":40,"initial":100,"rate":0.1,"multiplier":3},
        {"id":"full","op":"recharge","balance":295,"initial":100,"rate":0.1,"multiplier":3.0},
        {"id":"ratio","op":"ratio","atp":80,"adp":20},
        {"id":"none","op":"ratio","atp":0,"adp":0},
        {"id":"half","op":"sliding_payment","amount":1000,"quality":0.5}]}"#,
    );
    let capped = |id: &str| {
        format!(
            r#"{{"id":"{id}","sender":188500,"receiver":500000,"fee":1500,"credited":10000,"returned":20000}}"#
        )
    };
    let expected = format!(
        r#"{{"results":[
        {{"id":"top","sender":79000,"receiver":70000,"fee":1000,"credited":20000,"returned":0}},
        {}, {},
        {{"id":"lock","available":70,"locked":30}},
        {{"id":"commit","available":70,"locked":0}},
        {{"id":"rollback","available":100,"locked":0}},
        {{"id":"charge","balance":50,"added":10}},
        {{"id":"full","balance":300,"added":5}},
        {{"id":"ratio","ppm":800000}},
        {{"id":"none","ppm":500000}},
        {{"id":"half","ppm":500000,"payment":500}}]}}"#,
        capped("cap"),
        capped("wh")
    );
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(done.json(), serde_json::from_str::<Value>(&expected).unwrap());

    let refused = eval(
        r#"{"ops":[{"id":"x","op":"lock","available":1,"amount":2},{"id":"y","op":"ratio","atp":1,"adp":1}]}"#,
    );
    assert_eq!(refused.code, 1);
    assert_eq!(refused.json()["results"][0]["error"], "insufficient_balance");
    assert_eq!(refused.json()["results"][1]["ppm"], 500_000, "the others are computed");

    for (op, parts) in [
        (r#""op":"ratio","atp":1,"adp":-1"#, &["operation 1", "\"x\"", "\"adp\"", "whole number", "-1"][..]),
        (r#""op":"ratio","atp":1.5,"adp":1"#, &["\"atp\"", "whole number"]),
        (r#""op":"ratio","atp":1"#, &["\"adp\"", "missing"]),
        (r#""op":"ratio","atp":1,"atp_wh":1,"adp":1"#, &["\"atp_wh\"", "twice"]),
        (r#""op":"ratio","atp_wh":0.0001,"adp":1"#, &["\"atp_wh\"", "3 decimals"]),
        (r#""op":"ratio","atp":1,"adp":1,"apd":1"#, &["ratio has no field \"apd\""]),
        (r#""op":"transfer","sender":1,"receiver":1,"amount":1,"fee":0.0000001"#, &["\"fee\"", "6 decimals"]),
        (r#""op":"sliding_payment","amount":1,"quality":1.1"#, &["\"quality\"", "at most 1"]),
        (r#""op":"melt""#, &["no operation \"melt\"", "transfer"]),
        (r#""nop":"ratio""#, &["\"op\"", "missing"]),
    ] {
        eval(&format!(r#"{{"ops":[{{"id":"x",{op}}}]}}"#)).fails(2, parts);
    }
    eval(r#"{"ops":[{"op":"ratio"}]}"#).fails(2, &["operation 1", "\"id\"", "missing"]);
    eval(r#"{"op":[]}"#).fails(2, &["no file of operations", "ops"]);
    run(&["energy", "eval", "nowhere.json"]).fails(2, &["cannot read the operations nowhere.json"]);
}

/// The cases of the web4 standard's table, and what is wrong with files that cannot be evaluated.
#[test]
fn trust_is_computed_from_the_digits_in_a_file() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("trust.json");
    let eval = |content: &str| {
        fs::write(&path, content).unwrap();
        run(&["trust", "eval", text(&path)])
    };
    let half = r#"{"talent":0.5,"training":0.5,"temperament":0.5}"#;
    let tensor = |[talent, training, temperament]: [u32; 3]| serde_json::json!({ "talent": talent, "training": training, "temperament": temperament });
    let share = |ppm: u32| serde_json::json!({ "ppm": ppm });
    let rows = [
        (r#""op":"t3_composite","talent":0.9,"training":0.8,"temperament":0.7"#.to_owned(), share(810_000)),
        (r#""op":"v3_composite","valuation":0.3,"veracity":0.85,"validity":0.8"#.into(), share(667_500)),
        (r#""op":"v3_composite","valuation":1.5,"veracity":1,"validity":1"#.into(), share(1_000_000)),
        // The doubles nearest to these would be less.
        (r#""op":"t3_composite","talent":0.29,"training":0.29,"temperament":0.29"#.into(), share(290_000)),
        (
            r#""op":"t3_composite","talent":0.9999999,"training":1e0,"temperament":10E-1"#.into(),
            share(999_999),
        ),
        (format!(r#""op":"t3_update","t3":{half},"quality":0.8"#), tensor([506_000, 504_800, 503_600])),
        (format!(r#""op":"t3_update","t3":{half},"quality":0.3"#), tensor([496_000, 496_800, 497_600])),
        (format!(r#""op":"decay","t3":{half},"months":2"#), tensor([500_000, 498_000, 520_000])),
        (
            format!(r#""op":"decay","t3":{half},"days":59,"recovers_to":0.505"#),
            tensor([500_000, 499_000, 505_000]),
        ),
        (r#""op":"repeat","n":8"#.into(), share(209_715)),
        (r#""op":"repeat","n":99999999999,"value":0.5"#.into(), share(50_000)),
        (r#""op":"hops","hops":2"#.into(), share(490_000)),
        (r#""op":"hops","hops":5,"value":0.9"#.into(), share(0)),
        (
            format!(
                r#""op":"observe","t3":{half},"metrics":{{"efficiency":0.7,"reliability":0.6,"accuracy":0.5,"responsiveness":0.5,"safety":0.5}}"#
            ),
            tensor([560_000, 530_000, 500_000]),
        ),
        (format!(r#""op":"outcome","t3":{half},"outcome":"violation""#), tensor([450_000, 500_000, 400_000])),
        (r#""op":"health","t3":0.95,"v3":0.9,"energy_ratio":0.9"#.into(), share(920_000)),
    ];
    let ops: Vec<_> = rows.iter().enumerate().map(|(n, (op, _))| format!(r#"{{"id":"{n}",{op}}}"#)).collect();
    let done = eval(&format!(r#"{{"ops":[{}]}}"#, ops.join(",")));
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    let results = done.json()["results"].clone();
    assert_eq!(results.as_array().unwrap().len(), rows.len());
    for (n, (op, mut expected)) in rows.into_iter().enumerate() {
        expected["id"] = n.to_string().into();
        assert_eq!(results[n], expected, "{op}");
    }

    for (op, parts) in [
        (
            r#""op":"t3_composite","talent":1.2,"training":0,"temperament":0"#.to_owned(),
            ["\"talent\"", "at most 1"],
        ),
        (r#""op":"t3_composite","talent":-0.1,"training":0,"temperament":0"#.into(), ["\"talent\"", "-0.1"]),
        (
            r#""op":"t3_composite","talent":"0.9","training":0,"temperament":0"#.into(),
            ["\"talent\"", "number"],
        ),
        (r#""op":"t3_composite","talent":0.9,"temperament":0"#.into(), ["\"training\"", "missing"]),
        (r#""op":"hops","hops":2,"hop":1"#.into(), ["\"hop\"", "no field"]),
        (r#""op":"repeat","n":0"#.into(), ["\"n\"", "counts from 1"]),
        (
            r#""op":"t3_update","t3":{"talent":0.5,"training":0.5},"quality":1"#.into(),
            ["\"t3\"", "\"temperament\""],
        ),
        (format!(r#""op":"t3_update","t3":{half},"quality":null"#), ["\"quality\"", "null"]),
        (format!(r#""op":"outcome","t3":{half},"outcome":"win""#), ["\"outcome\"", "\"win\""]),
        (r#""op":"composite""#.into(), ["\"composite\"", "t3_composite"]),
    ] {
        let [first, second] = parts;
        eval(&format!(r#"{{"ops":[{{"id":"x",{op}}}]}}"#)).fails(2, &["operation 1", "\"x\"", first, second]);
    }
}

#[test]
fn how_far_a_part_is_relied_on_is_shown_with_the_reasons() {
    let i = installation();
    let shown = |args: &[&str]| run(&[&["trust", "show"], args, &["--data-dir", text(&i.dir)]].concat());
    let json = shown(&["pack-1", "--json"]).json();
    let known = &json["contexts"][0];
    assert_eq!(known["context"], "operation");
    assert_eq!((known["score"].as_u64(), known["ceiling"].as_u64()), (Some(500_000), Some(750_000)));
    assert_eq!(known["changes"][0]["cause"], "baseline");
    assert_eq!(known["changes"][0]["txhash"], i.txs[2], "the binding");
    assert_eq!(json["relations"].as_array().map(Vec::len), Some(0), "it was never paired");
    let words = shown(&["pack-1"]).out;
    assert!(words.contains("operation: 500000 (standard; talent 500000"), "{words}");
    assert!(
        words.contains(&format!("baseline by ledger: [500000, 500000, 500000], transaction {}", i.txs[2])),
        "{words}"
    );
    shown(&["pack-9"]).fails(1, &["pack-9", "not registered"]);
}
