//! Where the authority's keys are kept: `modbatt keys`, with a token of SoftHSM2.

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod process;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use rand_chacha::rand_core::SeedableRng;

use lct::backup::Share;
use lct::secret::Secret;
use lct::sign::SigningKey;
use lct::spk::Spk;
use process::{Ended, Running, run, start, start_with};

const LIBRARIES: [&str; 3] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
];

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A file of one line that only its owner may read.
fn private(path: &Path, line: &str) {
    fs::write(path, format!("{line}\n")).unwrap();
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// Tokens of SoftHSM2 in a folder of their own, or nothing where it is not installed.
struct Tokens {
    library: &'static str,
    configuration: PathBuf,
    pin: PathBuf,
    words: PathBuf,
}

impl Tokens {
    fn new(folder: &Path) -> Option<Self> {
        let Some(library) = LIBRARIES.into_iter().find(|path| Path::new(path).exists()) else {
            assert!(std::env::var_os("CI").is_none(), "SoftHSM2 is not installed");
            println!("not run: SoftHSM2 is not installed (Debian's package softhsm2)");
            return None;
        };
        let (store, configuration) = (folder.join("tokens"), folder.join("softhsm2.conf"));
        fs::create_dir(&store).unwrap();
        let lines = format!("directories.tokendir = {}\nobjectstore.backend = file\n", store.display());
        fs::write(&configuration, lines).unwrap();
        let (pin, words) = (folder.join("pin"), folder.join("words"));
        private(&pin, "48151623");
        private(&words, "correct horse battery");
        let tokens = Tokens { library, configuration, pin, words };
        tokens.make("plant");
        Some(tokens)
    }

    fn make(&self, label: &str) {
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", label, "--pin", "48151623", "--so-pin", "123456"])
            .env("SOFTHSM2_CONF", &self.configuration)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    fn start(&self, args: &[&str]) -> Running {
        start_with(&[("SOFTHSM2_CONF", text(&self.configuration))], args)
    }

    fn run(&self, args: &[&str]) -> Ended {
        self.start(args).wait()
    }

    fn which<'a>(&'a self, label: &'a str) -> [&'a str; 8] {
        let (pin, words) = (text(&self.pin), text(&self.words));
        ["--module", self.library, "--token", label, "--pin-file", pin, "--passphrase-file", words]
    }
}

/// A98, A211: the key that follows may be one that a token drew; the installation then starts with its PIN only, devices follow, and
/// no file of it but where it lies is in the directory.
#[test]
fn a_key_that_a_token_drew_follows() {
    let temp = tempfile::tempdir().unwrap();
    let Some(tokens) = Tokens::new(temp.path()) else { return };
    let (dir, next, out) =
        (temp.path().join("data"), temp.path().join("next"), temp.path().join("next.succession"));
    let at = ["--data-dir", text(&dir)];
    let (pin, words) = (["--pin-file", text(&tokens.pin)], ["--passphrase-file", text(&tokens.words)]);
    let demo = |more: &[&str]| {
        let mut running =
            tokens.start(&[&["demo", "--modules", "1", "--speed", "4"], &at[..], more].concat());
        running.wait_ready();
        running.interrupt();
        let said = running.said();
        (running.wait().good().code, said)
    };
    demo(&[]);
    tokens.run(&[&["keys", "generate", text(&next)], &tokens.which("plant")[..]].concat()).good();
    let authority = dir.join("keys/authority");
    let sign = ["succession", "sign", "--from", text(&authority), "--to", text(&next), "--out", text(&out)];
    tokens.run(&[&sign[..], &pin].concat()).good();
    let take = ["succession", "take", text(&out), "--key", text(&next)];
    tokens.run(&[&take[..], &at].concat()).fails_at_once("no PIN", &["a PIN is needed"]);
    tokens.run(&[&take[..], &at, &pin].concat()).good();
    let listed = tokens.run(&[&["keys", "list", "--json"], &at[..]].concat()).good().json();
    assert_eq!(listed["kept"], "token", "{listed}");
    let name = listed["name"].as_str().unwrap();
    let files =
        ["", ".age", ".token", "-opening.age"].map(|end| dir.join(format!("keys/{name}{end}")).exists());
    assert_eq!(files, [false, false, true, true]);
    tokens.start(&[&["demo"], &at[..]].concat()).wait().fails("no PIN", &["a PIN is needed"]);
    let (_, said) = demo(&pin);
    assert!(
        said.contains(&format!("obey the authority {}, which followed", listed["id"].as_str().unwrap())),
        "{said}"
    );
    // Logs that began under the first are opened with its file, which is still there.
    let verify = ["audit", "verify", text(&dir), "--key", text(&authority)];
    let verified = tokens.run(&[&verify[..], &words].concat());
    assert!(!verified.good().out.contains("tags were not checked"), "{}", verified.out);
}

/// Plain, encrypted, in a token: the same authority, which goes on issuing, and the plain key is gone.
#[test]
fn the_authority_moves_from_a_plain_file_into_a_token_and_goes_on() {
    let temp = tempfile::tempdir().unwrap();
    let Some(tokens) = Tokens::new(temp.path()) else { return };
    let dir = temp.path().join("data");
    let keys = dir.join("keys");
    let at = ["--data-dir", text(&dir)];
    let words = ["--passphrase-file", text(&tokens.words)];
    let (wrong, short) = (temp.path().join("wrong"), temp.path().join("short"));
    private(&wrong, "99999999");
    private(&short, "short");

    // Interrupted at rest, so that its cycle is closed.
    let mut first = tokens.start(&[&["demo", "--modules", "1", "--speed", "4"], &at[..]].concat());
    first.wait_ready();
    thread::sleep(Duration::from_millis(1_200));
    first.interrupt();
    first.wait().good();
    let plain = fs::read(keys.join("authority")).unwrap();
    let list = |code| {
        let ended = tokens.run(&[&["keys", "list", "--json"], &at[..]].concat());
        assert_eq!(ended.code, Some(code), "{}", ended.err);
        ended.json()
    };
    let before = list(0);
    assert_eq!(before["kept"], "plain");

    let protect = [&["keys", "protect"], &at[..]].concat();
    tokens.run(&protect).fails_at_once("no passphrase", &["a passphrase is needed"]);
    let refused = tokens.run(&[&protect[..], &["--passphrase-file", text(&short)]].concat());
    refused.fails_at_once("short", &["too short"]);
    assert_eq!(fs::read(keys.join("authority")).unwrap(), plain, "refused, and untouched");
    tokens.run(&[&protect[..], &words].concat()).good();
    assert!(!keys.join("authority").exists());
    assert_eq!(list(0)["kept"], "encrypted");
    let again = tokens.run(&[&protect[..], &words].concat());
    again.fails_at_once("again", &["encrypted already"]);

    let import = [&["keys", "import"], &at[..]].concat();
    let with = |more: &[&str]| tokens.run(&[&import[..], more].concat());
    let bad_pin = [&tokens.which("plant")[..5], &[text(&wrong)], &words].concat();
    with(&bad_pin).fails_at_once("wrong PIN", &["token `plant`", "the PIN is wrong"]);
    with(&tokens.which("other")).fails_at_once("other token", &["token `other`", "no token of this label"]);
    let bad_words = [&tokens.which("plant")[..7], &[text(&wrong)]].concat();
    with(&bad_words).fails_at_once("wrong passphrase", &["does not open"]);
    with(&tokens.which("plant")).good();
    let after = list(0);
    assert_eq!((&after["kept"], &after["key"]), (&"token".into(), &before["key"]));
    assert!(!keys.join("authority.age").exists());
    with(&tokens.which("plant")).fails_at_once("again", &["lies in the token `plant` already"]);

    // It issues a certificate, which a device of the first run accepts.
    let demo = [&["demo", "--speed", "50"], &at[..]].concat();
    tokens.run(&demo).fails("no PIN", &["a PIN is needed", "--pin-file"]);
    let mut second = tokens.start(&[&demo[..], &["--pin-file", text(&tokens.pin)]].concat());
    second.wait_ready();
    tokens.run(&[&["pair", "app-0001", "pack-0001"], &at[..]].concat()).good();
    // It governs too, as the account that it is; who sends is asked for its PIN like the bridge.
    let (account, pin) = (keys.join("authority"), ["--pin-file", text(&tokens.pin)]);
    let auditor = "02".to_owned() + &"7c".repeat(31) + "00";
    let govern = ["govern", "account", "auditor", &auditor, "--account-key", text(&account)];
    let govern = |more: &[&str]| tokens.run(&[&govern[..], &at, more].concat());
    govern(&[]).fails_at_once("no PIN", &["a PIN is needed"]);
    govern(&["--pin-file", text(&wrong)]).fails_at_once("wrong PIN", &["the PIN is wrong"]);
    govern(&pin).good();
    let shown = tokens.run(&[&["govern", "show", "--json"], &at[..]].concat()).good().json();
    let accounts = shown["accounts"]["accounts"].as_array().unwrap();
    assert!(accounts.iter().any(|a| a["public_key"] == *auditor && a["role"] == "auditor"), "{shown}");
    // And decides what is objected to the cycle of the first run.
    let energy = |args: &[&str]| {
        let by = ["--pack", "pack-0001", "--cycle", "1", "--account-key", text(&account)];
        tokens.run(&[&["energy"], args, &by, &at, &pin].concat())
    };
    let first_cycle = || {
        let cycles = tokens.run(&[&["energy", "cycles", "pack-0001", "--json"], &at[..]].concat());
        cycles.good().json()["cycles"][0].clone()
    };
    assert!(first_cycle()["closed_at"].is_u64(), "{}", first_cycle());
    let objection = || {
        let told = &first_cycle()["objection"];
        (told["reason"].as_str().map(str::to_owned), told["state"].as_str().map(str::to_owned))
    };
    let is = |state: &str| (Some("wrong_measurement".to_owned()), Some(state.to_owned()));
    assert_eq!(objection(), (None, None));
    energy(&["object", "--reason", "wrong_measurement"]).good();
    assert_eq!(objection(), is("open"));
    energy(&["settle"]).fails_at_once("too early", &["W4_ERR_SETTLE_WINDOW"]);
    energy(&["decide", "--as", "dismiss"]).good();
    assert_eq!(objection(), is("dismissed"));
    energy(&["decide", "--as", "uphold"]).fails_at_once("decided", &["W4_ERR_OBJECTION_DECIDED"]);
    second.interrupt();
    let ended = second.wait();
    ended.good();
    // What devices sealed to the authority before opens with the key that stayed beside the token.
    let key = keys.join("authority");
    let verified = tokens.run(&[&["audit", "verify", text(&dir), "--key", text(&key)], &words[..]].concat());
    assert!(verified.good().out.contains("every entry's tag is the device's own"), "{}", verified.out);

    // The seed, and any part of it, is nowhere on the disk but in the store of the token, which encrypts it.
    let seed = &plain[5..];
    for entry in fs::read_dir(&keys).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(8).any(|part| part == &seed[..8]), "{}", path.display());
    }

    // Another key under the same name is not taken for the authority's.
    let place = keys.join("authority.token");
    let described = fs::read_to_string(&place).unwrap();
    let next = temp.path().join("next");
    tokens.make("second");
    tokens.run(&[&["keys", "generate", text(&next)], &tokens.which("second")[..]].concat()).good();
    let other = fs::read_to_string(next.with_extension("token")).unwrap();
    let line = |text: &str, name: &str| text.lines().find(|l| l.starts_with(name)).unwrap().to_owned();
    let mixed = other.replace(&line(&other, "public"), &line(&described, "public"));
    fs::write(&place, mixed).unwrap();
    let pin = ["--pin-file", text(&tokens.pin)];
    tokens.run(&[&demo[..], &pin].concat()).fails("another key", &["another key under this identifier"]);
    fs::write(&place, described).unwrap();

    // Two tokens sign the succession.
    let (out, from) = (temp.path().join("succession"), keys.join("authority"));
    let sign = ["succession", "sign", "--from", text(&from), "--to", text(&next), "--out", text(&out)];
    tokens.run(&[&sign[..], &pin].concat()).good();
    let key = before["key"].as_str().unwrap();
    tokens.run(&["succession", "show", text(&out), "--from", key]).good();
}

/// A root and batches whose keys were drawn in a token, or put there: what they certify holds, nothing of them is on the disk, and who
/// signs with them is asked for the PIN and for nothing else.
#[test]
fn a_factory_signs_with_keys_in_a_token() {
    let temp = tempfile::tempdir().unwrap();
    let Some(tokens) = Tokens::new(temp.path()) else { return };
    let at = |name: &str| temp.path().join(name).to_str().unwrap().to_owned();
    let (line, wrong) = (at("line"), temp.path().join("wrong"));
    private(&wrong, "99999999");
    let (pin, words) = (["--pin-file", text(&tokens.pin)], ["--passphrase-file", text(&tokens.words)]);
    let factory = |task: &str, more: &[&str]| tokens.run(&[&["factory", task, &line], more].concat());
    let init = ["--name", "maker"];
    let bad = [&init[..], &tokens.which("plant")[..4], &words, &["--pin-file", text(&wrong)]].concat();
    factory("init", &bad).fails_at_once("wrong PIN", &["token `plant`", "the PIN is wrong"]);
    assert!(!Path::new(&line).exists(), "nothing was made");
    let half = [&init[..], &tokens.which("plant")[..2], &words].concat();
    assert_eq!(factory("init", &half).code, Some(2), "a library and no token");
    let made = factory("init", &[&init[..], &tokens.which("plant")].concat());
    assert!(made.good().out.contains("no backup of it can be made"), "{}", made.out);
    let in_token = tokens.which("plant");
    factory("batch", &[&["--name", "batch-1"], &in_token[..6]].concat()).good();
    factory("batch", &["--name", "batch-2"]).fails_at_once("no PIN", &["a PIN is needed", "--pin-file"]);

    // A device that drew its own key: no file with a secret is read or written.
    let (key, request) = (at("module.key"), at("module.request"));
    let born = ["--id", "module-1", "--role", "module", "--key-out", &key, "-o", &request];
    tokens.run(&[&["factory", "request"], &born[..]].concat()).good();
    let device = |batch: &str, id: &str, more: &[&str]| {
        factory("device", &[&["--batch", batch, "--id", id, "--serial", "S1"], more].concat())
    };
    device("batch-1", "module-1", &["--request", &request]).fails_at_once("no PIN", &["a PIN is needed"]);
    device("batch-1", "module-1", &[&["--request", &request], &pin[..]].concat()).good();
    let verify = |batch: &str, id: &str| {
        let files = ["devices", "batches"].map(|folder| format!("{line}/{folder}/"));
        let (device, batch) = (format!("{}{id}.mbcert", files[0]), format!("{}{batch}.mbcert", files[1]));
        let root = format!("{line}/root.mbcert");
        let ended = tokens.run(&["factory", "verify", &device, "--batch", &batch, "--root", &root]);
        assert!(ended.good().out.contains("holds: "), "{}", ended.out);
    };
    verify("batch-1", "module-1");

    // What is kept in files is under the passphrase that was given first, and under no other.
    let drawn = ["--draw-key", "--role", "pack"];
    device("batch-1", "pack-1", &[&drawn[..], &pin].concat())
        .fails_at_once("no passphrase", &["a passphrase is needed"]);
    let other = ["--passphrase-file", text(&wrong)];
    device("batch-1", "pack-1", &[&drawn[..], &pin, &other].concat())
        .fails_at_once("another passphrase", &["does not open", "check.age"]);
    assert!(!Path::new(&format!("{line}/devices/pack-1.mbcert")).exists());
    device("batch-1", "pack-1", &[&drawn[..], &pin, &words].concat()).good();
    verify("batch-1", "pack-1");
    let backup = ["keys", "backup", "--factory", &line, "--out", &at("backup"), "--shares", "2", "--of", "2"];
    let holders = [holder(temp.path(), "one").1, holder(temp.path(), "two").1];
    let to = ["--to", &holders[0], "--to", &holders[1]];
    tokens.run(&[&backup[..], &to, &pin, &words].concat()).fails_at_once(
        "backup",
        &["`root` lies in the token `plant`", "`batch-batch-1` lies in", "nothing is left"],
    );

    // A batch that began in a file moves in, and goes on.
    factory("batch", &[&["--name", "batch-2"], &pin[..], &words].concat()).good();
    let made = tokens.run(&[&backup[..], &to, &words].concat());
    let told = &made.good().out;
    assert!(told.contains(" of batch-batch-2, 2 of 2 shares"), "{told}");
    assert_eq!(told.matches("NOT IN IT: ").count(), 2, "{told}");
    let import = [&["--batch", "batch-2"], &in_token[..]].concat();
    factory("import", &["--batch", "batch-9", "--module", tokens.library, "--token", "plant"])
        .fails_at_once("no such batch", &["no batch `batch-9`"]);
    factory("import", &import).good();
    factory("import", &import).fails_at_once("again", &["lies in the token `plant` already"]);
    device("batch-2", "pack-2", &[&drawn[..], &pin, &words].concat()).good();
    verify("batch-2", "pack-2");
    let names: Vec<String> = fs::read_dir(format!("{line}/keys"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("device-"))
        .collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["batch-batch-1.token", "batch-batch-2.token", "check.age", "root.token"]);

    // Another key of the token is not taken for the root's.
    let place = format!("{line}/keys/root.token");
    let (of_root, of_batch) =
        (fs::read_to_string(&place).unwrap(), format!("{line}/keys/batch-batch-1.token"));
    fs::copy(&of_batch, &place).unwrap();
    factory("batch", &[&["--name", "batch-3"], &in_token[..6]].concat())
        .fails_at_once("a batch's key", &["does not fit its certificate"]);
    fs::write(&place, of_root).unwrap();
    factory("batch", &[&["--name", "batch-3"], &in_token[..6]].concat()).good();
}

/// A manufacturer renews its root on the ledger with the signature of the one that goes, which lies in a token: asked for its PIN, and
/// no other key of the token, nor the manufacturer's account alone, does it.
#[test]
fn a_root_in_a_token_signs_for_the_root_that_comes_after_it() {
    let temp = tempfile::tempdir().unwrap();
    let Some(tokens) = Tokens::new(temp.path()) else { return };
    let at = |name: &str| temp.path().join(name).to_str().unwrap().to_owned();
    let (line, dir, maker, wrong) = (at("line"), at("data"), at("maker.key"), temp.path().join("wrong"));
    private(&wrong, "99999999");
    let in_token = tokens.which("plant");
    tokens.run(&[&["factory", "init", &line, "--name", "maker"], &in_token[..]].concat()).good();
    tokens.run(&[&["factory", "batch", &line, "--name", "batch-1"], &in_token[..6]].concat()).good();
    let place = fs::read_to_string(format!("{line}/keys/root.token")).unwrap();
    let root = place.lines().find_map(|line| line.strip_prefix("public ")).unwrap();
    let public = |n: u8| SigningKey::from_bytes(&[n; 32]).unwrap().public().to_string();
    fs::write(&maker, [1; 32]).unwrap();
    let next = public(2);

    run(&["ledger", "init", "--data-dir", &dir]).good();
    let mut serve = tokens.start(&["serve", "--data-dir", &dir, "--listen", "127.0.0.1:0"]);
    serve.wait_for("its address", |_, said| said.contains("ledger at "));
    let authority = format!("{dir}/keys/authority");
    let govern = |args: &[&str]| tokens.run(&[&["govern"], args, &["--data-dir", &dir]].concat());
    let decide = |args: &[&str]| govern(&[args, &["--account-key", &authority]].concat());
    let shown = || govern(&["show", "--json"]).good().json();
    let has = |shown: &serde_json::Value, root: &str| {
        shown["roots"].as_array().unwrap().iter().any(|known| known == root)
    };
    // Each of them makes blocks, until what was decided holds.
    let mut others = 3..;
    let mut until = |holds: &dyn Fn(&serde_json::Value) -> bool| {
        while !holds(&shown()) {
            let other = public(others.next().unwrap());
            decide(&["account", "auditor", &other]).good();
        }
    };
    decide(&["root", "--add", root]).good();
    decide(&["account", "manufacturer", &public(1)]).good();
    until(&|shown| {
        let accounts = shown["accounts"]["accounts"].as_array().unwrap();
        let maker = accounts.iter().find(|account| account["public_key"] == public(1)).unwrap();
        has(shown, root) && maker["from_height"].as_u64() <= shown["height"].as_u64()
    });

    let (key, batch) = (format!("{line}/keys/root"), format!("{line}/keys/batch-batch-1"));
    let renew = |more: &[&str]| {
        govern(&[&["root", "--withdraw", root, "--add", &next, "--account-key", &maker], more].concat())
    };
    let pin = ["--pin-file", text(&tokens.pin)];
    renew(&[]).fails_at_once("the account alone", &["W4_ERR_GOVERN_DENIED"]);
    renew(&["--root-key", &key]).fails_at_once("no PIN", &["a PIN is needed", "--pin-file"]);
    renew(&["--root-key", &key, "--pin-file", text(&wrong)])
        .fails_at_once("wrong PIN", &["token `plant`", "the PIN is wrong"]);
    renew(&[&["--root-key", &batch], &pin[..]].concat())
        .fails_at_once("a batch's key", &["W4_ERR_GOVERN_DENIED"]);
    renew(&[&["--root-key", &key], &pin[..]].concat()).good();
    until(&|shown| has(shown, &next));
    assert!(!has(&shown(), root), "it went when the other one came");
    renew(&[&["--root-key", &key], &pin[..]].concat())
        .fails_at_once("gone already", &["W4_ERR_GOVERN_EXISTS"]);
    serve.interrupt();
    serve.wait().good();
}

/// Keys that are kept beside a root in a file are under its passphrase, also where a batch signs in a token and no key is opened.
#[test]
fn a_factory_with_its_root_in_a_file_keeps_nothing_under_another_passphrase() {
    let temp = tempfile::tempdir().unwrap();
    let Some(tokens) = Tokens::new(temp.path()) else { return };
    let (line, wrong) = (temp.path().join("line"), temp.path().join("wrong"));
    private(&wrong, "another passphrase");
    let (pin, words) = (["--pin-file", text(&tokens.pin)], ["--passphrase-file", text(&tokens.words)]);
    let factory = |task: &str, more: &[&str]| tokens.run(&[&["factory", task, text(&line)], more].concat());
    factory("init", &[&["--name", "maker"], &words[..]].concat()).good();
    factory("batch", &[&["--name", "batch-1"], &tokens.which("plant")[..]].concat()).good();
    let drawn = ["--batch", "batch-1", "--id", "pack-1", "--serial", "S1", "--draw-key", "--role", "pack"];
    let device = |words: &[&str]| factory("device", &[&drawn[..], &pin, words].concat());
    device(&["--passphrase-file", text(&wrong)])
        .fails_at_once("another passphrase", &["does not open", "root.age"]);
    assert!(!line.join("keys/device-pack-1.age").exists() && !line.join("devices/pack-1.mbcert").exists());
    device(&words).good();
    assert!(line.join("keys/device-pack-1.age").exists());
}

/// Wherever the import of a factory's key is cut, the same command ends it; nothing else erases the file, or has the key in two tokens.
#[test]
fn an_import_of_a_factory_goes_on_where_it_was_cut() {
    let temp = tempfile::tempdir().unwrap();
    let Some(tokens) = Tokens::new(temp.path()) else { return };
    tokens.make("second");
    let (line, saved) = (temp.path().join("line"), temp.path().join("saved"));
    let factory = |task: &str, more: &[&str]| tokens.run(&[&["factory", task, text(&line)], more].concat());
    factory("init", &["--name", "maker", "--unencrypted"]).good();
    for name in ["batch-1", "batch-2"] {
        factory("batch", &["--name", name]).good();
    }
    let import = |batch: &str, token: &str| {
        factory("import", &[&["--batch", batch], &tokens.which(token)[..6]].concat())
    };
    let of = |batch: &str| line.join(format!("keys/batch-{batch}"));
    let (key, place) = (of("batch-1"), of("batch-1.token"));

    // A key that is not that of the certificate.
    fs::copy(&key, &saved).unwrap();
    fs::copy(of("batch-2"), &key).unwrap();
    import("batch-1", "plant").fails_at_once("another key", &["batch-batch-1 does not fit its certificate"]);
    assert!(key.exists() && !place.exists());
    fs::copy(&saved, &key).unwrap();
    import("batch-1", "plant").good();
    assert!(!key.exists());
    let told = fs::read(&place).unwrap();

    // Cut before the file was erased.
    fs::copy(&saved, &key).unwrap();
    import("batch-1", "second").fails_at_once("another token", &["lies in the token `plant` already"]);
    assert!(key.exists());
    import("batch-1", "plant").good();
    assert!(!key.exists());
    // Cut while it was.
    fs::write(&key, [0; 32]).unwrap();
    import("batch-1", "plant").good();
    assert!(!key.exists());
    assert_eq!(fs::read(&place).unwrap(), told);
    import("batch-1", "plant").fails_at_once("again", &["lies in the token `plant` already"]);

    // What the token holds is not the key of the certificate: the file may be all that is left of that.
    import("batch-2", "plant").good();
    fs::copy(of("batch-2.token"), &place).unwrap();
    fs::copy(&saved, &key).unwrap();
    import("batch-1", "plant")
        .fails_at_once("a place of another key", &["batch-1.token does not fit its certificate"]);
    assert_eq!(fs::read(&key).unwrap(), fs::read(&saved).unwrap());
}

/// Who holds a share, or restores: key file and public key.
fn holder(folder: &Path, name: &str) -> (PathBuf, String) {
    let file = folder.join(name);
    let made = run(&["delegate", "key", text(&file)]);
    (file, made.good().out.trim().to_owned())
}

/// Three of five custodians bring the authority's keys back; fewer, or anything else than that, brings nothing.
#[test]
fn three_of_five_custodians_restore_the_keys_and_nothing_less_does() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name);
    let (dir, words) = (at("data"), at("words"));
    private(&words, "correct horse battery");
    let given = ["--passphrase-file", text(&words)];
    let mut demo = start(&["demo", "--modules", "1", "--speed", "50", "--data-dir", text(&dir)]);
    demo.wait_ready();
    demo.interrupt();
    demo.wait().good();
    let key = run(&["keys", "list", "--json", "--data-dir", text(&dir)]).good().json()["key"].clone();

    let first = at("custodian-1");
    let public =
        run(&[&["keys", "custodian", text(&first)], &given[..]].concat()).good().out.trim().to_owned();
    let mut custodians = vec![(first, public)];
    custodians.extend((2..=5).map(|n| holder(temp.path(), &format!("custodian-{n}"))));
    let (restorer, stranger) = (holder(temp.path(), "restorer"), holder(temp.path(), "stranger"));
    let to: Vec<&str> = custodians.iter().flat_map(|(_, key)| ["--to", key]).collect();
    let (out, other) = (at("backup"), at("other"));
    let make = |out: &Path, more: &[&str]| {
        run(&[&["keys", "backup", "--data-dir", text(&dir), "--out", text(out)], more].concat())
    };
    make(&out, &to[..8]).fails_at_once("four", &["5 shares and 4 custodians"]);
    let twice = [&to[..8], &to[..2]].concat();
    make(&out, &twice).fails_at_once("twice", &["named twice"]);
    let few = [&["--shares", "4", "--of", "3"], &to[..6]].concat();
    make(&out, &few).fails_at_once("4 of 3", &["more shares are needed than there are"]);
    make(&out, &to).good();
    make(&out, &to).fails_at_once("again", &["is there already"]);
    make(&other, &to).good();
    let seed = fs::read(dir.join("keys/authority")).unwrap();
    for entry in fs::read_dir(&out).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(8).any(|part| part == &seed[5..13]), "nothing of the seed in clear");
    }

    let release = |backup: &Path, number: usize, (file, _): &(PathBuf, String), to: &str| {
        let name =
            format!("{}-{number}-for-{}", backup.file_name().unwrap().to_str().unwrap(), &to[to.len() - 8..]);
        let (share, released) = (backup.join(format!("share-{number}.mbshare")), at(&name));
        let args = ["keys", "release", text(&share), "--key", text(file), "--to", to, "-o", text(&released)];
        (run(&[&args[..], &given].concat()), released)
    };
    let (refused, none) = release(&out, 2, &custodians[2], &restorer.1);
    refused.fails_at_once("another custodian's", &["its custodian releases it"]);
    assert!(!none.exists());
    let released: Vec<PathBuf> = (1..=4)
        .map(|number| {
            let (ended, file) = release(&out, number, &custodians[number - 1], &restorer.1);
            ended.good();
            file
        })
        .collect();
    let (_, foreign) = release(&other, 4, &custodians[3], &restorer.1);
    let (_, misled) = release(&out, 4, &custodians[3], &stranger.1);
    let damaged = at("damaged");
    let mut bytes = fs::read(&released[2]).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&damaged, &bytes).unwrap();
    let cut = at("cut");
    fs::write(&cut, &bytes[..bytes.len() - 1]).unwrap();

    let backup = out.join("keys.mbbackup");
    let gathered = |command: &str, backup: &Path, shares: &[&Path], more: &[&str]| {
        let shares: Vec<&str> = shares.iter().flat_map(|share| ["--share", text(share)]).collect();
        let fixed = ["keys", command, text(backup), "--key", text(&restorer.0)];
        run(&[&fixed[..], &shares, &given, more].concat())
    };
    let [a, b, c, d] = [0, 1, 2, 3].map(|i| released[i].as_path());
    let known = ["--data-dir", text(&dir)];
    let original = out.join("share-3.mbshare");
    let spoiled = at("spoiled.mbbackup");
    let mut bytes = fs::read(&backup).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&spoiled, &bytes).unwrap();
    for (what, backup, shares, says) in [
        ("two", &backup, &[a, b][..], "2 shares of 3"),
        ("one twice", &backup, &[a, b, a], "once more"),
        ("of another backup", &backup, &[a, b, &foreign], "is of backup"),
        ("damaged", &backup, &[a, b, &damaged], "was changed since it was sealed"),
        ("cut", &backup, &[a, b, &cut], "no share of a backup"),
        ("never released", &backup, &[a, b, &original], "its custodian releases it"),
        ("to a stranger", &backup, &[a, b, &misled], "its custodian releases it"),
        ("a backup that was changed", &spoiled, &[a, b, c], "changed since it was made"),
        ("no backup", &words, &[a, b, c], "is no backup"),
    ] {
        gathered("rehearse", backup, shares, &known).fails_at_once(what, &[says]);
    }
    // A custodian who seals something else: with as many shares as are needed nobody can tell whose, with one more it is named.
    // Under which number it goes, also that of an honest one, does not matter.
    let forge = |number: u8| {
        let path = at(&format!("false-{number}"));
        let share = Share::read(&fs::read(&released[0]).unwrap()).unwrap();
        let to = Spk::from_slice(&hex::decode(&restorer.1).unwrap()).unwrap();
        let made = Secret::from_slice(&[number; 32]).unwrap();
        let mut rng = rand_chacha::ChaCha20Rng::from_seed([number; 32]);
        let share = Share::seal((share.set, number), &made, &to, &mut rng).unwrap();
        fs::write(&path, share.to_bytes()).unwrap();
        path
    };
    let (false_5, false_4, false_1) = (forge(5), forge(4), forge(1));
    let told = |shares: &[&Path]| {
        let ended = gathered("rehearse", &backup, shares, &known);
        assert_eq!(ended.code, Some(1), "{}", ended.out);
        ended
    };
    assert!(told(&[a, &false_5, b]).err.contains("bring further shares, which show which one"));
    assert!(told(&[a, &false_5, &false_4, b]).err.contains("fewer than are needed"));
    for shares in [
        &[&false_5, a, b, c][..],
        &[a, b, &false_5, c],
        &[&false_4, a, &false_5, b, c],
        &[&false_1, a, b, c],
        &[c, b, a, &false_1],
    ] {
        let out = told(shares).out;
        assert!(out.contains("the ledger has it as an authority in force"), "{out}");
        for path in [&false_5, &false_4, &false_1] {
            let named = out.contains(&format!("{} (share", text(path)));
            assert_eq!(named, shares.contains(&path.as_path()), "{out}");
        }
        assert_eq!(out.matches("FALSE").count(), shares.len() - 3, "{out}");
    }
    let before = fs::read_dir(temp.path()).unwrap().count();
    for three in [[a, b, c], [d, b, a], [c, d, a]] {
        let told = gathered("rehearse", &backup, &three, &known);
        assert!(told.good().out.contains("the ledger has it as an authority in force"), "{}", told.out);
    }
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), before, "a rehearsal writes nothing");
    gathered("rehearse", &backup, &[a, &false_1, b], &known)
        .fails_at_once("two of one number", &["2 shares of 3"]);
    fs::rename(a, at("released-before")).unwrap();
    release(&out, 1, &custodians[0], &restorer.1).0.good();
    gathered("rehearse", &backup, &[&at("released-before"), a, b, c], &known).good();

    // The keys are lost, and come back.
    fs::remove_file(dir.join("keys/authority")).unwrap();
    let restored = at("restored");
    gathered("restore", &backup, &[d, &false_5, c, b], &["--out", text(&restored)]).good();
    gathered("restore", &backup, &[d, c, b], &["--out", text(&restored)])
        .fails_at_once("again", &["is there"]);
    fs::rename(restored.join("authority.age"), dir.join("keys/authority.age")).unwrap();
    let (from, next) = (dir.join("keys/authority"), holder(temp.path(), "next").0);
    let signed = at("succession");
    let sign = ["succession", "sign", "--from", text(&from), "--to", text(&next), "--out", text(&signed)];
    run(&[&sign[..], &given].concat()).good();
    run(&["succession", "show", text(&signed), "--from", key.as_str().unwrap()]).good();

    // Another key follows: a backup has the line and the earlier key too, and one of before is none of this installation any more.
    let take = ["succession", "take", text(&signed), "--key", text(&next), "--data-dir", text(&dir)];
    run(&[&take[..], &given].concat()).good();
    let listed = || run(&["keys", "list", "--json", "--data-dir", text(&dir)]).good().json();
    let (followed, id) = (listed()["followed"].clone(), listed()["id"].clone());
    assert_eq!(followed.as_array().unwrap().len(), 1);
    let old = gathered("rehearse", &backup, &[b, c, d], &known);
    assert_eq!(old.code, Some(1), "{}", old.out);
    assert!(old.out.contains("authority.lineage: NOT THAT OF THE INSTALLATION"), "{}", old.out);
    let whole = at("whole");
    let made = make(&whole, &[&to[..], &given].concat());
    let ids = [id.as_str().unwrap(), "authority, authority.lineage,"];
    assert!(ids.iter().all(|part| made.good().out.contains(part)), "{}", made.out);
    let three = [1, 2, 3].map(|n| release(&whole, n, &custodians[n - 1], &restorer.1).1);
    let (backup, three) = (whole.join("keys.mbbackup"), three.each_ref().map(PathBuf::as_path));
    let told = gathered("rehearse", &backup, &three, &known);
    assert!(told.good().out.contains("authority.lineage: restored in memory"), "{}", told.out);
    // The installation did not run since, so the account of the earlier key was not withdrawn yet.
    assert_eq!(told.out.matches("the ledger has it as an authority in force").count(), 2, "{}", told.out);
    let (keys, restored) = (dir.join("keys"), at("restored-whole"));
    let line = fs::read(keys.join("authority.lineage")).unwrap();
    for entry in fs::read_dir(&keys).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_name().to_str().unwrap().starts_with("authority") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    gathered("restore", &backup, &three, &["--out", text(&restored)]).good();
    for entry in fs::read_dir(&restored).unwrap().map(|entry| entry.unwrap()) {
        fs::rename(entry.path(), keys.join(entry.file_name())).unwrap();
    }
    assert_eq!(fs::read(keys.join("authority.lineage")).unwrap(), line);
    let back = listed();
    assert_eq!((&back["kept"], &back["id"], &back["followed"]), (&"encrypted".into(), &id, &followed));
    let mut demo = start(&[&["demo", "--speed", "50", "--data-dir", text(&dir)], &given[..]].concat());
    demo.wait_ready();
    let obeys = format!("obey the authority {}, which followed", id.as_str().unwrap());
    assert!(demo.said().contains(&obeys), "{}", demo.said());
    demo.interrupt();
    demo.wait().good();
    let told = gathered("rehearse", &backup, &three, &known);
    assert_eq!(told.good().out.matches("in force").count(), 1, "{}", told.out);
    assert!(told.out.contains("opens logs that began under it"), "{}", told.out);
    let opened = run(&[&["audit", "verify", text(&dir), "--key", text(&from)], &given[..]].concat());
    assert!(
        !opened.good().out.contains("tags were not checked"),
        "the earlier key came back too: {}",
        opened.out
    );
}
