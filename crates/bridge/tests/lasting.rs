//! What lasts: requests whose askers go away or whose bridge ends (A126, A138), streams whose readers may not ask any more
//! (A128), users who come while a bridge runs (A127).

use std::time::Duration;

use crate::{
    common::{Answer, World},
    front::{now_ms, served},
};
use api::{
    client::Credential,
    session::{Asked, PROOF_HEADER, Proof},
};
use bridge::{
    Front,
    access::{
        Role,
        users::{User, UserFile, UsersError},
    },
    compat::{Allow, Profile},
};
use futures_util::StreamExt;
use lct::{id, sign::SigningKey};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::{
    Message, client::IntoClientRequest, protocol::frame::coding::CloseCode,
};

const QUEUE: &str = "/api/v1/queue/pairing-request";

/// Asks the bridge to queue a pairing of the two, which it signs itself: twice is two.
fn wish(world: &World, a: &str, b: &str, key: Option<&str>) -> reqwest::RequestBuilder {
    let body = json!({ "component_a": a, "component_b": b, "operational_context": "x" });
    let request = world.http.post(format!("{}{QUEUE}", world.address)).json(&body);
    match key {
        Some(key) => request.header("idempotency-key", key),
        None => request,
    }
}

fn asked(request: reqwest::RequestBuilder) -> JoinHandle<reqwest::Result<reqwest::Response>> {
    tokio::spawn(request.send())
}

/// Waits until so many requests run, that for the figures included.
async fn running(world: &World, count: usize) {
    let line = format!("modbatt_bridge_running {count}\n");
    loop {
        let figures = world.http.get(format!("{}/metrics", world.address)).send().await.unwrap();
        if figures.text().await.unwrap().contains(&line) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn queued(world: &World, id: &str) -> Value {
    let path = format!("{}/api/v1/queue/requests/{id}", world.address);
    world.http.get(path).send().await.unwrap().json::<Value>().await.unwrap()["count"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_happens_once_without_its_asker_and_before_the_end() {
    let allow = Allow { clear_key_halves: true, ..Allow::default() };
    let mut world = World::old(Profile::Legacy, allow).await;
    for (id, role) in
        [("pack-0001", id::Role::Pack), ("module-0001", id::Role::Module), ("module-0002", id::Role::Module)]
    {
        let device = world.factory.device(id, role);
        world.register(&device).await;
    }
    world.stand_still().await;
    let first = asked(wish(&world, "pack-0001", "module-0001", Some("k")));
    running(&world, 2).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    running(&world, 1).await;
    let again = world.send(wish(&world, "pack-0001", "module-0001", Some("k"))).await;
    assert_eq!((again.status, again.problem().code.as_str()), (409, "W4_ERR_PROTO_REPLAY"), "it goes on");
    world.go_on();
    let answer: Answer = loop {
        let answer = world.send(wish(&world, "pack-0001", "module-0001", Some("k"))).await;
        if answer.status != 409 {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let kept: Value = answer.json();
    assert!(kept["request_id"].is_string(), "{kept}");
    assert_eq!(queued(&world, "pack-0001").await, 1, "once");

    // One that is waited for, and one that is not, while the bridge ends.
    world.stand_still().await;
    let heard = asked(wish(&world, "module-0002", "pack-0001", None));
    let unheard = asked(wish(&world, "module-0002", "module-0001", None));
    running(&world, 3).await;
    unheard.abort();
    assert!(unheard.await.unwrap_err().is_cancelled());
    running(&world, 2).await;
    let ended = world.end();
    tokio::time::sleep(Duration::from_millis(5_500)).await;
    assert!(!heard.is_finished() && !ended.is_finished(), "it waits for what it took");
    world.go_on();
    assert_eq!(heard.await.unwrap().unwrap().status(), 200);
    ended.await.unwrap();
    world.stop().await;
    world.resume().await;
    assert_eq!(queued(&world, "module-0002").await, 2, "both are on the ledger");
}

/// Who got no answer in time asks again and learns what became of it, also over a restart; nothing is sent twice.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_is_looked_up_and_not_kept() {
    let mut world = World::old(Profile::Legacy, Allow::default()).await;
    for (id, role) in
        [("pack-0001", id::Role::Pack), ("module-0001", id::Role::Module), ("module-0002", id::Role::Module)]
    {
        let device = world.factory.device(id, role);
        world.register(&device).await;
    }
    let first = world.send(wish(&world, "pack-0001", "module-0001", None)).await;
    assert_eq!(first.status, 200, "its creator has an account");
    world.front.patience.block = Duration::from_millis(300);
    world.restart().await;
    let asked = |world: &World, key: &str| {
        wish(world, "pack-0001", "module-0002", Some(key)).header("accept", "application/problem+json")
    };
    let answered = async |world: &World, key: &str| loop {
        let answer = world.send(asked(world, key)).await;
        if answer.status != 504 {
            break answer.json::<Value>();
        }
    };

    world.stand_still().await;
    let late = world.send(asked(&world, "k")).await;
    assert_eq!(late.problem().status, 504);
    let again = world.send(asked(&world, "k")).await;
    assert_eq!((again.problem().detail, again.status), (late.problem().detail, 504), "the same one waits");
    assert_eq!(again.header("content-type"), Some("application/problem+json"), "it is refused as any other");
    world.go_on();
    let done = answered(&world, "k").await;
    assert!(done["request_id"].is_string(), "{done}");
    assert_eq!(queued(&world, "pack-0001").await, 2, "once");
    assert_eq!(world.send(asked(&world, "k")).await.json::<Value>(), done);

    // What was lost with its bridge is sent anew.
    world.stand_still().await;
    assert_eq!(world.send(asked(&world, "l")).await.status, 504);
    world.restart().await;
    let done = answered(&world, "l").await;
    assert!(done["request_id"].is_string(), "{done}");
    assert_eq!(queued(&world, "pack-0001").await, 3, "once more");
}

/// A token of a user, and what it takes to use it.
struct Program {
    token: String,
    key: SigningKey,
    host: String,
}

impl Program {
    fn proof(&self, path: &str, nonce: u8) -> String {
        let asked = Asked { method: "GET", authority: &self.host, path, token: &self.token };
        let time_ms = now_ms();
        let signature = self.key.sign_rfc6979(&Proof::digest(&asked, time_ms, &[nonce; 16]));
        Proof { time_ms, nonce: [nonce; 16], signature }.to_string()
    }

    /// Opens both kinds of stream and returns what resolves when each has ended, with the code of the socket.
    async fn follow(&self, nonce: u8) -> [JoinHandle<Option<CloseCode>>; 2] {
        let (sse, ws) = ("/api/v1/events/stream", "/ws");
        let request =
            reqwest::Client::builder().no_proxy().build().unwrap().get(format!("http://{}{sse}", self.host));
        let request = request.bearer_auth(&self.token).header(PROOF_HEADER, self.proof(sse, nonce));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut body = Box::pin(answer.bytes_stream());
        let first = tokio::spawn(async move {
            while let Some(Ok(_)) = body.next().await {}
            None
        });
        let mut request = format!("ws://{}{ws}", self.host).into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        headers.insert(PROOF_HEADER, self.proof(ws, nonce + 100).parse().unwrap());
        let stream = tokio::net::TcpStream::connect(&self.host).await.unwrap();
        let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        let second = tokio::spawn(async move {
            while let Some(Ok(message)) = socket.next().await {
                if let Message::Close(frame) = message {
                    return frame.map(|frame| frame.code);
                }
            }
            None
        });
        [first, second]
    }
}

fn user(name: &str, key: &SigningKey, expires_at: u64) -> (User, String) {
    let mut user = User::new(name, Role::Viewer, None).unwrap();
    let token = user.give_token(&key.public(), expires_at, None).unwrap();
    (user, token.to_string())
}

async fn status(url: &str) -> reqwest::StatusCode {
    reqwest::Client::builder().no_proxy().build().unwrap().get(url).send().await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_right_of_its_reader() {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.json");
    let front = Front { users: Some(path.clone()), ..Front::default() };
    let (port, stop) = served(&world, dir.path(), &front).await;
    let host = format!("localhost:{port}");

    // Without users whoever opens a connection is the operator, until there are some.
    let url = format!("http://{host}/api/v1/ledger/status");
    assert_eq!(status(&url).await, 200);
    let answer = reqwest::get(format!("http://{host}/api/v1/events/stream")).await.unwrap();
    let mut body = Box::pin(answer.bytes_stream());
    let open = tokio::spawn(async move { while let Some(Ok(_)) = body.next().await {} });

    let mut file = UserFile::default();
    let mut programs = Vec::new();
    let soon = now_ms() / 1000 + 3;
    for (n, (name, expires_at)) in
        [("ann", u64::MAX), ("bob", u64::MAX), ("cleo", soon), ("dan", u64::MAX), ("eva", u64::MAX)]
            .into_iter()
            .enumerate()
    {
        let key = SigningKey::from_bytes(&[n as u8 + 1; 32]).unwrap();
        let (user, token) = user(name, &key, expires_at);
        file.add(user).unwrap();
        programs.push(Program { token, key, host: host.clone() });
    }
    file.write(&path).unwrap();
    assert_eq!(status(&url).await, 401, "at once");
    open.await.unwrap();

    let mut streams = Vec::new();
    for (n, program) in programs.iter().enumerate() {
        streams.push(program.follow(n as u8).await);
    }
    // Shut out, the token taken back, run out, another scope; and one who stays.
    file.set("ann", None, Some(true), now_ms() / 1000).unwrap();
    file.user("bob").unwrap().tokens.clear();
    file.user("dan").unwrap().components = Some(vec!["pack-0001".into()]);
    file.write(&path).unwrap();
    let stays = streams.pop().unwrap();
    for streams in streams {
        let [sse, ws] = streams;
        let ends =
            tokio::time::timeout(Duration::from_secs(20), async { (sse.await.unwrap(), ws.await.unwrap()) });
        assert_eq!(ends.await.unwrap().1, Some(CloseCode::Policy));
    }
    assert!(stays.iter().all(|stream| !stream.is_finished()));
    // Without its file nobody is let in.
    std::fs::remove_file(&path).unwrap();
    assert_eq!(status(&url).await, 401);
    for stream in stays {
        stream.await.unwrap();
    }
    drop(stop);
}

/// A passphrase that was given for once lets its user set one of his own, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_given_for_once_is_replaced_with_the_first_login() {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.json");
    let now_s = now_ms() / 1000;
    let mut file = UserFile::default();
    let mut once = |name: &str, until: u64| {
        let mut user = User::new(name, Role::Administrator, None).unwrap();
        let passphrase = user.give_passphrase_once(until).unwrap();
        file.add(user).unwrap();
        passphrase.to_string()
    };
    let (first, late) = (once("ann", now_s + 60), once("bob", now_s));
    file.write(&path).unwrap();
    let front = Front { users: Some(path.clone()), ..Front::default() };
    let (port, stop) = served(&world, dir.path(), &front).await;
    let client = api::Client::new(&format!("http://127.0.0.1:{port}")).unwrap();
    let key = api::Hex(SigningKey::from_bytes(&[8; 32]).unwrap().public().0);
    let log_in = async |user: &str, passphrase: &str, wanted: Option<&str>| {
        let (user, passphrase, new_passphrase) = (user.into(), passphrase.into(), wanted.map(Into::into));
        let login = api::session::Login { user, passphrase, key, new_passphrase };
        client.log_in(&login).await.map(drop).map_err(|e| e.code().unwrap_or("-").to_owned())
    };
    let refused = |code: &str| Err(format!("W4_ERR_{code}"));
    let own = "a passphrase of my own";
    assert_eq!(log_in("ann", &first, None).await, refused("ACCESS_PASSPHRASE"));
    assert_eq!(log_in("ann", &first, Some("short")).await, refused("PROTO_FORMAT"));
    assert_eq!(log_in("ann", &first, Some(&first)).await, refused("PROTO_FORMAT"));
    assert_eq!(log_in("ann", "wrong", Some(own)).await, refused("ACCESS_REQUIRED"));
    assert_eq!(log_in("bob", &late, Some(own)).await, refused("ACCESS_REQUIRED"), "it ran out");
    assert_eq!(log_in("ann", &first, Some(own)).await, Ok(()));
    assert_eq!(log_in("ann", &first, None).await, refused("ACCESS_REQUIRED"), "it opens no more");
    assert_eq!(log_in("ann", own, None).await, Ok(()));
    assert!(UserFile::read(&path).unwrap().users[0].once_until().is_none());
    drop(stop);
}

/// Whoever took a session has it no longer than its user has the passphrase that opened it, and is not let in again with him.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_passphrase_and_with_being_shut_out() {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.json");
    let (first, second, third) = ("the first passphrase", "the second passphrase", "the third passphrase");
    let mut ann = User::new("ann", Role::Viewer, None).unwrap();
    ann.set_passphrase(first).unwrap();
    let mut file = UserFile::default();
    file.add(ann).unwrap();
    file.write(&path).unwrap();
    let front = Front { users: Some(path.clone()), ..Front::default() };
    let (port, stop) = served(&world, dir.path(), &front).await;
    let client = api::Client::new(&format!("http://127.0.0.1:{port}")).unwrap();
    let key = SigningKey::from_bytes(&[8; 32]).unwrap();
    let log_in = async |passphrase: &str, wanted: Option<&str>| {
        let (passphrase, new_passphrase) = (passphrase.into(), wanted.map(Into::into));
        let public = api::Hex(key.public().0);
        let login = api::session::Login { user: "ann".into(), passphrase, key: public, new_passphrase };
        let session = client.log_in(&login).await.unwrap();
        client.as_user(Credential { token: session.token, key: key.clone() })
    };
    let ended = async |session: &api::Client| {
        let refused = session.ledger_status().await.unwrap_err();
        assert_eq!(refused.code(), Some("W4_ERR_ACCESS_REQUIRED"), "{refused}");
    };

    // By whoever keeps the users.
    let session = log_in(first, None).await;
    session.ledger_status().await.unwrap();
    UserFile::change::<(), UsersError>(&path, |file| file.user("ann")?.set_passphrase(second)).unwrap();
    ended(&session).await;
    let session = log_in(second, None).await;
    session.ledger_status().await.unwrap();
    for disabled in [true, false] {
        let set = |file: &mut UserFile| file.set("ann", None, Some(disabled), now_ms() / 1000);
        UserFile::change::<(), UsersError>(&path, set).unwrap();
    }
    ended(&session).await;
    // By the user: the session that this login opens is the only one left.
    let session = log_in(second, None).await;
    session.ledger_status().await.unwrap();
    let last = log_in(second, Some(third)).await;
    ended(&session).await;
    last.ledger_status().await.unwrap();
    // What is done to others, or to his role, ends nothing.
    UserFile::change::<(), UsersError>(&path, |file| {
        file.add(User::new("bob", Role::Viewer, None)?)?;
        file.set("ann", Some(Role::Operator), None, now_ms() / 1000)
    })
    .unwrap();
    last.ledger_status().await.unwrap();
    drop(stop);
}
