//! No secret leaves the authority: not in an answer, not in a log at the finest level, not in a file.
//!
//! The tests open everything that devices and users can open and then search for it. They listen to all logs of the process.

use crate::common;

use std::{
    io::Write,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use api::{
    Fixed, Hex,
    binding::Sides,
    lct::{Create, Created, HALF_LEN, SealedHalf, half_info},
    pairing,
    session::{Asked, Login, PROOF_HEADER, Proof, Session},
    webhook::{Action, Order, Webhook},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bridge::{
    Front,
    access::{
        Role,
        users::{User, UserFile},
    },
    compat::{Allow, Profile},
};
use common::{Answer, World, rng};
use lct::{id::Cid, sign::SigningKey, spk::SpkSecret};
use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;
    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

/// All that is said at the finest level, from the first call on.
fn log() -> Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    let begin = || {
        let log = Log::default();
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).init();
        log
    };
    LOG.get_or_init(begin).clone()
}

/// Every byte string hidden in a JSON value: texts as they are, from base64, and from hexadecimal.
fn hidden(value: &Value, found: &mut Vec<Vec<u8>>) {
    match value {
        Value::String(text) => {
            found.push(text.as_bytes().to_vec());
            found.extend(STANDARD.decode(text));
            found.extend(hex::decode(text));
        }
        Value::Array(values) => values.iter().for_each(|v| hidden(v, found)),
        Value::Object(members) => members.values().for_each(|v| hidden(v, found)),
        _ => {}
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}

/// The forms in which bytes get into texts. 16 bytes are enough to find any secret.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let part = &secret[..16];
    let list = format!("{part:?}");
    vec![
        part.to_vec(),
        hex::encode(part).into_bytes(),
        hex::encode_upper(part).into_bytes(),
        // Any three bytes begin a new group of four characters.
        STANDARD.encode(&secret[..15]).into_bytes(),
        STANDARD.encode(&secret[1..16]).into_bytes(),
        STANDARD.encode(&secret[2..17]).into_bytes(),
        list.trim_matches(['[', ']']).as_bytes().to_vec(),
    ]
}

fn open_half(half: &SealedHalf, created: &Created, cid: &Cid, key: &SpkSecret) -> Vec<u8> {
    let (nonce, sealed) = half.sealed.0.split_first_chunk::<16>().unwrap();
    let mut out = vec![0; HALF_LEN];
    key.open(&half_info(&created.lct_id, cid, nonce), sealed, &mut out).unwrap();
    out
}

/// Answers, their headers, what is hidden in them, and every file, each with where it stands.
fn told(world: &World) -> Vec<(String, Vec<u8>)> {
    let mut places: Vec<(String, Vec<u8>)> = Vec::new();
    for (i, answer) in world.answers.lock().unwrap().iter().enumerate() {
        places.push((format!("answer {i}"), answer.body.clone()));
        places.push((format!("headers of answer {i}"), format!("{:?}", answer.headers).into_bytes()));
        let mut found = Vec::new();
        if let Ok(value) = serde_json::from_slice(&answer.body) {
            hidden(&value, &mut found);
        }
        places.extend(found.into_iter().map(|f| (format!("a text of answer {i}"), f)));
    }
    for (path, content) in common::files(world.dir.path()) {
        places.push((path.display().to_string(), content));
    }
    places
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_said_logged_or_stored() {
    let log = log();
    let mut world = World::new().await;
    let (app, pack, bonded) = world.commissioned().await;
    let create = Create {
        creator: "fitter-canary".into(),
        component_a: app.id.clone(),
        component_b: pack.id.clone(),
        context: "battery_management".into(),
        proxy_id: String::new(),
    };
    let created: Created = world.post("/lct/create", &create).await.json();
    let opened = world.pair(&app, &pack, &bonded).await;
    // Wrong answers too: errors are where secrets slip out.
    let path = format!("/pairings/{}/complete", opened.pairing_id);
    let wrong = world.completion_with(&opened, &bonded, |c| c.th4[0] ^= 1);
    let wrong = pairing::Complete { th4: api::Fixed([0; 32]), ..wrong };
    assert_eq!(world.post(&path, &wrong).await.status, 401);
    let pending = common::files(world.dir.path());

    let mut secrets = opened.secrets.clone();
    secrets.push(world.authority_key[5..].to_vec());
    let Sides { a, b } = &created.lct_key_half;
    secrets.push(open_half(a, &created, &app.cid, &bonded.keys[0]));
    secrets.push(open_half(b, &created, &pack.cid, &bonded.keys[1]));
    let Sides { a, b } = &created.device_key_half;
    secrets.push(open_half(a, &created, &app.cid, &bonded.keys[0]));
    secrets.push(open_half(b, &created, &pack.cid, &bonded.keys[1]));
    // Until the completion reveals it, the validation nonce is a secret as well.
    let nonce = opened.nonce.to_vec();
    for (path, content) in &pending {
        assert!(!contains(content, &nonce), "the nonce lies in {}", path.display());
    }
    for answer in world.answers.lock().unwrap().iter() {
        let mut found = vec![answer.body.clone()];
        hidden(&serde_json::from_slice(&answer.body).unwrap(), &mut found);
        assert!(!found.iter().any(|f| contains(f, &nonce)));
    }

    world.post(&path, &world.completion(&opened, &bonded)).await.json::<pairing::Completed>();
    world.receipt(&format!("/receipts/{}", created.txhash)).await;
    assert_eq!(world.get("/authority").await.status, 200);
    assert_eq!(world.post("/bindings", &world.begin_request(&app, &pack)).await.status, 409);
    world.restart().await;
    world.stop().await;

    let mut places = told(&world);
    let log = log.0.lock().unwrap().clone();
    assert!(contains(&log, b"fitter-canary"), "the search sees the log, and the log names who asked");
    places.push(("the log".into(), log));
    assert!(places.len() > 50, "{} places", places.len());
    for secret in &secrets {
        for (place, content) in &places {
            for form in forms(secret) {
                assert!(!contains(content, &form), "a secret in {place}");
            }
        }
    }
    // The search finds what is there: a public key in its answer, the ceremony file's identifiers.
    let public = bonded.keys[0].public().0;
    assert!(places.iter().any(|(_, content)| contains(content, &public[..16])));
}

/// A user with a token, over the wire.
struct Someone<'a> {
    world: &'a World,
    token: String,
    key: SigningKey,
}

impl Someone<'_> {
    async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let authority = self.world.address.trim_start_matches("http://");
        let time_ms = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let asked = Asked { method, authority, path, token: &self.token };
        let signature = self.key.sign_rfc6979(&Proof::digest(&asked, time_ms, &nonce));
        let request =
            self.world.http.request(method.parse().unwrap(), format!("{}{path}", self.world.address));
        let request = request.bearer_auth(&self.token).header("content-type", "application/json");
        let proof = Proof { time_ms, nonce, signature }.to_string();
        self.world.send(request.header(PROOF_HEADER, proof).body(body.to_owned())).await
    }
}

/// What users, programs, receivers of events and clients that cannot sign are given, each in one answer, is nowhere else.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_once_is_said_nowhere_else() {
    const PASSPHRASE: &str = "canary-passphrase-5d8e01";
    const WRONG: &str = "canary-mistyped-5d8e01f7";
    let log = log();
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users.json");
    let program_key = SigningKey::from_bytes(&[7; 32]).unwrap();
    let mut ann = User::new("ann-canary", Role::Administrator, None).unwrap();
    ann.set_passphrase(PASSPHRASE).unwrap();
    let program = ann.give_token(&program_key.public(), u64::MAX, None).unwrap();
    let mut file = UserFile::default();
    file.add(ann).unwrap();
    file.write(&users).unwrap();
    let allow = Allow { clear_key_halves: true, unknown_creators: true, pairing_without_proofs: true };
    let mut world = World::old(Profile::Legacy, allow).await;
    (world.speaks, world.front) = (true, Front { users: Some(users.clone()), ..Front::default() });
    world.restart().await;

    let key = SigningKey::from_bytes(&[8; 32]).unwrap();
    let login = |passphrase: &str| Login {
        user: "ann-canary".into(),
        passphrase: passphrase.into(),
        key: Hex(key.public().0),
        new_passphrase: None,
    };
    assert_eq!(world.post("/sessions", &login(WRONG)).await.status, 401);
    let session: Session = world.post("/sessions", &login(PASSPHRASE)).await.json();
    let given = |answers: &World| answers.answers.lock().unwrap().len() - 1;
    let mut allowed = vec![(session.token.clone().into_bytes(), given(&world))];
    let by_ann = Someone { world: &world, token: session.token.clone(), key: key.clone() };
    let by_program = Someone { world: &world, token: program.to_string(), key: program_key };
    let thief = Someone { world: &world, token: session.token.clone(), key: world.operator.clone() };
    assert_eq!(thief.ask("GET", "/api/v1/ledger/status", "").await.status, 401);
    let stranger = Someone { world: &world, token: "canary-token-77aa0c1be2".into(), key };
    assert_eq!(stranger.ask("GET", "/api/v1/ledger/status", "").await.status, 401);
    // Nobody sits at a program.
    let place = r#"{"creator":"x"}"#;
    assert_eq!(by_program.ask("POST", "/api/v1/webhooks", place).await.status, 403);

    let mut order = Order {
        creator: "test".into(),
        id: Hex([1; 16]),
        action: Action::Add,
        url: "http://127.0.0.1:9/canary-hook".into(),
        types: String::new(),
        component: String::new(),
        after: "start".into(),
        expires_at: u64::from(world.now_s()) + 300,
        key: Hex(world.operator.public().0),
        signature: Fixed([0; 64]),
    };
    order.signature = Fixed(world.operator.sign(&order.digest(&world.chain.chain_id()), &mut rng()).0);
    let order = serde_json::to_string(&order).unwrap();
    let hook: Webhook = by_ann.ask("POST", "/api/v1/webhooks", &order).await.json();
    let hook = hook.secret.unwrap().0;
    allowed.push((hook.to_vec(), given(&world)));

    // A creator who is made up, parts that are, and the halves of their keys in clear.
    let made = r#"{"creator":"eve-canary","component_a":"module-canary","component_b":"motor-canary","context":"race_car"}"#;
    let post = async |path: &str, body: &str| -> Value { by_ann.ask("POST", path, body).await.json() };
    let lct = post("/lct/create", made).await;
    for half in ["lct_key_half", "device_key_half"] {
        allowed.push((hex::decode(lct[half].as_str().unwrap()).unwrap(), given(&world)));
    }
    let initiate = made.replace("\"context\"", "\"operational_context\"");
    let challenge = post("/pairing/initiate", &initiate).await;
    let complete = format!(
        r#"{{"creator":"eve-canary","challenge_id":"{}","component_a_auth":"a","component_b_auth":"b","session_context":"race_car"}}"#,
        challenge["challenge_id"].as_str().unwrap()
    );
    let completed = post("/pairing/complete", &complete).await;
    for (half, n) in [("split_key_a", given(&world)), ("split_key_b", given(&world))] {
        allowed.push((hex::decode(completed[half].as_str().unwrap()).unwrap(), n));
    }
    let creators = world.creators();
    let mut never: Vec<Vec<u8>> = ["alice", "bob", "eve-canary"]
        .map(|name| creators.key(name).unwrap().to_bytes().expose().to_vec())
        .into();
    never.extend(
        [PASSPHRASE, WRONG, &program, "canary-token-77aa0c1be2"].map(|text| text.as_bytes().to_vec()),
    );
    never.push(world.factory.batch.to_bytes().expose().to_vec());
    world.stop().await;

    let mut places = told(&world);
    places.push((users.display().to_string(), std::fs::read(&users).unwrap()));
    let log = log.0.lock().unwrap().clone();
    for seen in ["ann-canary", "eve-canary"] {
        assert!(contains(&log, seen.as_bytes()), "the log names {seen}");
    }
    places.push(("the log".into(), log));
    // Files that are there to keep a key (A9).
    let keeps = ["creators.keys", "webhooks.redb", "batch"].map(|name| world.dir.path().join(name));
    places.retain(|(place, _)| !keeps.iter().any(|kept| kept.display().to_string() == *place));
    let never = never.into_iter().map(|secret| (secret, usize::MAX));
    for (secret, given) in allowed.into_iter().chain(never) {
        for (place, content) in &places {
            if place.ends_with(&format!("answer {given}")) {
                continue;
            }
            for form in forms(&secret) {
                assert!(!contains(content, &form), "a secret in {place}");
            }
        }
    }
}
