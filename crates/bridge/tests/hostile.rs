//! Bad input on every route (A3, A5, A8, A134): none of it is served, and each refusal has the one body and tells nothing.
//!
//! The routes are those of the contract and of the table of the older one, so that a further route is judged as well.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use crate::common::{Answer, World, panics};

use api::session::{Asked, PROOF_HEADER, Proof};
use bridge::{
    Front,
    access::{
        Rate, Role,
        users::{User, UserFile},
    },
    compat::{Allow, Profile},
};
use lct::sign::SigningKey;
use serde_json::{Value, json};

/// What no refusal tells: of whoever asked, of the machine, of the code.
const CANARY: &str = "canary-4f1c77d09b";
const INTERNALS: [&str; 10] =
    ["/tmp/", "/home/", "/work", "src/", ".rs:", "panicked", "RUST_", "unwrap", "redb", "os error"];
const JSON: Option<&str> = Some("application/json");

/// A route of the contract.
struct Route {
    method: String,
    /// With the names of its parameters in braces.
    path: String,
    operation: Value,
}

impl Route {
    /// The path with `value` for each parameter, or what its type allows.
    fn filled(&self, value: Option<&str>) -> String {
        let mut filled = self.path.clone();
        for parameter in self.parameters("path") {
            let name = parameter["name"].as_str().unwrap();
            let kind = parameter["schema"]["$ref"].as_str().unwrap_or_default();
            let fits = match kind.rsplit('/').next().unwrap() {
                "HexOf16" => "ab".repeat(16),
                "HexOf32" => "ab".repeat(32),
                "HexOf33" => format!("02{}", "ab".repeat(32)),
                "ComponentId" => "pack-0001".into(),
                _ => "1".into(),
            };
            filled = filled.replace(&format!("{{{name}}}"), value.unwrap_or(&fits));
        }
        filled
    }

    /// A request for it whose body is an object.
    fn ask<'a>(&'a self, path: &'a str) -> Ask<'a> {
        Ask { method: &self.method, path, media: JSON, body: b"{}".to_vec(), profile: None }
    }

    fn parameters(&self, place: &str) -> impl Iterator<Item = &Value> {
        let all = self.operation["parameters"].as_array().into_iter().flatten();
        all.filter(move |parameter| parameter["in"] == place)
    }

    /// The type of its JSON body.
    fn body<'a>(&'a self, contract: &'a Value) -> Option<&'a Value> {
        let schema = &self.operation["requestBody"]["content"]["application/json"]["schema"];
        (!schema.is_null()).then(|| resolved(contract, schema))
    }
}

fn resolved<'a>(contract: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        None => schema,
        Some(at) => resolved(contract, &contract["components"]["schemas"][at.rsplit('/').next().unwrap()]),
    }
}

fn contract() -> (Value, Vec<Route>) {
    let contract: Value = serde_json::from_str(&bridge::contract()).unwrap();
    let mut routes = Vec::new();
    for (path, methods) in contract["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let (method, path) = (method.to_uppercase(), path.clone());
            routes.push(Route { method, path, operation: operation.clone() });
        }
    }
    (contract, routes)
}

/// Asks and judges; what was wrong is collected, so that one run shows all of it.
struct Judge {
    world: World,
    asked: BTreeMap<&'static str, usize>,
    faults: Vec<String>,
}

/// One request.
#[derive(Clone, Default)]
struct Ask<'a> {
    method: &'a str,
    path: &'a str,
    media: Option<&'a str>,
    body: Vec<u8>,
    profile: Option<&'a str>,
}

impl Judge {
    fn new(world: World) -> Self {
        panics();
        Judge { world, asked: BTreeMap::new(), faults: Vec::new() }
    }

    async fn ask(&self, ask: &Ask<'_>) -> Answer {
        let method = reqwest::Method::from_bytes(ask.method.as_bytes()).unwrap();
        let mut request = self.world.http.request(method, format!("{}{}", self.world.address, ask.path));
        request = request.header("x-api-key", CANARY).header("cookie", CANARY);
        if let Some(profile) = ask.profile {
            request = request.header("x-client-profile", profile);
        }
        if let Some(media) = ask.media {
            request = request.header("content-type", media);
        }
        self.world.send(request.body(ask.body.clone())).await
    }

    /// Sends it as a case of `what`; the refusal has one of `statuses`, and its detail holds `says`.
    async fn refused(&mut self, what: &'static str, ask: Ask<'_>, statuses: &[u16], says: &str) {
        let answer = self.ask(&ask).await;
        let start: Vec<u8> = ask.body.iter().copied().take(60).collect();
        let place = format!("{what}: {} {} {:?}", ask.method, ask.path, String::from_utf8_lossy(&start));
        self.judge(what, &place, &answer, statuses, says);
    }

    fn judge(&mut self, what: &'static str, place: &str, answer: &Answer, statuses: &[u16], says: &str) {
        *self.asked.entry(what).or_default() += 1;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        let mut fault = |why: &str| self.faults.push(format!("{place}: {why}: {} {body}", answer.status));
        if !statuses.contains(&answer.status) {
            fault(&format!("not one of {statuses:?}"));
        }
        let Ok(Value::Object(problem)) = serde_json::from_slice(&answer.body) else {
            return fault("no problem");
        };
        let known = ["error", "code", "detail", "status", "retry_after"];
        if problem.keys().any(|key| !known.contains(&key.as_str()))
            || problem["status"] != answer.status
            || !problem["code"].as_str().is_some_and(|code| code.starts_with("W4_ERR_"))
            || problem["error"].as_str().is_none_or(str::is_empty)
            || answer.header("content-type") != Some("application/json")
            || answer.header("cache-control") != Some("no-store")
        {
            fault("another form of refusal");
        }
        if !problem.get("detail").and_then(Value::as_str).unwrap_or_default().contains(says) {
            fault(&format!("does not say `{says}`"));
        }
        let told = format!("{body} {:?}", answer.headers);
        let home = self.world.dir.path().display().to_string();
        if let Some(leak) = INTERNALS.into_iter().chain([CANARY, &home]).find(|leak| told.contains(leak)) {
            fault(&format!("tells `{leak}`"));
        }
    }

    /// Every case was judged right, and nothing went to pieces on the way.
    fn ends(self) {
        println!("{:?}", self.asked);
        assert!(self.faults.is_empty(), "{} faults:\n{}", self.faults.len(), self.faults.join("\n"));
        assert_eq!(panics(), Vec::<String>::new());
    }
}

/// What is no JSON object, whatever the route: media type, bytes, status.
fn no_objects() -> Vec<(Option<&'static str>, Vec<u8>, u16)> {
    let utf16: Vec<u8> = "{\"a\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        (JSON, text("{"), 400),
        (JSON, text("{\"a\":1,}"), 400),
        (JSON, text("null"), 400),
        (JSON, text("[]"), 400),
        (JSON, text(" [{}]"), 400),
        (JSON, text("7"), 400),
        (JSON, text("\"x\""), 400),
        (JSON, text("true"), 400),
        (JSON, text("{\"a\":NaN}"), 400),
        (JSON, text("{\"a\":1e999}"), 400),
        (JSON, text("{\"a\":\"\\ud800\"}"), 400),
        (JSON, text("{\"a\":\"\u{0}\"}"), 400),
        (JSON, b"{\"a\":\"\xff\xfe\"}".to_vec(), 400),
        (JSON, b"\xef\xbb\xbf{}".to_vec(), 400),
        (JSON, utf16, 400),
        (JSON, text(&"[".repeat(60_000)), 400),
        (JSON, text(&"{\"a\":".repeat(12_000)), 400),
        (None, text("{}"), 415),
        (Some("text/plain"), text("{}"), 415),
        (Some("application/x-www-form-urlencoded"), text("a=b"), 415),
        (Some("multipart/form-data; boundary=x"), text("--x--"), 415),
    ]
}

/// A value of another type than `schema` allows.
fn of_another_type(schema: &Value) -> Value {
    let string = json!("string");
    let text = schema["type"] == string || schema["type"].as_array().is_some_and(|all| all.contains(&string));
    if text { json!(7) } else { json!("x") }
}

fn allows_null(schema: &Value) -> bool {
    let among = |of: &Value| of.as_array().is_some_and(|all| all.contains(&json!("null")));
    let either = schema["oneOf"].as_array().into_iter().flatten();
    among(&schema["type"]) || either.into_iter().any(|one| one["type"] == "null")
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_none() {
    let (contract, routes) = contract();
    let mut judge = Judge::new(World::new().await);
    let mut bodies = 0;
    for route in &routes {
        let Some(schema) = route.body(&contract) else { continue };
        bodies += 1;
        let path = route.filled(None);
        let ask = |media, body| Ask { method: &route.method, path: &path, media, body, profile: None };
        for (media, body, status) in no_objects() {
            judge.refused("no object", ask(media, body), &[status], "").await;
        }
        let members = |value: Value| ask(JSON, value.to_string().into_bytes());
        judge.refused("empty", members(json!({})), &[400], "missing field").await;
        judge.refused("unknown member", members(json!({"hostile": 1})), &[400], "`hostile`").await;
        for (name, member) in schema["properties"].as_object().unwrap() {
            let member = resolved(&contract, member);
            let wrong = json!({name: of_another_type(member)});
            judge.refused("wrong type", members(wrong), &[400], name).await;
            if !allows_null(member) && schema["required"].as_array().unwrap().contains(&json!(name)) {
                judge.refused("null", members(json!({name: null})), &[400], name).await;
            }
            if member["additionalProperties"] == false {
                let inner = json!({name: {"hostile": 1}});
                judge.refused("unknown member", members(inner), &[400], "`hostile`").await;
            }
        }
    }
    assert!(bodies > 15, "{bodies}");
    judge.ends();
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_queries_that_lead_nowhere() {
    let (_, routes) = contract();
    let mut judge = Judge::new(World::new().await);
    let long = "a".repeat(10_000);
    for route in &routes {
        let path = route.filled(None);
        if path != route.path {
            for value in [
                "%FF%FE",
                "%C0%AE%C0%AE",
                "..%2f..%2fetc%2fpasswd",
                "%2e%2e%2fkeys",
                "..%5c..",
                "%00",
                "a%0d%0ax:y",
                "%25%32%65",
                "-1",
                "1e3",
                "99999999999999999999999",
                "null",
                "%F0%9F%98%80",
                &long,
            ] {
                judge.refused("path", route.ask(&route.filled(Some(value))), &[400, 404], "").await;
            }
        }
        let mut queries = vec![];
        for parameter in route.parameters("query") {
            let name = parameter["name"].as_str().unwrap();
            queries.extend(["%FF", "%00"].map(|bad| format!("{name}={bad}")));
            if parameter["schema"]["type"] == "integer" {
                let bad = ["x", "-1", "1.5", "1e3", "", "99999999999999999999999", "%EF%BC%91"];
                queries.extend(bad.map(|bad| format!("{name}={bad}")));
            }
            queries.push(format!("{name}=1&{name}=1"));
        }
        if !queries.is_empty() {
            queries.extend(["hostile=1", "hostile[]=1", "=", "%FF=1"].map(str::to_owned));
        }
        for query in queries {
            judge.refused("query", route.ask(&format!("{path}?{query}")), &[400], "").await;
        }
        for method in ["PATCH", "TRACE", "BREW"] {
            judge.refused("method", Ask { method, ..route.ask(&path) }, &[405], "").await;
        }
    }
    for path in [
        "/%2e%2e/%2e%2e/etc/passwd",
        "/docs/..%2f..%2fCargo.toml",
        "/docs/%2e%2e/keys/authority",
        "/api/v1//health",
    ] {
        judge.refused("no route", Ask { method: "GET", path, ..Ask::default() }, &[404], "").await;
    }
    judge.ends();
}

/// The older contract takes members that it does not know, and no more than that.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_older_clients_do_not_send() {
    let mut judge = Judge::new(World::old(Profile::Legacy, Allow::default()).await);
    let mut calls = 0;
    for (method, path, native, _) in bridge::compat::calls() {
        if method == "GET" {
            continue;
        }
        let path = path.replace("{id}", "x1").replace("{hash}", "x1");
        let profiles = [native.then_some("native"), Some("legacy")];
        for profile in profiles.into_iter().flatten() {
            calls += 1;
            let path = if profile == "native" { format!("/api/v1{path}") } else { path.clone() };
            for (media, body, status) in no_objects() {
                let ask = Ask { method: &method, path: &path, media, body, profile: Some(profile) };
                judge.refused("no object", ask, &[status], "").await;
            }
        }
    }
    assert!(calls > 80, "{calls}");
    let other = Ask { method: "GET", path: "/accounts", profile: Some("\u{e4}"), ..Ask::default() };
    judge.refused("profile", other, &[400], "").await;
    judge.ends();
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64
}

/// Who asks with the proof of another request, of another time, for another bridge, or with none, is nobody on any route.
#[tokio::test(flavor = "multi_thread")]
async fn proofs_of_other_requests() {
    let dir = tempfile::tempdir().unwrap();
    let users = dir.path().join("users.json");
    let key = SigningKey::from_bytes(&[7; 32]).unwrap();
    let mut ann = User::new("ann", Role::Administrator, None).unwrap();
    let token = ann.give_token(&key.public(), u64::MAX, None).unwrap();
    let mut file = UserFile::default();
    file.add(ann).unwrap();
    file.write(&users).unwrap();
    let often = std::num::NonZeroU32::MAX;
    let rate = Rate { per_second: often, burst: often };
    let front = Front { users: Some(users), rate, ..Front::default() };
    let mut judge = Judge::new(World::behind(front).await);
    let here = judge.world.address.trim_start_matches("http://").to_owned();
    let nonces = AtomicU64::new(0);
    let proof = |method: &str, authority: &str, path: &str, time_ms: u64| {
        let asked = Asked { method, authority, path, token: &token };
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&nonces.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let signature = key.sign_rfc6979(&Proof::digest(&asked, time_ms, &nonce));
        Proof { time_ms, nonce, signature }.to_string()
    };
    let (_, routes) = contract();
    // What anybody may ask tells nothing that a proof guards.
    let public = ["/health", "/ready", "/sessions"];
    let guarded = |route: &&Route| !public.contains(&route.path.trim_start_matches(api::PREFIX));
    let (mut replayed, mut let_in) = (0, 0);
    for route in routes.iter().filter(guarded) {
        let path = route.filled(None);
        let (method, now) = (route.method.as_str(), now_ms());
        let url = format!("{}{path}", judge.world.address);
        let send = |proof: Option<&str>| {
            let request = judge.world.http.request(method.parse().unwrap(), &url).bearer_auth(&*token);
            let request = request.header("content-type", "application/json").body("{}");
            proof.into_iter().fold(request, |request, proof| request.header(PROOF_HEADER, proof))
        };
        let other = if method == "GET" { "POST" } else { "GET" };
        let mut cases = vec![
            ("no proof", None, "W4_ERR_ACCESS_PROOF"),
            ("another bridge", Some(proof(method, "other.example", &path, now)), "W4_ERR_ACCESS_PROOF"),
            ("another path", Some(proof(method, &here, "/api/v1/authority2", now)), "W4_ERR_ACCESS_PROOF"),
            ("another query", Some(proof(method, &here, &format!("{path}?a"), now)), "W4_ERR_ACCESS_PROOF"),
            ("another method", Some(proof(other, &here, &path, now)), "W4_ERR_ACCESS_PROOF"),
            ("too early", Some(proof(method, &here, &path, now + 90_000)), "W4_ERR_ACCESS_PROOF"),
            ("too late", Some(proof(method, &here, &path, now - 90_000)), "W4_ERR_ACCESS_PROOF"),
            ("no such time", Some(proof(method, &here, &path, u64::MAX)), "W4_ERR_ACCESS_PROOF"),
        ];
        // A stream would be let in, and not end.
        if !route.path.ends_with("/stream") {
            let good = proof(method, &here, &path, now);
            let answer = judge.world.send(send(Some(&good))).await;
            assert_ne!(answer.status, 401, "{method} {path}: {:?}", String::from_utf8_lossy(&answer.body));
            let_in += usize::from(answer.status == 200);
            cases.push(("replayed", Some(good), "W4_ERR_ACCESS_REPLAY"));
            replayed += 1;
        }
        let mut answers = Vec::new();
        for (what, proof, code) in cases {
            answers.push((what, code, judge.world.send(send(proof.as_deref())).await));
        }
        for (what, code, answer) in answers {
            let place = format!("{what}: {method} {path}");
            judge.judge(what, &place, &answer, &[401], "");
            let problem = answer.problem();
            assert_eq!(problem.code, code, "{place}");
            assert!(!String::from_utf8_lossy(&answer.body).contains(token.as_str()), "{place}");
        }
    }
    assert!(replayed > 60 && let_in > 10, "{replayed} {let_in}");
    judge.ends();
}
