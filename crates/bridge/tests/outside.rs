//! Programs that know the API from outside: Schemathesis asks what its contract says (A202), the Python client signs and asks
//! what the specification says (A203).
//!
//! `cargo xtask test --only python` installs what they need. Without it the tests say "not run"; where `CI` is set they fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{common, orders, policy, webhooks};

use ::lct::{
    id::Role,
    policy::Rotation,
    revocation::{Reason, Subject},
    sign::SigningKey,
};
use api::{
    Blob, Fixed, Hex, PREFIX, binding,
    lct::Create,
    order::{State, Task},
    sign::{Envelope, sign},
    telemetry::{Batch, Entry},
    webhook::Action,
};
use bridge::{
    Front,
    access::{
        Rate, Role as Rights,
        users::{User, UserFile},
    },
};
use common::{World, batch_body, encoded, records, rng};
use ledger::{
    codec::Canonical,
    records::key,
    tx::{Body, Kind, Tx, Unsigned},
};
use serde::Serialize;
use serde_json::{Value, json};

/// Who asks, as an administrator.
const USER: &str = "ann";
const PASSPHRASE: &str = "correct horse battery";
/// Where the Python client lies, and the verifier that it takes from the specification.
const CLIENT: [&str; 2] = ["clients/python/src", "spec/model"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A program of the tests' own Python; `None` where there is none.
fn python(program: &str) -> Option<Command> {
    let folder = root().join("target/python");
    let path = folder.join(if cfg!(windows) { "Scripts" } else { "bin" }).join(program);
    if !path.exists() {
        let reason = format!("no {}; `cargo xtask test --only python` makes it", path.display());
        assert!(std::env::var_os("CI").is_none(), "{reason}");
        println!("not run: {reason}");
        return None;
    }
    let mut command = Command::new(path);
    // Bytecode and caches would lie in the tree.
    command.current_dir(root()).env("PYTHONDONTWRITEBYTECODE", "1");
    Some(command)
}

fn python_path(folders: &[&str]) -> std::ffi::OsString {
    std::env::join_paths(folders.iter().map(|folder| root().join(folder))).unwrap()
}

/// Runs a program while the bridge goes on serving; whether it succeeded, and what it said.
async fn run(mut command: Command) -> (bool, String) {
    let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.success(), text(&done.stdout) + &text(&done.stderr))
}

/// What a program said that has to succeed.
async fn succeeds(command: Command) -> String {
    let (succeeded, said) = run(command).await;
    assert!(succeeded, "{said}");
    said
}

/// A bridge whose ledger has something of each kind of thing.
struct Seeded {
    world: World,
    /// A request that was answered with 200, and is again, by method and path.
    examples: BTreeMap<String, Value>,
    /// Names of what is there, by kind.
    known: Value,
}

impl Seeded {
    /// Sends a request and keeps it.
    async fn post(&mut self, path: &str, id: Option<&str>, body: &impl Serialize) -> Value {
        let at = id.map_or_else(|| path.into(), |id| path.replace("{id}", id));
        let answer = self.world.post(&at, body).await.json();
        let mut example = json!({ "body": body });
        if let Some(id) = id {
            example["path_parameters"] = json!({ "id": id });
        }
        self.examples.insert(format!("POST {PREFIX}{path}"), example);
        answer
    }

    async fn new() -> Seeded {
        let world = World::new().await;
        let pack = world.factory.device("pack-0001", Role::Pack);
        let registered = world.register_request(&pack).await;
        let mut it = Seeded { world, examples: BTreeMap::new(), known: Value::Null };
        let of_pack = it.post("/components/register", None, &registered).await;
        let app = it.world.factory.device("app-0001", Role::App);
        it.world.register(&app).await;
        let module = it.world.factory.device("module-0001", Role::Module);
        it.world.register(&module).await;

        let bonded = it.world.introduce(&app, &pack).await;
        let binding_id = bonded.id.to_string();
        let complete = binding::Complete::first(it.world.record_signatures(&bonded));
        it.post("/bindings/{id}/complete", Some(&binding_id), &complete).await;
        let begin = it.world.begin_request(&pack, &module);
        it.post("/bindings", None, &begin).await;
        let issue = it.world.issue_request(&app, &pack);
        let issued = it.post("/pairings", None, &issue).await;
        let opened = it.world.open_certificate(
            &serde_json::from_value::<Blob>(issued["certificate"].clone()).unwrap().0,
            &bonded,
        );
        let pairing_id = Hex(opened.pairing_id.0).to_string();
        let completion = it.world.completion(&opened, &bonded);
        it.post("/pairings/{id}/complete", Some(&pairing_id), &completion).await;
        let lct = Create {
            creator: "fitter".into(),
            component_a: app.id.clone(),
            component_b: pack.id.clone(),
            context: "battery_management".into(),
            proxy_id: String::new(),
        };
        let lct = it.world.client.create_lct(&lct).await.unwrap();
        let account = Hex(it.world.operator.public().0);
        let scope = json!({ "creator": "fitter", "component_id": app.id, "account": account });
        it.post("/lct/scopes", None, &scope).await;

        let sent = records(pack.cid, 0, 100, it.world.now_s());
        let (_, body) = batch_body(&sent, bonded.keys[1].signing_key());
        let transaction = Blob(it.world.tx(body).await.bytes);
        let records = sent.iter().map(|r| Entry::Record(Blob(encoded(r)))).collect();
        it.post("/telemetry/batches", None, &Batch { transaction, records }).await;
        it.post("/transactions", None, &json!({ "transaction": registered.transaction })).await;
        it.world.receipt("/receipts/pack-0001/41").await;

        let order = orders::order(&it.world, &it.world.operator, 1, Task::Pair, &app.id, &pack.id).await;
        let order_id = order.id.to_string();
        it.post("/orders", None, &order).await;
        let outcome = orders::outcome(&it.world, &it.world.operator, order.id.0, State::Failed, "is away");
        it.post("/orders/{id}/outcome", Some(&order_id), &outcome).await;
        let wanted = Rotation { certificate_s: 7 * 86_400, group_s: 86_400, ..Rotation::FACTORY };
        let policy = policy::order(&it.world, 2, wanted, &[bonded.id]);
        it.post("/policies", None, &policy).await;
        let proposal = it.world.client.policy(&Hex(bonded.id.0)).await.unwrap().proposal.unwrap();
        let signed = json!({ "version": 2, "signatures": policy::signatures(&proposal.0, &bonded) });
        it.post("/policies/{id}/signatures", Some(&binding_id), &signed).await;
        let delegated = it.world.delegation_order(&[&pack.id], &common::fresh_spk().public());
        let delegated = it.post("/delegations", None, &delegated).await;
        let hook =
            webhooks::order(&it.world, &it.world.operator, 7, Action::Add, "http://127.0.0.1:9/", "start");
        it.post("/webhooks", None, &hook).await;
        let sensor = it.world.factory.device("sensor-0001", Role::Sensor);
        it.world.register(&sensor).await;
        let gone = Subject::Component(sensor.cid);
        let revoked = common::order(&it.world, &it.world.operator, gone, Reason::Retired);
        it.post("/revocations", None, &revoked).await;

        it.known = json!({
            "component": [pack.id, app.id, module.id, sensor.id],
            "key": [account],
            "binding": [binding_id],
            "pairing": [pairing_id],
            "lct": [lct.lct_id],
            "entity": [of_pack["lct_id"]],
            "hash": [lct.txhash],
            "order": [order_id],
            "delegation": [delegated["id"]],
            "webhook": [hook.id],
            "height": [1, 2, 3],
            "state": [hex::encode(key::component(&pack.cid))],
        });
        it
    }

    /// Lets nobody in any more but [`USER`].
    async fn shut(&mut self) {
        let users = self.world.dir.path().join("users.json");
        let mut ann = User::new(USER, Rights::Administrator, None).unwrap();
        ann.set_passphrase(PASSPHRASE).unwrap();
        let mut file = UserFile::default();
        file.add(ann).unwrap();
        file.write(&users).unwrap();
        // What is looked for is answers, not how many of them there are.
        let often = 100_000.try_into().unwrap();
        let rate = Rate { per_second: often, burst: often };
        self.world.front = Front { users: Some(users), rate, ..Front::default() };
        self.world.restart().await;
    }
}

/// `METHOD /path` of every operation of the contract that is asked for.
fn operations() -> BTreeSet<String> {
    let contract: Value = serde_json::from_str(&bridge::contract()).unwrap();
    let mut found = BTreeSet::new();
    for (path, methods) in contract["paths"].as_object().unwrap() {
        // Left out in schemathesis.toml, with the reason.
        if path.ends_with("/ws") || path.ends_with("/events/stream") {
            continue;
        }
        found.extend(methods.as_object().unwrap().keys().map(|m| format!("{} {path}", m.to_uppercase())));
    }
    found
}

async fn schemathesis(more: &[&str]) {
    let Some(mut command) = python("schemathesis") else { return };
    let mut seeded = Seeded::new().await;
    seeded.shut().await;
    let Seeded { mut world, examples, known } = seeded;
    let folder = "crates/bridge/tests/schemathesis";
    let report = world.dir.path().join("report.json");
    let given = json!({
        "address": world.address,
        "user": USER,
        "passphrase": PASSPHRASE,
        "examples": examples,
        "known": known,
        "report": report,
    });
    // The contract is not for everybody either.
    let contract = world.dir.path().join("openapi.json");
    std::fs::write(&contract, bridge::contract()).unwrap();
    command.arg("--no-color").arg("--config-file").arg(root().join(folder).join("schemathesis.toml"));
    command.arg("run").arg(&contract).args(["--url", &world.address]).args(more);
    command.args(["--continue-on-failure", "--generation-database", "none"]);
    command
        .env("MODBATT_WORLD", given.to_string())
        .env("PYTHONPATH", python_path(&[folder, CLIENT[0], CLIENT[1]]));
    command.current_dir(world.dir.path());
    let (found_nothing, said) = run(command).await;
    let asked: BTreeMap<String, BTreeMap<u16, u64>> =
        serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    let requests: u64 = asked.values().flat_map(BTreeMap::values).sum();
    let good = asked.values().filter(|answers| answers.contains_key(&200)).count();
    println!("{said}");
    for (operation, answers) in &asked {
        println!("{operation}: {answers:?}");
    }
    println!("{requests} requests of {} operations, {good} of them answered with 200", asked.len());
    assert!(found_nothing, "Schemathesis found what the contract does not say");
    let asked_for: BTreeSet<String> = asked.keys().cloned().collect();
    let left: Vec<_> = operations().difference(&asked_for).cloned().collect();
    assert!(left.is_empty(), "never asked: {left:?}");
    for operation in examples.keys() {
        assert!(asked[operation].contains_key(&200), "{operation}: {:?}", asked[operation]);
    }
    world.stop().await;
}

/// Requests made from the contract, single and in sequence, are answered as the contract says.
#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing() {
    schemathesis(&["--max-examples", "4", "--seed", "1"]).await;
}

/// The same with more requests, other ones each time.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "fifteen minutes; a run with a fixed seed is among the usual tests"]
async fn schemathesis_finds_nothing_for_long() {
    schemathesis(&["--max-examples", "200", "--max-time", "900"]).await;
}

/// Each kind of transaction that the Python client builds and signs is what this ledger reads, and what `api::sign` signs.
#[tokio::test]
async fn python_signs_every_kind() {
    let Some(mut command) = python("python") else { return };
    command.arg("clients/python/tests/every_kind.py").env("PYTHONPATH", python_path(&CLIENT));
    let mut scalar = [0; 32];
    scalar[31] = 1;
    let key = SigningKey::from_bytes(&scalar).unwrap();
    let mut seen = Vec::new();
    for line in succeeds(command).await.lines() {
        let (number, tx) = line.split_once(' ').unwrap();
        let kind = Kind::from_number(number.parse().unwrap()).unwrap();
        let bytes = hex::decode(tx).unwrap();
        let read = Tx::from_bytes(&bytes).unwrap_or_else(|e| panic!("{}: {e}", kind.name()));
        read.verify().unwrap();
        assert_eq!(read.unsigned.body.kind(), kind);
        assert_eq!(read.to_bytes(), bytes, "{}", kind.name());
        let Unsigned { chain_id, nonce, expiry_height, .. } = read.unsigned;
        let envelope = Envelope { chain_id, nonce, expiry_height };
        let again = sign(read.unsigned.body.clone(), &envelope, &key, &mut rng());
        assert_eq!(Tx::from_bytes(&again.bytes).unwrap().unsigned, read.unsigned, "{}", kind.name());
        seen.push(kind);
    }
    for kind in (0..=u8::MAX).filter_map(Kind::from_number) {
        assert!(seen.contains(&kind), "clients/python does not build {}", kind.name());
    }
}

/// The Python client has a method for every route, its types hold, and it does against a bridge what its examples say.
#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_works() {
    let Some(mut generate) = python("python") else { return };
    let mut seeded = Seeded::new().await;
    seeded.shut().await;
    let mut world = seeded.world;
    let contract = world.dir.path().join("openapi.json");
    std::fs::write(&contract, bridge::contract()).unwrap();
    generate.arg("clients/python/generate.py").arg("--check").stdin(std::fs::File::open(&contract).unwrap());
    succeeds(generate).await;
    let mut mypy = python("mypy").unwrap();
    mypy.args(["--config-file", "clients/python/pyproject.toml", "--cache-dir", "target/mypy"]);
    mypy.args(["src", "tests", "examples", "generate.py"].map(|part| format!("clients/python/{part}")));
    mypy.env("MYPYPATH", python_path(&CLIENT));
    succeeds(mypy).await;

    let trust = world.dir.path().join("genesis.json");
    std::fs::write(&trust, api::genesis::to_json(&world.genesis)).unwrap();
    let module = world.factory.device("module-0002", Role::Module);
    let registration = module.registration(world.chain.chain_id());
    let Body::Register { statement, signature } = module.register_body(&registration) else {
        panic!("another kind")
    };
    let given = json!({
        "address": world.address,
        "user": USER,
        "passphrase": PASSPHRASE,
        "scalar": hex::encode(world.operator.to_bytes().expose()),
        "trust": trust,
        "component": { "component_id": module.id, "statement": Blob(statement), "proof": Fixed(signature.0) },
    });
    let mut examples = python("python").unwrap();
    examples.arg("clients/python/tests/examples.py");
    examples.env("MODBATT_WORLD", given.to_string()).env("PYTHONPATH", python_path(&CLIENT));
    succeeds(examples).await;
    world.stop().await;
}
