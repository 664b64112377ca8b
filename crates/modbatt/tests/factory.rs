//! `modbatt factory` as a production line uses it.
//!
//! Rule L220 of the ledger.

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod process;

use std::fs;
use std::path::{Path, PathBuf};

use lct::attest::{DeviceCertificate, verify_chain};
use lct::context::{Content, Signed, entity_lct};
use lct::pake::Code;
use ledger::genesis::{Genesis, Params, Validator};
use process::{Ended, run};

struct Line {
    _temp: tempfile::TempDir,
    folder: PathBuf,
}

impl Line {
    /// A new place, with a factory in it made with `options`.
    fn new(options: &[&str]) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let line = Line { folder: temp.path().to_owned(), _temp: temp };
        fs::write(line.folder.join("pass"), "a passphrase for tests\n").unwrap();
        private(&line.folder.join("pass"));
        line.run("init", &[&["--name", "example-batteries"], options].concat()).good();
        line
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    /// Runs `modbatt factory TASK <factory directory> ARGS`.
    fn run(&self, task: &str, args: &[&str]) -> Ended {
        let directory = self.file("line");
        run(&[&["factory", task, &directory], args].concat())
    }

    fn device(&self, id: &str, more: &[&str]) -> Ended {
        self.run("device", &[&["--batch", "batch-1", "--id", id, "--serial", "S1"], more].concat())
    }
}

#[cfg(unix)]
fn private(path: &Path) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

#[cfg(not(unix))]
fn private(_: &Path) {}

fn certificate(path: &str) -> DeviceCertificate {
    DeviceCertificate::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_device_gets_its_certificate_from_its_own_request_and_the_code_is_only_on_the_label() {
    let line = Line::new(&["--unencrypted"]);
    line.run("batch", &["--name", "batch-1"]).good();
    let (key, request, label) = (line.file("pack.key"), line.file("pack.request"), line.file("pack.svg"));
    let born = ["factory", "request", "--id", "pack-0001", "--role", "pack", "--secure-storage"];
    run(&[&born[..], &["--key-out", &key, "-o", &request]].concat()).good();
    let key_before = fs::read(&key).unwrap();
    assert_eq!(key_before.len(), 32);
    line.device("pack-0001", &["--request", &request, "--label", &label]).good();

    let path = line.file("line/devices/pack-0001.mbcert");
    let batch = line.file("line/batches/batch-1.mbcert");
    let root = line.file("line/root.mbcert");
    let root_key = certificate(&root).subject().unwrap().key;
    let subject = verify_chain(&certificate(&path), &certificate(&batch), &[root_key], None).unwrap();
    assert_eq!((subject.flags, subject.role.name()), (1, "pack"));
    assert_ne!(subject.code_commit, [0; 32]);

    // The label's code is the one the certificate commits to, and it is nowhere in the factory.
    let svg = fs::read_to_string(&label).unwrap();
    let printed =
        svg.lines().find_map(|l| l.strip_suffix("</text>").filter(|_| l.contains("font-size=\"22\"")));
    let printed = printed.unwrap().rsplit('>').next().unwrap().to_owned();
    let code = Code::parse(&printed).unwrap();
    let record = gateway::stretch(&code, &subject.cid).unwrap().record();
    assert_eq!(record.commitment(&subject.cid), subject.code_commit);
    assert_eq!(fs::read(line.file("line/keys/code-pack-0001")).unwrap(), record.expose());
    let plain: String = printed.chars().filter(|c| *c != '-').collect();
    for file in files(Path::new(&line.file("line"))) {
        let bytes = fs::read(&file).unwrap();
        for needle in [printed.as_bytes(), plain.as_bytes(), &key_before[..8]] {
            assert!(!bytes.windows(needle.len()).any(|w| w == needle), "{}", file.display());
        }
    }

    let verified = run(&["factory", "verify", &path, "--batch", &batch, "--root", &root]);
    assert!(verified.good().out.contains("holds: pack"), "{}", verified.out);
    let listed = line.run("list", &["--json"]).json();
    assert_eq!(listed["devices"][0]["component_id"], "pack-0001");
    assert_eq!(listed["devices"][0]["key_drawn_here"], false);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn keys_are_encrypted_unless_asked_otherwise() {
    let temp = tempfile::tempdir().unwrap();
    let directory = temp.path().join("line");
    let init = ["factory", "init", directory.to_str().unwrap(), "--name", "maker"];
    run(&init).fails_at_once("no terminal, no passphrase", &["passphrase is needed", "--passphrase-file"]);
    assert!(!directory.exists(), "nothing was made");

    let line = Line { folder: temp.path().to_owned(), _temp: tempfile::tempdir().unwrap() };
    let pass = line.file("pass");
    fs::write(&pass, "a passphrase for tests\n").unwrap();
    private(Path::new(&pass));
    line.run("init", &["--name", "maker", "--passphrase-file", &pass]).good();
    line.run("batch", &["--name", "batch-1", "--passphrase-file", &pass]).good();
    let names: Vec<String> = files(&directory.join("keys"))
        .iter()
        .map(|f| f.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert!(names.iter().all(|name| name.ends_with(".age")) && names.len() == 2, "{names:?}");
    fs::write(&pass, "another passphrase\n").unwrap();
    let wrong = line.run("batch", &["--name", "batch-2", "--passphrase-file", &pass]);
    wrong.fails_at_once("wrong passphrase", &["does not open", "root.age"]);
    line.run("list", &[]).good();
}

#[test]
fn what_must_not_be_issued_is_refused() {
    let line = Line::new(&["--unencrypted"]);
    let again = line.run("init", &["--name", "other-maker", "--unencrypted"]);
    again.fails_at_once("a second root", &["is not empty"]);
    line.device("pack-0001", &["--draw-key", "--role", "pack"])
        .fails_at_once("no batch", &["no batch `batch-1`"]);
    line.run("batch", &["--name", "batch-1", "--years", "31"])
        .fails_at_once("longer than the root", &["would outlive the root", "--years 30"]);
    line.run("batch", &["--name", "batch-1"]).good();
    line.run("batch", &["--name", "batch-1"]).fails_at_once("twice", &["already"]);
    line.device("pack-0001", &["--draw-key", "--role", "pack", "--years", "40"])
        .fails_at_once("longer than the batch", &["would outlive its batch authority"]);
    let label = line.file("label.svg");
    line.device("module-1", &["--draw-key", "--role", "module", "--label", &label])
        .fails_at_once("a module has no code", &["no printed code"]);
    assert!(!Path::new(&label).exists());

    let (key, request) = (line.file("m.key"), line.file("m.request"));
    let born = ["factory", "request", "--id", "module-1", "--role", "module"];
    let ask = [&born[..], &["--key-out", &key, "-o", &request]].concat();
    run(&ask).good();
    run(&ask).fails_at_once("a key would be lost", &["exists", "may hold a key"]);
    line.device("module-2", &["--request", &request])
        .fails_at_once("another's request", &["not for `module-2`"]);
    let good = fs::read(&request).unwrap();
    for at in [1, 5, 30, 80] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&request, &bad).unwrap();
        let ended = line.device("module-1", &["--request", &request]);
        ended.fails_at_once(&format!("byte {at}"), &[]);
    }
    fs::write(&request, &good[..100]).unwrap();
    line.device("module-1", &["--request", &request]).fails_at_once("cut", &["100 bytes long"]);
    fs::write(&request, &good).unwrap();
    line.device("module-1", &["--request", &request]).good();
    line.device("module-1", &["--request", &request]).fails_at_once("twice", &["issued once"]);

    for bad in ["../x", "a", "x y z"] {
        let ended = line.device(bad, &["--draw-key", "--role", "pack"]);
        ended.fails("a name that is no name", &[]);
    }
    let nowhere = line.file("nothing");
    run(&["factory", "list", &nowhere])
        .fails_at_once("no factory", &["is not a factory directory", "factory init"]);
    fs::write(line.file("line/format"), "modbatt factory 2\n").unwrap();
    line.run("list", &[]).fails_at_once("another format", &["factory 2", "knows `modbatt factory 1`"]);
}

#[test]
fn a_certificate_of_another_maker_does_not_hold() {
    let (ours, theirs) = (Line::new(&["--unencrypted"]), Line::new(&["--unencrypted"]));
    for line in [&ours, &theirs] {
        line.run("batch", &["--name", "batch-1"]).good();
        line.device("pack-0001", &["--draw-key", "--role", "pack"]).good();
    }
    let verify = |device: &Line, batch: &Line, root: &Line| {
        run(&[
            "factory",
            "verify",
            &device.file("line/devices/pack-0001.mbcert"),
            "--batch",
            &batch.file("line/batches/batch-1.mbcert"),
            "--root",
            &root.file("line/root.mbcert"),
        ])
    };
    verify(&ours, &ours, &ours).good();
    for (device, batch, root) in
        [(&theirs, &theirs, &ours), (&theirs, &ours, &ours), (&ours, &theirs, &theirs)]
    {
        verify(device, batch, root).fails_at_once("foreign", &["does not hold"]);
    }
}

/// What the factory states without network is what a ledger can hold against the device's key and batch.
#[test]
fn a_statement_is_about_the_device_and_signed_by_its_batch() {
    let line = Line::new(&["--unencrypted"]);
    for batch in ["batch-1", "batch-2"] {
        line.run("batch", &["--name", batch]).good();
    }
    for (id, role) in [("module-0001", "module"), ("pack-0001", "pack")] {
        line.device(id, &["--draw-key", "--role", role]).good();
    }
    let genesis = Genesis {
        name: "one".into(),
        time_ms: 1_700_000_000_000,
        validators: vec![Validator {
            key: ed25519_dalek::SigningKey::from_bytes(&[1; 32]).verifying_key().to_bytes(),
            power: 1,
        }],
        roots: vec![],
        authorities: vec![lct::sign::SigningKey::from_bytes(&[2; 32]).unwrap().public()],
        operators: vec![],
        params: Params::default(),
        accounts: vec![],
        rules: 1,
    };
    let (chain, output) = (line.file("genesis.json"), line.file("out.mbcontext"));
    fs::write(&chain, api::genesis::to_json(&genesis)).unwrap();
    let about = |id| ["--id", id, "--genesis", chain.as_str(), "-o", output.as_str()];
    let rated = [
        "--nominal-mv=7300",
        "--charge-ma=65000",
        "--discharge-ma=200000",
        "--resistance-uohm=8000",
        "--lowest-mc=-20000",
        "--highest-mc=60000",
    ];
    let figures = ["--figure", "capacity_mah=2912", "--figure", "offset_mv=-3", "--number", "2"];
    for (task, more) in [("manufacturing", &figures[..]), ("profile", &rated)] {
        line.run(task, &[&about("module-0001"), more].concat()).good();
        let signed = Signed::from_file(&fs::read(&output).unwrap()).unwrap();
        let stated = signed.open().unwrap();
        let device = certificate(&line.file("line/devices/module-0001.mbcert")).subject().unwrap();
        let batch = certificate(&line.file("line/batches/batch-1.mbcert")).subject().unwrap();
        assert_eq!(signed.key, batch.key, "{task}");
        assert_eq!(stated.lct, entity_lct(&genesis.chain_id(), &device.cid, &device.key), "{task}");
        assert_eq!((stated.content.name(), stated.chain_id), (task, genesis.chain_id()));
        if let Content::Manufacturing { batch, quality, .. } = &stated.content {
            let quality: Vec<(&str, i32)> = quality.iter().map(|(n, v)| (n.as_str(), *v)).collect();
            assert_eq!((batch.as_str(), stated.number), ("batch-1", 2));
            assert_eq!(quality, [("capacity_mah", 2912), ("offset_mv", -3)]);
        }
    }
    let cold = [&rated[..5], &["--highest-mc=-30000"]].concat();
    line.run("profile", &[&about("module-0001")[..], &cold].concat())
        .fails_at_once("upside down", &["out of its range"]);
    line.run("profile", &[&about("pack-0001")[..], &rated].concat())
        .fails_at_once("a pack has none", &["is no module"]);
    line.run("manufacturing", &about("module-0002")).fails_at_once("nobody", &["no `module-0002`"]);
    fs::write(&chain, "{}").unwrap();
    line.run("manufacturing", &about("module-0001")).fails_at_once("no genesis", &["no usable genesis"]);
    let record = ["factory", "record", &chain, "--data-dir", &line.file("none")];
    run(&record).fails_at_once("no statement", &["holds no signed statement"]);
}
