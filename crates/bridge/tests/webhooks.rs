//! Web hooks: who may set one up, what a receiver gets, and what becomes of one that fails, hangs or was away (A187 to A190).

use crate::common;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use api::{
    Fixed, Hex,
    event::{Event, Query},
    webhook::{Action, Letters, Order, Webhook},
};
use axum::{
    Router,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use common::{World, rng};
use hmac::{Hmac, KeyInit, Mac};
use lct::{id::Role, sign::SigningKey};
use tokio::{net::TcpListener, task::JoinHandle};

/// How a receiver answers.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Takes,
    Fails,
    /// Once, then it takes.
    FailsOnce,
    Hangs,
    SendsElsewhere,
}

struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    mood: Arc<Mutex<Mood>>,
    server: JoinHandle<()>,
}

impl Receiver {
    async fn at(address: &str) -> Receiver {
        let (got, mood) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Mood::Takes)));
        let (kept, now) = (got.clone(), mood.clone());
        let answer = move |headers: HeaderMap, body: String| async move {
            let mood = {
                let mut mood = now.lock().unwrap();
                let next = if *mood == Mood::FailsOnce { Mood::Takes } else { *mood };
                std::mem::replace(&mut *mood, next)
            };
            kept.lock().unwrap().push((headers, body));
            match mood {
                // A connection that stays open would outlive its server.
                Mood::Takes => (StatusCode::NO_CONTENT, [(header::CONNECTION, "close")]).into_response(),
                Mood::Fails | Mood::FailsOnce => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                Mood::SendsElsewhere => {
                    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/")]).into_response()
                }
                Mood::Hangs => std::future::pending::<Response>().await,
            }
        };
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = Router::new().fallback(any(answer));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Receiver { url, got, mood, server }
    }

    fn becomes(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn ids(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        got.iter().map(|(headers, _)| headers["x-event-id"].to_str().unwrap().into()).collect()
    }

    /// Waits until so many requests came.
    async fn came(&self, count: usize) -> Vec<(HeaderMap, String)> {
        for _ in 0..1000 {
            let got = self.got.lock().unwrap().clone();
            if got.len() >= count {
                return got;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} requests expected, {:?} came", self.ids());
    }
}

pub fn order(world: &World, key: &SigningKey, id: u8, action: Action, url: &str, after: &str) -> Order {
    let mut order = Order {
        creator: "test".into(),
        id: Hex([id; 16]),
        action,
        url: url.into(),
        types: String::new(),
        component: String::new(),
        after: after.into(),
        expires_at: u64::from(world.now_s()) + 300,
        key: Hex(key.public().0),
        signature: Fixed([0; 64]),
    };
    sign(world, key, &mut order);
    order
}

fn sign(world: &World, key: &SigningKey, order: &mut Order) {
    order.signature = Fixed(key.sign(&order.digest(&world.chain.chain_id()), &mut rng()).0);
}

async fn add(world: &World, id: u8, url: &str, after: &str) -> Webhook {
    world.post("/webhooks", &order(world, &world.operator, id, Action::Add, url, after)).await.json()
}

async fn standing(world: &World, id: u8, settled: impl Fn(&Letters) -> bool) -> Letters {
    for _ in 0..1000 {
        let letters: Letters = world.get(&format!("/webhooks/{}", Hex([id; 16]))).await.json();
        if settled(&letters) {
            return letters;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came to that");
}

async fn events(world: &World) -> Vec<Event> {
    world.client.events(&Query::default()).await.unwrap().events
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_signed_in_order_and_under_the_ids_of_the_feed() {
    let world = World::new().await;
    let receiver = Receiver::at("127.0.0.1:0").await;
    world.commissioned().await;
    let added = add(&world, 1, &receiver.url, "start").await;
    let secret = added.secret.unwrap();
    let told = events(&world).await;
    let got = receiver.came(told.len()).await;
    for ((headers, body), event) in got.iter().zip(&told) {
        assert_eq!(&serde_json::from_str::<Event>(body).unwrap(), event);
        assert_eq!(headers["x-event-id"], event.id.to_string());
        assert_eq!(headers["x-event-type"], event.event_type);
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&secret.0).unwrap();
        mac.update(format!("{}.{body}", headers["x-event-timestamp"].to_str().unwrap()).as_bytes());
        assert_eq!(headers["x-event-signature"], hex::encode(mac.finalize().into_bytes()));
    }
    // What happens later comes as well, nothing comes twice, and the secret is shown once.
    let module = world.factory.device("module-0001", Role::Module);
    world.register(&module).await;
    receiver.came(told.len() + 1).await;
    let letters = standing(&world, 1, |l| l.webhook.delivered == told.len() as u64 + 1).await;
    assert_eq!((letters.webhook.dead, letters.webhook.secret), (0, None));
    let again: Webhook = add(&world, 1, &receiver.url, "start").await;
    assert_eq!(again.secret, None);
    assert_eq!(receiver.ids().len(), told.len() + 1);
    let shown = world
        .answers
        .lock()
        .unwrap()
        .iter()
        .filter(|a| String::from_utf8_lossy(&a.body).contains(&secret.to_string()))
        .count();
    assert_eq!(shown, 1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(world.dir.path().join("webhooks.redb")).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "nobody else reads the secrets");
    }
    let removed = order(&world, &world.operator, 1, Action::Remove, "", "");
    world.post("/webhooks", &removed).await.json::<Webhook>();
    assert_eq!(
        world.get(&format!("/webhooks/{}", Hex([1; 16]))).await.problem().code,
        "W4_ERR_WEBHOOK_NOT_FOUND"
    );
    // The order that added it is still signed well, and does not bring it back.
    let revived = order(&world, &world.operator, 1, Action::Add, &receiver.url, "start");
    assert_eq!(world.post("/webhooks", &revived).await.problem().code, "W4_ERR_PROTO_REPLAY");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_hangs_or_sends_elsewhere_gets_it_later_or_as_a_replay() {
    let world = World::new().await;
    let receiver = Receiver::at("127.0.0.1:0").await;
    add(&world, 1, &receiver.url, "now").await;
    let mut registered = 0;
    let mut next = async || {
        registered += 1;
        world.register(&world.factory.device(&format!("module-{registered:04}"), Role::Module)).await;
        events(&world).await.pop().unwrap().id.to_string()
    };
    // One failure, then it recovers.
    receiver.becomes(Mood::FailsOnce);
    let first = next().await;
    standing(&world, 1, |l| l.webhook.delivered == 1).await;
    assert!(
        receiver.ids().iter().all(|id| *id == first) && receiver.ids().len() >= 2,
        "{:?}",
        receiver.ids()
    );

    // Given up after the last try, with the reason, and what follows is delivered.
    let mut lost = BTreeMap::new();
    for (mood, reason) in [
        (Mood::Fails, "status 500"),
        (Mood::Hangs, "no answer in time"),
        (Mood::SendsElsewhere, "status 307"),
    ] {
        let before = receiver.ids().len();
        receiver.becomes(mood);
        lost.insert(next().await, reason);
        let dead = lost.len() as u64;
        standing(&world, 1, |l| l.webhook.dead == dead).await;
        assert_eq!(receiver.ids().len() - before, 4, "each try is one request, and no redirect is followed");
    }
    receiver.becomes(Mood::Takes);
    let last = next().await;
    let letters = standing(&world, 1, |l| l.webhook.delivered == 2).await;
    assert_eq!(receiver.ids().last(), Some(&last));
    let dead: BTreeMap<_, _> =
        letters.dead_letters.iter().map(|l| (l.event.to_string(), l.error.as_str())).collect();
    assert_eq!(dead.iter().map(|(id, why)| (id.clone(), *why)).collect::<BTreeMap<_, _>>(), lost);
    assert!(letters.dead_letters.iter().all(|l| l.tries == 4));

    // Replayed from behind the first.
    let before = receiver.ids().len();
    let replay = order(&world, &world.operator, 1, Action::Replay, "", &first);
    world.post("/webhooks", &replay).await.json::<Webhook>();
    receiver.came(before + 4).await;
    let mut expected: Vec<String> = events(&world).await.iter().map(|e| e.id.to_string()).collect();
    expected.remove(0);
    assert_eq!(receiver.ids()[before..], expected);
    let letters = standing(&world, 1, |l| l.webhook.delivered == 6).await;
    assert_eq!((letters.webhook.dead, letters.dead_letters.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_acknowledged_comes_again_after_a_kill_and_a_receiver_may_be_away() {
    let mut world = World::new().await;
    let receiver = Receiver::at("127.0.0.1:0").await;
    add(&world, 1, &receiver.url, "now").await;
    receiver.becomes(Mood::Hangs);
    world.register(&world.factory.device("module-0001", Role::Module)).await;
    // The receiver has it, and the bridge ends before it hears that.
    let first = receiver.came(1).await[0].0["x-event-id"].clone();
    world.stop().await;
    receiver.becomes(Mood::Takes);
    world.resume().await;
    let again = receiver.came(2).await;
    assert_eq!(again[1].0["x-event-id"], first, "at least once, under the same id");
    standing(&world, 1, |l| l.webhook.delivered == 1).await;

    // The receiver's machine is restarted.
    let address = receiver.url.trim_start_matches("http://").trim_end_matches("/hook").to_owned();
    receiver.server.abort();
    let _aborted = receiver.server.await;
    world.register(&world.factory.device("module-0002", Role::Module)).await;
    // Given up: what is tried still would come to it before what it asks for.
    standing(&world, 1, |l| l.webhook.dead == 1).await;
    let back = Receiver::at(&address).await;
    // Who was away too long asks for what it missed.
    let replay = order(&world, &world.operator, 1, Action::Replay, "", "start");
    world.post("/webhooks", &replay).await.json::<Webhook>();
    let got = back.came(2).await;
    assert_eq!(got[0].0["x-event-id"], first);
    let told: Vec<_> = events(&world).await.iter().map(|e| e.id.to_string()).collect();
    assert_eq!(back.ids(), told);
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_are_refused() {
    let world = World::new().await;
    let stranger = SigningKey::generate(&mut rng());
    let url = "https://receiver.example/hook";
    let good = || order(&world, &world.operator, 1, Action::Add, url, "");
    let with = |change: &dyn Fn(&mut Order)| {
        let mut order = good();
        change(&mut order);
        sign(&world, &world.operator, &mut order);
        order
    };
    let unsigned = Order { url: "https://elsewhere.example".into(), ..good() };
    let now = u64::from(world.now_s());
    let table = [
        ("a stranger", order(&world, &stranger, 1, Action::Add, url, ""), 403, "W4_ERR_WEBHOOK_DENIED"),
        ("another address than signed", unsigned, 401, "W4_ERR_WEBHOOK_PROOF_FAIL"),
        ("over", with(&|o| o.expires_at = now - 10), 400, "W4_ERR_PROTO_FORMAT"),
        ("too long", with(&|o| o.expires_at = now + 10_000), 400, "W4_ERR_PROTO_FORMAT"),
        (
            "in clear over the network",
            with(&|o| o.url = "http://receiver.example".into()),
            400,
            "W4_ERR_PROTO_FORMAT",
        ),
        (
            "a cloud's metadata",
            with(&|o| o.url = "https://169.254.169.254/latest".into()),
            400,
            "W4_ERR_PROTO_FORMAT",
        ),
        ("a private network", with(&|o| o.url = "https://10.0.0.1/".into()), 400, "W4_ERR_PROTO_FORMAT"),
        ("another scheme", with(&|o| o.url = "file:///etc/passwd".into()), 400, "W4_ERR_PROTO_FORMAT"),
        (
            "with a password",
            with(&|o| o.url = "https://a:b@receiver.example".into()),
            400,
            "W4_ERR_PROTO_FORMAT",
        ),
        ("no address", with(&|o| o.url = "receiver".into()), 400, "W4_ERR_PROTO_FORMAT"),
        ("a type that is none", with(&|o| o.types = "everything".into()), 400, "W4_ERR_PROTO_FORMAT"),
        ("a zero byte", with(&|o| o.types = "lct_created\0".into()), 400, "W4_ERR_PROTO_FORMAT"),
        ("no cursor", with(&|o| o.after = "later".into()), 400, "W4_ERR_PROTO_FORMAT"),
        (
            "a component that is none",
            with(&|o| o.component = "pack-0404".into()),
            404,
            "W4_ERR_COMPONENT_NOT_FOUND",
        ),
        ("an address for a replay", with(&|o| o.action = Action::Replay), 400, "W4_ERR_PROTO_FORMAT"),
        (
            "replay of none",
            order(&world, &world.operator, 9, Action::Replay, "", ""),
            404,
            "W4_ERR_WEBHOOK_NOT_FOUND",
        ),
    ];
    for (what, order, status, code) in table {
        let problem = world.post("/webhooks", &order).await.problem();
        assert_eq!((problem.status, problem.code.as_str()), (status, code), "{what}: {problem:?}");
    }
    world.post("/webhooks", &good()).await.json::<Webhook>();
    let other = with(&|o| o.url = "https://other.example".into());
    assert_eq!(world.post("/webhooks", &other).await.problem().code, "W4_ERR_PROTO_REPLAY");
}
