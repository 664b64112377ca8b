//! What must not work, and how it is said.

use crate::common;

use api::{
    Blob, Fixed, Problem,
    binding::{self, AttestedKey, Sides},
    lct::Create,
    pairing,
};
use common::{Answer, World, foreign_signature, fresh_spk, rng};
use lct::{
    id::{Cid, Role},
    sign::SigningKey,
};
use serde_json::{Value, json};

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) -> Problem {
    let problem = answer.problem();
    assert_eq!((answer.status, problem.code.as_str()), (status, code), "{problem:?}");
    assert_eq!(problem.status, status, "the body repeats the status");
    assert!(!problem.error.is_empty());
    problem
}

/// Sends `body` to `path` as it is.
async fn raw(
    world: &World,
    method: &str,
    path: &str,
    media: Option<&str>,
    body: impl Into<reqwest::Body>,
) -> Answer {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = world.http.request(method, format!("{}{path}", world.address)).body(body);
    if let Some(media) = media {
        request = request.header("content-type", media);
    }
    world.send(request).await
}

/// Method, path, media type, body; status, code, part of the detail.
type Row<'a> = (&'a str, &'a str, Option<&'a str>, String, u16, &'a str, &'a str);

const JSON: Option<&str> = Some("application/json");

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_the_documented_form() {
    let world = World::new().await;
    let long = format!("{{\"creator\":\"{}\"}}", "x".repeat(api::BODY_MAX));
    let key = world.operator.public().to_string();
    let table: &[Row<'_>] = &[
        ("GET", "/nothing", None, String::new(), 404, "W4_ERR_PROTO_ROUTE", ""),
        ("GET", "/api/v1/nothing", None, String::new(), 404, "W4_ERR_PROTO_ROUTE", ""),
        ("GET", "/api/v1/test/ignite", None, String::new(), 404, "W4_ERR_PROTO_ROUTE", ""),
        ("DELETE", "/api/v1/bindings", None, String::new(), 405, "W4_ERR_PROTO_METHOD", ""),
        ("DELETE", "/health", None, String::new(), 405, "W4_ERR_PROTO_METHOD", ""),
        ("POST", "/api/v1/ledger/status", JSON, "{}".into(), 405, "W4_ERR_PROTO_METHOD", ""),
        ("POST", "/api/v1/bindings", JSON, "{".into(), 400, "W4_ERR_PROTO_FORMAT", "EOF"),
        ("POST", "/api/v1/bindings", JSON, String::new(), 400, "W4_ERR_PROTO_FORMAT", "EOF"),
        ("POST", "/api/v1/bindings", JSON, "[]".into(), 400, "W4_ERR_PROTO_FORMAT", ""),
        (
            "POST",
            "/api/v1/bindings",
            JSON,
            "{\"creator\":7}".into(),
            400,
            "W4_ERR_PROTO_FORMAT",
            "creator: invalid type",
        ),
        ("POST", "/api/v1/bindings", JSON, "\u{0}\u{1}".into(), 400, "W4_ERR_PROTO_FORMAT", "expected value"),
        ("POST", "/api/v1/bindings", JSON, "[".repeat(60_000), 400, "W4_ERR_PROTO_FORMAT", ""),
        ("POST", "/api/v1/bindings", None, "{}".into(), 415, "W4_ERR_PROTO_MEDIA", ""),
        ("POST", "/api/v1/bindings", Some("text/plain"), "{}".into(), 415, "W4_ERR_PROTO_MEDIA", ""),
        ("POST", "/api/v1/bindings", JSON, long.clone(), 413, "W4_ERR_PROTO_SIZE", ""),
        ("POST", "/api/v1/components/register", JSON, long, 413, "W4_ERR_PROTO_SIZE", ""),
        (
            "POST",
            "/api/v1/transactions?wait=2",
            JSON,
            "{\"transaction\":\"\"}".into(),
            400,
            "W4_ERR_PROTO_FORMAT",
            "wait",
        ),
        (
            "POST",
            "/api/v1/transactions?wiat=1",
            JSON,
            "{\"transaction\":\"\"}".into(),
            400,
            "W4_ERR_PROTO_FORMAT",
            "wiat",
        ),
        (
            "POST",
            "/api/v1/transactions",
            JSON,
            "{\"transaction\":\"*\"}".into(),
            400,
            "W4_ERR_PROTO_FORMAT",
            "transaction: not base64",
        ),
        (
            "POST",
            "/api/v1/transactions",
            JSON,
            "{\"transaction\":\"AAAA\"}".into(),
            400,
            "W4_ERR_PROTO_FORMAT",
            "",
        ),
        (
            "GET",
            "/api/v1/transactions/12",
            None,
            String::new(),
            400,
            "W4_ERR_PROTO_FORMAT",
            "64 hexadecimal digits",
        ),
        ("GET", "/api/v1/components/a", None, String::new(), 400, "W4_ERR_PROTO_FORMAT", "component id"),
        ("GET", "/api/v1/components/a%20b", None, String::new(), 400, "W4_ERR_PROTO_FORMAT", "component id"),
        ("GET", "/api/v1/components/%FF%FF%FF", None, String::new(), 400, "W4_ERR_PROTO_FORMAT", ""),
        (
            "GET",
            "/api/v1/components/..%2f..%2fetc",
            None,
            String::new(),
            400,
            "W4_ERR_PROTO_FORMAT",
            "component id",
        ),
        ("GET", "/api/v1/components/pack-0009", None, String::new(), 404, "W4_ERR_COMPONENT_NOT_FOUND", ""),
        ("GET", "/api/v1/lct/00", None, String::new(), 400, "W4_ERR_PROTO_FORMAT", "lct id"),
        (
            "GET",
            &format!("/api/v1/lct/{}", "0".repeat(64)),
            None,
            String::new(),
            404,
            "W4_ERR_LCT_NOT_FOUND",
            "",
        ),
        (
            "GET",
            &format!("/api/v1/pairings/{}", "0".repeat(32)),
            None,
            String::new(),
            404,
            "W4_ERR_PAIRING_NOT_FOUND",
            "",
        ),
        (
            "GET",
            &format!("/api/v1/transactions/{}", "0".repeat(64)),
            None,
            String::new(),
            404,
            "W4_ERR_TX_NOT_FOUND",
            "",
        ),
        (
            "GET",
            &format!("/api/v1/receipts/{}", "0".repeat(64)),
            None,
            String::new(),
            404,
            "W4_ERR_RECEIPT_NOT_FOUND",
            "",
        ),
        ("GET", "/api/v1/receipts/pack-0009/0", None, String::new(), 404, "W4_ERR_COMPONENT_NOT_FOUND", ""),
        ("GET", "/api/v1/receipts/pack-0009/-1", None, String::new(), 400, "W4_ERR_PROTO_FORMAT", "seq"),
        (
            "GET",
            &format!("/api/v1/accounts/{}", "0".repeat(66)),
            None,
            String::new(),
            400,
            "W4_ERR_PROTO_FORMAT",
            "public key",
        ),
        (
            "GET",
            &format!("/api/v1/accounts/{}", world.factory.root.public()),
            None,
            String::new(),
            404,
            "W4_ERR_ACCOUNT_NOT_FOUND",
            "",
        ),
    ];
    for (method, path, media, body, status, code, detail) in table {
        let answer = raw(&world, method, path, *media, body.clone()).await;
        let problem = refused(&answer, *status, code);
        let said = problem.detail.unwrap_or_default();
        assert!(said.contains(detail), "{method} {path}: {said}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{method} {path}");
    }
    // The table tests refusals, not a route that refuses everything.
    assert_eq!(raw(&world, "GET", &format!("/api/v1/accounts/{key}"), None, "").await.status, 200);
    assert_eq!(raw(&world, "GET", "/health", None, "").await.status, 200);
    assert_eq!(raw(&world, "HEAD", "/api/v1/health", None, "").await.status, 200);
    // No answer contains null, which existing clients cannot read.
    for answer in world.answers.lock().unwrap().iter() {
        assert!(!String::from_utf8_lossy(&answer.body).contains("null"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_are_not_served() {
    let world = World::new().await;
    let port = world.address.rsplit(':').next().unwrap();
    for (host, ok) in [
        (format!("127.0.0.1:{port}"), true),
        (format!("localhost:{port}"), true),
        ("localhost".into(), true),
        (format!("[::1]:{port}"), true),
        (format!("evil.example:{port}"), false),
        (format!("127.0.0.1.evil.example:{port}"), false),
        (String::new(), false),
    ] {
        let request = world.http.get(format!("{}/health", world.address)).header("host", host.clone());
        let answer = world.send(request).await;
        if ok {
            assert_eq!(answer.status, 200, "{host}");
        } else {
            refused(&answer, 421, "W4_ERR_PROTO_HOST");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations() {
    let world = World::new().await;
    let pack = world.factory.device("pack-0001", Role::Pack);
    let chain_id = world.chain.chain_id();
    let good = pack.registration(chain_id);
    world.register(&pack).await;

    // A body that skips the checks `api::sign::register` makes.
    let unchecked = |registration: &lct::registration::Registration, key: &SigningKey| {
        let mut bytes = [0; lct::registration::REGISTRATION_MAX];
        let n = registration.encode(&mut bytes).unwrap();
        let signature = key.sign(&lct::registration::digest_of(&bytes[..n]), &mut rng());
        ledger::tx::Body::Register { statement: bytes[..n].into(), signature }
    };
    let module = world.factory.device("module-0001", Role::Module);
    let other_factory = common::Factory::new().device("module-0002", Role::Module);
    let mut same_serial = module.registration(chain_id);
    same_serial.serial = good.serial.clone();
    let mut other_firmware = good.clone();
    other_firmware.firmware += 1;
    let empty_pack = world.factory.device("pack-0002", Role::Pack);
    let mut no_capacity = empty_pack.registration(chain_id);
    no_capacity.capacity_mwh = 0;
    let stranger = SigningKey::generate(&mut rng());
    let table = [
        ("other data", unchecked(&other_firmware, &pack.key), 409, "W4_ERR_REGISTRY_EXISTS"),
        ("serial again", unchecked(&same_serial, &module.key), 409, "W4_ERR_REGISTRY_SERIAL_EXISTS"),
        ("other chain", unchecked(&module.registration([9; 32]), &module.key), 400, "W4_ERR_REGISTRY_CHAIN"),
        (
            "no possession",
            unchecked(&module.registration(chain_id), &stranger),
            401,
            "W4_ERR_REGISTRY_PROOF_FAIL",
        ),
        (
            "other manufacturer",
            unchecked(&other_factory.registration(chain_id), &other_factory.key),
            401,
            "W4_ERR_ATTEST_ROOT",
        ),
        ("no capacity", unchecked(&no_capacity, &empty_pack.key), 400, "W4_ERR_REGISTRY_CAPACITY"),
    ];
    for (what, body, status, code) in table {
        let mut request = world.register_request(&module).await;
        request.transaction = Blob(world.tx(body).await.bytes);
        let answer = world.post("/components/register", &request).await;
        let problem = refused(&answer, status, code);
        assert!(!problem.error.is_empty(), "{what}");
    }
    let mut request = world.register_request(&module).await;
    // A creator is a label and never an authorisation: whatever it says, the transaction's signer counts.
    request.transaction =
        Blob(world.tx_by(&stranger, unchecked(&module.registration(chain_id), &module.key)).await.bytes);
    request.creator = "authority".into();
    refused(&world.post("/components/register", &request).await, 401, "W4_ERR_AUTHZ_DENIED");
    request.creator = "two\nlines".into();
    let problem = refused(&world.post("/components/register", &request).await, 400, "W4_ERR_PROTO_FORMAT");
    assert!(problem.detail.unwrap().starts_with("creator"));
    let lct = world.tx(api::sign::lct_create(pack.cid, module.cid, "x")).await;
    request.creator = "fitter".into();
    request.transaction = Blob(lct.bytes);
    refused(&world.post("/components/register", &request).await, 400, "W4_ERR_PROTO_KIND");
    assert_eq!(world.chain.status().unwrap().components, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_of_those_who_may_not() {
    let world = World::new().await;
    let (app, pack, bonded) = world.commissioned().await;
    // An operator is no authority, and neither is a stranger who signs like one.
    let opened = world.pair(&app, &pack, &bonded).await;
    let completion = lct::pairing::Completion {
        pairing_id: opened.pairing_id,
        nonce: opened.nonce,
        cert_hash: opened.cert_hash,
        th4: [1; 32],
    };
    let foreign = SigningKey::generate(&mut rng());
    let signatures = |authority: &SigningKey| {
        let sign = |key: &SigningKey| key.sign(&completion.digest(), &mut rng());
        [sign(bonded.keys[0].signing_key()), sign(bonded.keys[1].signing_key()), sign(authority)]
    };
    let keys = bonded.keys.each_ref().map(|k| k.public().sign_pub());
    let complete = |authority: &SigningKey| {
        api::sign::pair_complete(&completion, (bonded.id, keys), 60, signatures(authority)).unwrap()
    };
    let submit =
        async |tx: Vec<u8>| world.post("/transactions?wait=1", &json!({ "transaction": Blob(tx) })).await;
    let by_operator = world.tx(complete(&world.operator)).await;
    refused(&submit(by_operator.bytes).await, 403, "W4_ERR_AUTHZ_SCOPE");
    let by_foreign = world.tx_by(&foreign, complete(&foreign)).await;
    refused(&submit(by_foreign.bytes).await, 401, "W4_ERR_AUTHZ_DENIED");
    refused(
        &submit(world.tx(api::sign::lct_create(app.cid, pack.cid, "x")).await.bytes).await,
        403,
        "W4_ERR_AUTHZ_SCOPE",
    );

    // Nonces, chains, expiry, signatures.
    let module = world.factory.device("module-0001", Role::Module);
    let body = module.register_body(&module.registration(world.chain.chain_id()));
    let next = world.chain.next_nonce(&world.operator.public()).unwrap();
    refused(
        &submit(world.tx_nonce(&world.operator, body.clone(), next - 1).bytes).await,
        409,
        "W4_ERR_PROTO_REPLAY",
    );
    refused(
        &submit(world.tx_nonce(&world.operator, body.clone(), next + 1).bytes).await,
        400,
        "W4_ERR_PROTO_SEQUENCE",
    );
    let mut spoiled = world.tx_nonce(&world.operator, body.clone(), next).bytes;
    let last = spoiled.len() - 1;
    spoiled[last] ^= 1;
    refused(&submit(spoiled).await, 401, "W4_ERR_CRYPTO_VERIFY");
    let envelope = api::sign::Envelope { chain_id: [7; 32], nonce: next, expiry_height: 1000 };
    let elsewhere = api::sign::sign(body, &envelope, &world.operator, &mut rng());
    refused(&submit(elsewhere.bytes).await, 400, "W4_ERR_PROTO_CHAIN");
    refused(&submit(vec![0; 20_000]).await, 413, "W4_ERR_PROTO_SIZE");
    refused(&submit(vec![0; 20]).await, 400, "W4_ERR_PROTO_FORMAT");
}

#[tokio::test(flavor = "multi_thread")]
async fn bindings() {
    let world = World::new().await;
    let app = world.factory.device("app-0001", Role::App);
    let pack = world.factory.device("pack-0001", Role::Pack);
    let nobody = world.factory.device("pack-0009", Role::Pack);
    world.register(&app).await;
    world.register(&pack).await;

    for (a, b, status, code, detail) in [
        (&app, &nobody, 404, "W4_ERR_COMPONENT_NOT_FOUND", "b.component_id"),
        (&nobody, &pack, 404, "W4_ERR_COMPONENT_NOT_FOUND", "a.component_id"),
        (&pack, &app, 400, "W4_ERR_BINDING_INVALID", "nearer the app"),
        (&app, &app, 400, "W4_ERR_BINDING_INVALID", ""),
    ] {
        let answer = world.post("/bindings", &world.begin_request(a, b)).await;
        let problem = refused(&answer, status, code);
        assert!(problem.detail.unwrap().contains(detail));
    }
    let mut begin = world.begin_request(&app, &pack);
    begin.b.access = "x".repeat(97);
    refused(&world.post("/bindings", &begin).await, 400, "W4_ERR_PROTO_FORMAT");
    begin.b.access = String::new();
    refused(&world.post("/bindings", &begin).await, 400, "W4_ERR_PROTO_FORMAT");

    // Keys: each attestation must be by the registered device over this key, partner and nonce.
    let (id, requests) = world.begin(&app, &pack).await;
    let (_, attested_a) = app.answer(&requests[0]);
    let (key_b, attested_b) = pack.answer(&requests[1]);
    let path = format!("/bindings/{id}/keys");
    let spk_b = key_b.public();
    let by = |device: &common::Device, partner: &Cid, nonce: &[u8; 16]| device.attest(&spk_b, partner, nonce);
    let clone = world.factory.device("pack-0001", Role::Pack);
    let spoiled = |k: AttestedKey| AttestedKey { attestation: Fixed(foreign_signature().0), ..k };
    let swapped_key = AttestedKey { spk: Fixed(fresh_spk().public().0), ..attested_b };
    let module_role = common::Device { role: Role::Module, ..world.factory.device("pack-0001", Role::Pack) };
    let module_role = common::Device { key: pack.key.clone(), ..module_role };
    for (what, a, b) in [
        ("wrong nonce", attested_a, by(&pack, &app.cid, &[0; 16])),
        ("nonce of the other side", attested_a, by(&pack, &app.cid, &requests[0].nonce)),
        ("another partner", attested_a, by(&pack, &nobody.cid, &requests[1].nonce)),
        ("another device with the same id", attested_a, by(&clone, &app.cid, &requests[1].nonce)),
        ("another role", attested_a, by(&module_role, &app.cid, &requests[1].nonce)),
        ("another key", attested_a, swapped_key),
        ("foreign signature on a", spoiled(attested_a), attested_b),
        ("sides swapped", attested_b, attested_a),
    ] {
        let answer = world.post(&path, &Sides { a, b }).await;
        let problem = answer.problem();
        assert_eq!(
            (answer.status, problem.code.as_str()),
            (401, "W4_ERR_ATTEST_VERIFY"),
            "{what}: {problem:?}"
        );
    }
    let mut off_curve = attested_b;
    off_curve.spk.0[2] = 5;
    refused(&world.post(&path, &Sides { a: attested_a, b: off_curve }).await, 400, "W4_ERR_PROTO_FORMAT");
    let complete = binding::Complete::first(Sides { a: Fixed([1; 64]), b: Fixed([1; 64]) });
    let complete_path = format!("/bindings/{id}/complete");
    refused(&world.post(&complete_path, &complete).await, 409, "W4_ERR_BINDING_STEP");
    world.post(&path, &Sides { a: attested_a, b: attested_b }).await.json::<binding::Introduced>();
    let (_, other_key) = pack.answer(&requests[1]);
    refused(&world.post(&path, &Sides { a: attested_a, b: other_key }).await, 409, "W4_ERR_PROTO_REPLAY");

    // Completion: a new ceremony replaces the one that was not finished.
    let bonded = world.introduce(&app, &pack).await;
    refused(&world.post(&complete_path, &complete).await, 404, "W4_ERR_BINDING_NOT_FOUND");
    let path = format!("/bindings/{}/complete", bonded.id);
    let good = world.record_signatures(&bonded);
    let mut other = common::Bonded { id: bonded.id, keys: bonded.keys.clone(), record: bonded.record };
    other.record.time += 1;
    let other_record = world.record_signatures(&other);
    for (what, signatures, side) in [
        ("swapped", Sides { a: good.b, b: good.a }, "signatures.a"),
        ("a for both", Sides { a: good.a, b: good.a }, "signatures.b"),
        ("foreign b", Sides { a: good.a, b: Fixed(foreign_signature().0) }, "signatures.b"),
        ("other record", other_record, "signatures.a"),
        ("nothing", Sides { a: Fixed([0; 64]), b: Fixed([0; 64]) }, "signatures.a"),
    ] {
        let answer = world.post(&path, &binding::Complete::first(signatures)).await;
        let problem = answer.problem();
        assert_eq!((answer.status, problem.code.as_str()), (401, "W4_ERR_BINDING_PROOF_FAIL"), "{what}");
        assert_eq!(problem.detail.as_deref(), Some(side), "{what}");
    }
    let bound: binding::Bound = world.post(&path, &binding::Complete::first(good)).await.json();
    // Repeated: the same. Something else: refused. Neither makes a transaction.
    assert_eq!(world.post(&path, &binding::Complete::first(good)).await.json::<binding::Bound>(), bound);
    let resigned = world.record_signatures(&bonded);
    refused(&world.post(&path, &binding::Complete::first(resigned)).await, 409, "W4_ERR_PROTO_REPLAY");
    refused(
        &world.post("/bindings", &world.begin_request(&app, &pack)).await,
        409,
        "W4_ERR_BINDING_PAIR_EXISTS",
    );
    let unknown = format!("/bindings/{}/complete", "0".repeat(32));
    refused(&world.post(&unknown, &binding::Complete::first(good)).await, 404, "W4_ERR_BINDING_NOT_FOUND");
    assert_eq!(world.chain.status().unwrap().txs, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn ceremonies_run_out() {
    let world = World::new().await;
    let app = world.factory.device("app-0001", Role::App);
    let pack = world.factory.device("pack-0001", Role::Pack);
    world.register(&app).await;
    world.register(&pack).await;
    let late = world.introduce(&app, &pack).await;
    let request = binding::Complete::first(world.record_signatures(&late));
    world.advance(3_600_000);
    let path = format!("/bindings/{}/complete", late.id);
    refused(&world.post(&path, &request).await, 404, "W4_ERR_BINDING_NOT_FOUND");

    let bonded = world.bind(&app, &pack).await;
    let opened = world.pair(&app, &pack, &bonded).await;
    let request = world.completion(&opened, &bonded);
    world.advance(3_600_000);
    let path = format!("/pairings/{}", opened.pairing_id);
    assert_eq!(world.get(&path).await.json::<pairing::Pairing>().status, "expired");
    refused(&world.post(&format!("{path}/complete"), &request).await, 404, "W4_ERR_PAIRING_NOT_FOUND");

    // The relationship itself outlives its ceremony, and a completed pairing its lease.
    let opened = world.pair(&app, &pack, &bonded).await;
    let path = format!("/pairings/{}", opened.pairing_id);
    let request = world.completion(&opened, &bonded);
    world.post(&format!("{path}/complete"), &request).await.json::<pairing::Completed>();
    assert_eq!(world.get(&path).await.json::<pairing::Pairing>().status, "completed");
    world.advance(91 * 86_400_000);
    assert_eq!(world.get(&path).await.json::<pairing::Pairing>().status, "expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_expired_are_not_introduced() {
    let world = World::new().await;
    let app = world.factory.device("app-0001", Role::App);
    let pack = world.factory.device("pack-0001", Role::Pack);
    world.register(&app).await;
    world.register(&pack).await;
    world.advance(201 * 86_400_000);
    let (id, requests) = world.begin(&app, &pack).await;
    let keys = Sides { a: app.answer(&requests[0]).1, b: pack.answer(&requests[1]).1 };
    let answer = world.post(&format!("/bindings/{id}/keys"), &keys).await;
    let problem = refused(&answer, 401, "W4_ERR_ATTEST_VERIFY");
    assert!(problem.detail.unwrap().contains("validity"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pairings_and_relationships() {
    let world = World::new().await;
    let (app, pack, bonded) = world.commissioned().await;
    let module = world.factory.device("module-0001", Role::Module);
    world.register(&module).await;

    let good = serde_json::to_value(world.issue_request(&app, &pack)).unwrap();
    let with = |field: &str, value: Value| {
        let mut request = good.clone();
        request[field] = value;
        request
    };
    for (request, status, code) in [
        (with("b", "module-0001".into()), 403, "W4_ERR_PAIRING_DENIED"),
        (with("b", "pack-0009".into()), 404, "W4_ERR_COMPONENT_NOT_FOUND"),
        (with("a", "pack-0001".into()), 400, "W4_ERR_BINDING_INVALID"),
        (with("valid_days", 0.into()), 400, "W4_ERR_PAIRING_INVALID"),
        (with("valid_days", 91.into()), 400, "W4_ERR_PAIRING_INVALID"),
        (with("valid_days", json!(-1)), 400, "W4_ERR_PROTO_FORMAT"),
        (with("context", "everything".into()), 400, "W4_ERR_PAIRING_INVALID"),
        (with("unencrypted_allowed", json!([0x600])), 400, "W4_ERR_PAIRING_INVALID"),
        (with("unencrypted_allowed", json!(vec![0x500; 17])), 400, "W4_ERR_PAIRING_INVALID"),
        (with("salt", "AAAA".into()), 400, "W4_ERR_PROTO_FORMAT"),
        (with("creator", "".into()), 400, "W4_ERR_PROTO_FORMAT"),
    ] {
        refused(&world.post("/pairings", &request).await, status, code);
    }

    let opened = world.pair(&app, &pack, &bonded).await;
    let second = world.pair(&app, &pack, &bonded).await;
    let path = format!("/pairings/{}/complete", opened.pairing_id);
    let good = world.completion(&opened, &bonded);
    let swapped = Sides { a: good.entity_signatures.b, b: good.entity_signatures.a };
    let foreign = Fixed(foreign_signature().0);
    // As if another authority had issued the certificate: same pairing, other hash.
    let other_certificate = world.completion_with(&opened, &bonded, |c| c.cert_hash = second.cert_hash);
    for (what, request, detail) in [
        ("wrong nonce", world.completion_with(&opened, &bonded, |c| c.nonce[0] ^= 1), "validation_nonce"),
        (
            "nonce of another pairing",
            world.completion_with(&opened, &bonded, |c| c.nonce = second.nonce),
            "validation_nonce",
        ),
        ("another certificate", other_certificate, "entity_signatures.a"),
        (
            "another pairing",
            world.completion_with(&opened, &bonded, |c| c.pairing_id = second.pairing_id),
            "entity_signatures.a",
        ),
        ("another session", pairing::Complete { th4: Fixed([0; 32]), ..good }, "entity_signatures.a"),
        ("swapped", pairing::Complete { entity_signatures: swapped, ..good }, "entity_signatures.a"),
        (
            "foreign b",
            pairing::Complete { entity_signatures: Sides { b: foreign, ..good.entity_signatures }, ..good },
            "entity_signatures.b",
        ),
    ] {
        let answer = world.post(&path, &request).await;
        let problem = answer.problem();
        assert_eq!(
            (answer.status, problem.code.as_str()),
            (401, "W4_ERR_PAIRING_PROOF_FAIL"),
            "{what}: {problem:?}"
        );
        assert!(problem.detail.unwrap().starts_with(detail), "{what}");
    }
    let completed: pairing::Completed = world.post(&path, &good).await.json();
    assert_eq!(world.post(&path, &good).await.json::<pairing::Completed>(), completed);
    // Replayed: with other content, and for another pairing.
    let other = world.completion_with(&opened, &bonded, |c| c.th4 = [0x55; 32]);
    refused(&world.post(&path, &other).await, 409, "W4_ERR_PROTO_REPLAY");
    let path = format!("/pairings/{}/complete", second.pairing_id);
    refused(&world.post(&path, &good).await, 401, "W4_ERR_PAIRING_PROOF_FAIL");
    assert_eq!(world.chain.status().unwrap().pairings, 1);

    let create = |a: &str, b: &str, context: &str| Create {
        creator: "fitter".into(),
        component_a: a.into(),
        component_b: b.into(),
        context: context.into(),
        proxy_id: String::new(),
    };
    for (request, status, code) in [
        (create("app-0001", "module-0001", "x"), 403, "W4_ERR_PAIRING_DENIED"),
        (create("app-0001", "app-0001", "x"), 403, "W4_ERR_PAIRING_DENIED"),
        (create("app-0001", "nobody", "x"), 404, "W4_ERR_COMPONENT_NOT_FOUND"),
        (create("app-0001", "pack-0001", ""), 400, "W4_ERR_LCT_CONTEXT"),
        (create("app-0001", "pack-0001", "a b"), 400, "W4_ERR_LCT_CONTEXT"),
        (create("app-0001", "pack-0001", &"x".repeat(65)), 400, "W4_ERR_LCT_CONTEXT"),
    ] {
        refused(&world.post("/lct/create", &request).await, status, code);
    }
    let request = create("app-0001", "pack-0001", "battery_management");
    let created: api::lct::Created = world.post("/lct/create", &request).await.json();
    let again = refused(&world.post("/lct/create", &request).await, 409, "W4_ERR_LCT_EXISTS");
    assert_eq!(again.detail, Some(created.lct_id.to_string()));
    let turned = create("pack-0001", "app-0001", "battery_management");
    refused(&world.post("/lct/create", &turned).await, 409, "W4_ERR_LCT_EXISTS");
}

#[tokio::test(flavor = "multi_thread")]
async fn relationships_whose_keys_are_lost_or_forged_are_not_served() {
    let mut world = World::new().await;
    let (app, pack, bonded) = world.commissioned().await;
    let kept = std::fs::read(world.ceremonies()).unwrap();
    std::fs::remove_file(world.ceremonies()).unwrap();
    world.restart().await;
    refused(&world.post("/pairings", &world.issue_request(&app, &pack)).await, 409, "W4_ERR_BINDING_KEYS");
    world.stop().await;
    // Written by someone else: the right form, other keys.
    std::fs::write(world.ceremonies(), &kept[..kept.len() - 1]).unwrap();
    let open = || {
        bridge::Bridge::open(bridge::Config {
            chain: world.chain.clone(),
            clock: std::sync::Arc::new(|| common::START_MS),
            key: bridge::AuthorityKey::from_bytes(&world.authority_key).unwrap(),
            lineage: None,
            ceremonies: world.ceremonies(),
            revocations: world.revocations(),
            orders: world.orders(),
            webhooks: world.dir.path().join("second.redb"),
        })
    };
    assert!(matches!(open(), Err(bridge::BridgeError::Ceremonies(_))), "damaged");
    let spk = bonded.keys[1].public().0;
    let at = kept.windows(68).position(|w| w == spk).unwrap();
    let mut forged = kept[..kept.len() - 32].to_vec();
    // Only the half that things are sealed to: no signature would show it.
    forged[at + 35..at + 68].copy_from_slice(&fresh_spk().public().0[35..]);
    forged.extend(lct::hash::sha256(&[&forged]));
    std::fs::write(world.ceremonies(), forged).unwrap();
    let bridge = open().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.address = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(bridge.serve(listener, async { drop(stopped.await) }));
    refused(&world.post("/pairings", &world.issue_request(&app, &pack)).await, 409, "W4_ERR_BINDING_KEYS");
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bridges_that_must_not_start() {
    let mut world = World::new().await;
    world.stop().await;
    let config = |key| bridge::Config {
        chain: world.chain.clone(),
        clock: std::sync::Arc::new(|| common::START_MS),
        key,
        lineage: None,
        ceremonies: world.ceremonies(),
        revocations: world.revocations(),
        orders: world.orders(),
        webhooks: world.dir.path().join("second.redb"),
    };
    let stranger = bridge::AuthorityKey::generate().unwrap();
    assert!(matches!(bridge::Bridge::open(config(stranger)), Err(bridge::BridgeError::NotAnAuthority)));
    let own = || bridge::AuthorityKey::from_bytes(&world.authority_key).unwrap();
    let outside = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let served = bridge::Bridge::open(config(own())).unwrap().serve(outside, std::future::pending()).await;
    assert!(matches!(served, Err(bridge::BridgeError::NotLoopback(_))));
}
