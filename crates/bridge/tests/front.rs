//! The bridge as others reach it: TLS, users, proofs, roles, limits (A130 to A142).

use std::time::SystemTime;

use crate::common::{World, talk};
use api::{
    Client, ClientError, Hex,
    client::{Access, Credential},
    session::{Asked, Login, PROOF_HEADER, Proof},
};
use bridge::{
    Bridge, Front,
    access::{
        Role,
        users::{Certificate, User, UserFile},
    },
    front::tls::{Authority, Identity},
};
use lct::sign::SigningKey;
use tokio::net::TcpListener;

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A second bridge on the chain of `world`, behind `front`.
pub(crate) async fn served(
    world: &World,
    dir: &std::path::Path,
    front: &Front,
) -> (u16, tokio::sync::oneshot::Sender<()>) {
    let bridge = Bridge::open(bridge::Config {
        chain: world.chain.clone(),
        clock: std::sync::Arc::new(now_ms),
        key: bridge::AuthorityKey::from_bytes(&world.authority_key).unwrap(),
        lineage: None,
        ceremonies: dir.join("ceremonies"),
        revocations: dir.join("revocations"),
        orders: dir.join("orders.json"),
        webhooks: dir.join("webhooks.redb"),
    });
    let bridge = bridge.unwrap().behind(front).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move { bridge.serve(listener, async { drop(stopped.await) }).await.unwrap() });
    (port, stop)
}

fn refused<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> (u16, String) {
    match answer.unwrap_err() {
        ClientError::Refused(problem) => (problem.status, problem.code),
        other => panic!("{other}"),
    }
}

const PASSPHRASE: &str = "correct horse battery";

#[tokio::test(flavor = "multi_thread")]
async fn users_come_in_over_tls_and_nobody_else() {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let users = dir.path().join("users.json");
    let authority = Authority::open_or_create(&dir.path().join("tls")).unwrap();
    let issued = authority.issue_client("gateway", 1).unwrap();
    let mut file = UserFile::default();
    let mut ann = User::new("ann", Role::Administrator, None).unwrap();
    ann.set_passphrase(PASSPHRASE).unwrap();
    let mut gateway = User::new("gateway", Role::Viewer, None).unwrap();
    gateway.certificates.push(Certificate { fingerprint: Hex(issued.fingerprint), expires_at: u64::MAX });
    let program_key = SigningKey::from_bytes(&[7; 32]).unwrap();
    let mut program = User::new("program", Role::Administrator, Some(vec!["pack-0001".into()])).unwrap();
    let token = program.give_token(&program_key.public(), u64::MAX, None).unwrap();
    for user in [ann, gateway, program] {
        file.add(user).unwrap();
    }
    file.write(&users).unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let tls = Some(Identity::Own { folder: dir.path().join("tls"), names });
    let front = Front { users: Some(users.clone()), tls, ..Front::default() };
    let (port, stop) = served(&world, dir.path(), &front).await;
    let url = format!("https://localhost:{port}");
    let access = Access { authority: Some(authority.certificate()), ..Access::default() };
    let nobody = Client::with_access(&url, &access).unwrap();

    // Another authority is not believed.
    let other = Authority::open_or_create(&dir.path().join("other")).unwrap();
    let wrong = Access { authority: Some(other.certificate()), ..Access::default() };
    let wrong = Client::with_access(&url, &wrong).unwrap().health().await;
    assert!(matches!(wrong, Err(ClientError::Unreachable { .. })), "{wrong:?}");

    nobody.health().await.unwrap();
    assert_eq!(refused(nobody.ledger_status().await), (401, "W4_ERR_ACCESS_REQUIRED".into()));

    // A certificate; shut out at once.
    let identity = Access { identity: Some(&issued.pem), ..access.clone() };
    let gateway = Client::with_access(&url, &identity).unwrap();
    gateway.ledger_status().await.unwrap();
    assert_eq!(refused(gateway.submit(&[0], false).await), (403, "W4_ERR_ACCESS_ROLE".into()));
    file.set("gateway", None, Some(true), now_ms() / 1000).unwrap();
    file.write(&users).unwrap();
    assert_eq!(refused(gateway.ledger_status().await), (401, "W4_ERR_ACCESS_REQUIRED".into()));

    // A passphrase gives a token that is bound to a key.
    let key = SigningKey::from_bytes(&[8; 32]).unwrap();
    let login = |passphrase: &str| Login {
        user: "ann".into(),
        passphrase: passphrase.into(),
        key: Hex(key.public().0),
        new_passphrase: None,
    };
    assert_eq!(refused(nobody.log_in(&login("something else")).await).0, 401);
    let session = nobody.log_in(&login(PASSPHRASE)).await.unwrap();
    let ann = nobody.as_user(Credential { token: session.token.clone(), key: key.clone() });
    ann.ledger_status().await.unwrap();
    ann.health_detailed().await.unwrap();
    let thief = nobody.as_user(Credential { token: session.token, key: program_key.clone() });
    assert_eq!(refused(thief.ledger_status().await), (401, "W4_ERR_ACCESS_PROOF".into()));

    // A program's token is for its components, and nobody sits there.
    let program = nobody.as_user(Credential { token: token.to_string(), key: program_key.clone() });
    assert_eq!(refused(program.component("pack-0001").await), (404, "W4_ERR_COMPONENT_NOT_FOUND".into()));
    assert_eq!(refused(program.component("pack-0002").await), (403, "W4_ERR_ACCESS_SCOPE".into()));

    // Where any name would do, none and two are refused.
    let http = reqwest::Client::builder()
        .no_proxy()
        .http1_only()
        .tls_certs_only([reqwest::Certificate::from_pem(authority.certificate().as_bytes()).unwrap()])
        .build()
        .unwrap();
    let asked = http.get(format!("{url}/api/v1/health")).header("host", "elsewhere.example");
    assert_eq!(asked.try_clone().unwrap().send().await.unwrap().status(), 200, "one of any name");
    assert_eq!(asked.header("host", "localhost").send().await.unwrap().status(), 421, "two");

    // What a proof is of, once.
    let path = "/api/v1/ledger/status";
    let proof = |authority: &str, method: &str, time_ms: u64, nonce: u8| {
        let asked = Asked { method, authority, path: "/api/v1/components/pack-0001", token: &token };
        let signature = program_key.sign_rfc6979(&Proof::digest(&asked, time_ms, &[nonce; 16]));
        Proof { time_ms, nonce: [nonce; 16], signature }.to_string()
    };
    let here = format!("localhost:{port}");
    for (proof, code) in [
        (proof(&here, "GET", now_ms(), 1), "W4_ERR_COMPONENT_NOT_FOUND"),
        (proof(&here, "GET", now_ms() + 50_000, 2), "W4_ERR_COMPONENT_NOT_FOUND"),
        (proof(&here, "GET", now_ms() + 70_000, 3), "W4_ERR_ACCESS_PROOF"),
        (proof(&here, "GET", now_ms() - 70_000, 4), "W4_ERR_ACCESS_PROOF"),
        (proof("elsewhere:1", "GET", now_ms(), 5), "W4_ERR_ACCESS_PROOF"),
        (proof(&here, "POST", now_ms(), 6), "W4_ERR_ACCESS_PROOF"),
        ("nonsense".into(), "W4_ERR_ACCESS_PROOF"),
    ] {
        let ask = || {
            let request = http.get(format!("{url}/api/v1/components/pack-0001"));
            request.bearer_auth(&*token).header(PROOF_HEADER, &proof).send()
        };
        let first: api::Problem = ask().await.unwrap().json().await.unwrap();
        assert_eq!(first.code, code, "{proof}");
        if code == "W4_ERR_COMPONENT_NOT_FOUND" {
            let again: api::Problem = ask().await.unwrap().json().await.unwrap();
            assert_eq!((again.status, again.code.as_str()), (401, "W4_ERR_ACCESS_REPLAY"));
        }
    }
    let bare = http.get(format!("{url}{path}")).bearer_auth(&*token).send().await.unwrap();
    assert_eq!(bare.json::<api::Problem>().await.unwrap().code, "W4_ERR_ACCESS_PROOF");
    stop.send(()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_gets_no_answer_of_a_route() {
    let world = World::new().await;
    let address = world.address.trim_start_matches("http://").to_owned();
    let talk = move |parts: &[&str]| {
        let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        talk(&address, &parts)
    };
    let close = "host: localhost\r\nconnection: close\r\n";
    let post = format!("POST /api/v1/transactions HTTP/1.1\r\n{close}content-type: application/json\r\n");
    tokio::task::spawn_blocking(move || {
        for (request, status) in [
            ("no request\r\n\r\n".to_owned(), "400"),
            (format!("GET /health HTTP/1.1\r\n{close}\r\n"), "200"),
            (format!("GET /../../etc/passwd HTTP/1.1\r\n{close}\r\n"), "404"),
            (format!("GET /api/v1/components/..%2f..%2fetc HTTP/1.1\r\n{close}\r\n"), "400"),
            (format!("GET /health HTTP/1.1\r\n{close}x: a\u{0}b\r\n\r\n"), "400"),
            (format!("GET /health HTTP/1.1\r\n{close}x : y\r\n\r\n"), "400"),
            (format!("{post}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}"), "400"),
            (format!("{post}content-length: -1\r\n\r\n{{}}"), "400"),
            (format!("{post}content-length: 2\r\ntransfer-encoding: xchunked\r\n\r\n{{}}"), "400"),
            (format!("{post}transfer-encoding: chunked\r\n\r\nzz\r\n{{}}\r\n0\r\n\r\n"), "400"),
            (format!("GET /health HTTP/1.1\r\n{close}{}\r\n", "x: y\r\n".repeat(200)), "431"),
            (format!("GET /health HTTP/1.1\r\n{close}x: {}\r\n\r\n", "y".repeat(100_000)), "431"),
            (format!("{post}content-length: 9\r\n\r\n{{\"a\":1}}\n\n"), "400"),
            (format!("{post}content-length: 4\r\n\r\nnull"), "400"),
        ] {
            let answer = talk(&[&request]);
            let shown: String = request.chars().take(90).collect();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}: {answer}");
        }
        let hidden = "5\r\n{\"a\":\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let smuggled =
            talk(&[&format!("{post}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n{hidden}")]);
        assert!(!smuggled.contains("modbatt_bridge"), "{smuggled}");
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_say_which_request_they_are_of_and_refusals_come_in_both_forms() {
    let world = World::new().await;
    let get = |path: &str| world.http.get(format!("{}{path}", world.address));
    let named = get("/api/v1/nothing").header("x-request-id", "abc-1").send().await.unwrap();
    assert_eq!(named.headers()["x-request-id"], "abc-1");
    let drawn = get("/health").header("x-request-id", "no good").send().await.unwrap();
    assert_eq!(drawn.headers()["x-request-id"].len(), 16);
    let problem =
        get("/api/v1/nothing").header("accept", "text/html, application/problem+json").send().await.unwrap();
    assert_eq!(problem.headers()["content-type"], "application/problem+json");
    let body: serde_json::Value = problem.json().await.unwrap();
    assert_eq!(
        (&body["status"], &body["title"], &body["code"]),
        (&404.into(), &body["error"], &"W4_ERR_PROTO_ROUTE".into())
    );
    let ready: api::health::Ready = get("/ready").send().await.unwrap().json().await.unwrap();
    let states = ready.checks.iter().map(|check| (check.name.as_str(), check.ok, check.state.as_deref()));
    let expected = [("ledger", true, None), ("bus", true, Some("not configured")), ("disk", true, None)];
    assert!(ready.ready && states.eq(expected), "{ready:?}");
    let figures = get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(figures.contains("modbatt_bridge_answers_total{class=\"read\",status=\"404\"} 2"), "{figures}");
}
