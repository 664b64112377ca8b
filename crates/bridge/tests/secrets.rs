//! No secret leaves the authority: not in an answer, not in a log at the finest level, not in a file.
//!
//! The test opens everything the devices can open and then searches for it. It stands alone in its binary,
//! because it listens to all logs of the process.

use crate::common;

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use api::{
    binding::Sides,
    lct::{Create, Created, HALF_LEN, SealedHalf, half_info},
    pairing,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use common::World;
use lct::{id::Cid, spk::SpkSecret};
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

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_said_logged_or_stored() {
    let log = Log::default();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).init();
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
