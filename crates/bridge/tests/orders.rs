//! Orders of operators: who may place them, what a restart leaves of them, and how they end.

use crate::common;

use api::{
    Fixed, Hex,
    order::{Order, Outcome, Place, State, Task, WAIT_MAX_S, order_digest, outcome_digest},
};
use common::{World, rng};
use lct::{id::Cid, sign::SigningKey};

const APP: &str = "app-0001";

/// An order as `key` signs it; expires a minute from the bridge's time.
pub async fn order(world: &World, key: &SigningKey, id: u8, task: Task, a: &str, b: &str) -> Place {
    let expires_at = world.client.time_token().await.unwrap().time + 60;
    sign(world, key, [id; 16], task, a, b, expires_at)
}

fn sign(
    world: &World,
    key: &SigningKey,
    id: [u8; 16],
    task: Task,
    a: &str,
    b: &str,
    expires_at: u64,
) -> Place {
    let level = (task == Task::Validate).then_some(7);
    let digest =
        order_digest(&world.chain.chain_id(), &id, expires_at, (task, level), &Cid::of(a), &Cid::of(b));
    Place {
        creator: "test".into(),
        id: Hex(id),
        task,
        level,
        a: a.into(),
        b: b.into(),
        expires_at,
        key: Hex(key.public().0),
        signature: Fixed(key.sign(&digest, &mut rng()).0),
    }
}

pub fn outcome(world: &World, key: &SigningKey, id: [u8; 16], state: State, said: &str) -> Outcome {
    let signature = key.sign(&outcome_digest(&world.chain.chain_id(), &id, state, said), &mut rng());
    Outcome { state, said: said.into(), key: Hex(key.public().0), signature: Fixed(signature.0) }
}

fn refused(answer: &common::Answer, status: u16, code: &str, name: &str) {
    let problem = answer.problem();
    assert_eq!((problem.status, problem.code.as_str()), (status, code), "{name}: {problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_waits_over_restarts_until_somebody_says_what_became_of_it() {
    let mut world = World::new().await;
    let (app, pack, _) = world.commissioned().await;
    let place = order(&world, &world.operator, 1, Task::Pair, &app.id, &pack.id).await;
    let placed: Order = world.post("/orders", &place).await.json();
    assert_eq!(
        (placed.state, placed.task, placed.expires_at),
        (State::Waiting, Task::Pair, place.expires_at)
    );
    assert_eq!(world.post("/orders", &place).await.json::<Order>(), placed, "the same again");
    world.restart().await;
    assert_eq!(world.client.orders().await.unwrap().orders, vec![placed.clone()]);

    let told = outcome(&world, &world.operator, [1; 16], State::Failed, "the pack does not answer");
    let ended: Order = world.post(&format!("/orders/{}/outcome", placed.id), &told).await.json();
    assert_eq!((ended.state, ended.said.as_str()), (State::Failed, "the pack does not answer"));
    let again: Order = world.post(&format!("/orders/{}/outcome", placed.id), &told).await.json();
    assert_eq!(again, ended, "an outcome told twice is one outcome");
    let other = outcome(&world, &world.operator, [1; 16], State::Done, "");
    let other = world.post(&format!("/orders/{}/outcome", placed.id), &other).await;
    refused(&other, 409, "W4_ERR_PROTO_REPLAY", "another outcome");
    world.restart().await;
    assert!(world.client.orders().await.unwrap().orders.is_empty());
    assert_eq!(world.client.order(&placed.id).await.unwrap(), ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_does_in_time_expires() {
    let world = World::new().await;
    let (app, pack, _) = world.commissioned().await;
    let place = order(&world, &world.operator, 1, Task::Pair, &app.id, &pack.id).await;
    world.post("/orders", &place).await.json::<Order>();
    let twice = order(&world, &world.operator, 2, Task::Pair, &app.id, &pack.id).await;
    refused(&world.post("/orders", &twice).await, 409, "W4_ERR_ORDER_WAITING", "the same waits");
    world.advance(61_000);
    assert!(world.client.orders().await.unwrap().orders.is_empty());
    assert_eq!(world.client.order(&place.id).await.unwrap().state, State::Expired);
    let twice = order(&world, &world.operator, 2, Task::Pair, &app.id, &pack.id).await;
    world.post("/orders", &twice).await.json::<Order>();
    // It was done after all, and its gateway hears of the expiry only afterwards.
    let told = outcome(&world, &world.operator, [1; 16], State::Done, "");
    let ended: Order = world.post(&format!("/orders/{}/outcome", place.id), &told).await.json();
    assert_eq!(ended.state, State::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_order_does_not() {
    let world = World::new().await;
    let (app, pack, _) = world.commissioned().await;
    let good = order(&world, &world.operator, 1, Task::Pair, &app.id, &pack.id).await;
    let stranger = SigningKey::generate(&mut rng());
    let now = world.client.time_token().await.unwrap().time;
    let change = |f: &dyn Fn(&mut Place)| {
        let mut place = good.clone();
        f(&mut place);
        place
    };
    let signed = |task, a: &str, b: &str, at| sign(&world, &world.operator, [1; 16], task, a, b, at);
    for (name, place, status, code) in [
        ("creator", change(&|p| p.creator.clear()), 400, "W4_ERR_PROTO_FORMAT"),
        ("no key", change(&|p| p.key = Hex([9; 33])), 400, "W4_ERR_PROTO_FORMAT"),
        (
            "stranger",
            sign(&world, &stranger, [1; 16], Task::Pair, &app.id, &pack.id, good.expires_at),
            403,
            "W4_ERR_ORDER_DENIED",
        ),
        ("other id", change(&|p| p.id = Hex([2; 16])), 401, "W4_ERR_ORDER_PROOF_FAIL"),
        ("later", change(&|p| p.expires_at += 1), 401, "W4_ERR_ORDER_PROOF_FAIL"),
        ("other side", change(&|p| p.b = "pack-0002".into()), 401, "W4_ERR_ORDER_PROOF_FAIL"),
        ("past", signed(Task::Pair, &app.id, &pack.id, now - 1), 400, "W4_ERR_PROTO_FORMAT"),
        ("far", signed(Task::Pair, &app.id, &pack.id, now + WAIT_MAX_S + 60), 400, "W4_ERR_PROTO_FORMAT"),
        ("order", signed(Task::Pair, &pack.id, &app.id, now + 60), 400, "W4_ERR_BINDING_INVALID"),
        ("unknown", signed(Task::Pair, &app.id, "pack-0002", now + 60), 404, "W4_ERR_COMPONENT_NOT_FOUND"),
    ] {
        refused(&world.post("/orders", &place).await, status, code, name);
    }
    let unbound = world.factory.device("pack-0009", lct::id::Role::Pack);
    world.register(&unbound).await;
    let place = signed(Task::Pair, &app.id, "pack-0009", now + 60);
    refused(&world.post("/orders", &place).await, 403, "W4_ERR_PAIRING_DENIED", "not bound");
    for task in [Task::Unpair, Task::Rotate] {
        let place = signed(task, &app.id, &pack.id, now + 60);
        refused(&world.post("/orders", &place).await, 404, "W4_ERR_PAIRING_NOT_FOUND", task.name());
    }
    assert!(!world.orders().exists(), "a refusal writes nothing");

    world.post("/orders", &good).await.json::<Order>();
    let changed = signed(Task::Pair, &app.id, &pack.id, good.expires_at + 1);
    refused(&world.post("/orders", &changed).await, 409, "W4_ERR_PROTO_REPLAY", "same id, other order");
    let path = format!("/orders/{}/outcome", good.id);
    for (name, told, status, code) in [
        ("state", outcome(&world, &world.operator, [1; 16], State::Waiting, ""), 400, "W4_ERR_PROTO_FORMAT"),
        (
            "long",
            outcome(&world, &world.operator, [1; 16], State::Done, &"x".repeat(401)),
            400,
            "W4_ERR_PROTO_FORMAT",
        ),
        (
            "control",
            outcome(&world, &world.operator, [1; 16], State::Done, "\u{1b}["),
            400,
            "W4_ERR_PROTO_FORMAT",
        ),
        ("stranger", outcome(&world, &stranger, [1; 16], State::Done, ""), 403, "W4_ERR_ORDER_DENIED"),
        (
            "other id",
            outcome(&world, &world.operator, [2; 16], State::Done, ""),
            401,
            "W4_ERR_ORDER_PROOF_FAIL",
        ),
    ] {
        refused(&world.post(&path, &told).await, status, code, name);
    }
    let unknown = outcome(&world, &world.operator, [7; 16], State::Done, "");
    let unknown = world.post(&format!("/orders/{}/outcome", Hex([7u8; 16])), &unknown).await;
    refused(&unknown, 404, "W4_ERR_ORDER_NOT_FOUND", "unknown");
    assert_eq!(world.client.order(&good.id).await.unwrap().state, State::Waiting, "nothing changed it");
    assert_eq!(app.id, APP);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_book_that_somebody_changed_stops_the_bridge() {
    let mut world = World::new().await;
    let (app, pack, _) = world.commissioned().await;
    let place = order(&world, &world.operator, 1, Task::Pair, &app.id, &pack.id).await;
    world.post("/orders", &place).await.json::<Order>();
    // What cannot be written is not taken.
    let told = outcome(&world, &world.operator, [1; 16], State::Done, "");
    let part = world.orders().with_extension("json.part");
    std::fs::create_dir(&part).unwrap();
    let untold = world.post(&format!("/orders/{}/outcome", place.id), &told).await;
    refused(&untold, 503, "W4_ERR_UNAVAILABLE", "full disk");
    assert_eq!(world.client.orders().await.unwrap().orders.len(), 1, "its gateway tells it again");
    std::fs::remove_dir(&part).unwrap();
    world.stop().await;
    let kept = std::fs::read_to_string(world.orders()).unwrap();
    for changed in [
        kept.replace("\"format\":1", "\"format\":2"),
        kept.replace("waiting", "wanting"),
        kept[..kept.len() - 1].to_owned(),
        kept.replace(&Hex(world.chain.chain_id()).to_string(), &Hex([7u8; 32]).to_string()),
    ] {
        assert_ne!(changed, kept);
        std::fs::write(world.orders(), changed).unwrap();
        let opened = bridge::Bridge::open(bridge::Config {
            chain: world.chain.clone(),
            clock: std::sync::Arc::new(|| common::START_MS),
            key: bridge::AuthorityKey::from_bytes(&world.authority_key).unwrap(),
            lineage: None,
            ceremonies: world.ceremonies(),
            revocations: world.revocations(),
            orders: world.orders(),
            webhooks: world.dir.path().join("second.redb"),
        });
        assert!(matches!(opened, Err(bridge::BridgeError::Orders(_))));
    }
}

/// A65: whatever becomes of the statement of a device, the ledger withdraws what an operator had ended, and no pairing
/// that was made since.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_had_ended_the_ledger_withdraws() {
    let mut world = World::new().await;
    let (app, pack, bonded) = world.commissioned().await;
    let pair = async |world: &World| {
        let opened = world.pair(&app, &pack, &bonded).await;
        let path = format!("/pairings/{}/complete", Hex(opened.pairing_id.0));
        world.post(&path, &world.completion(&opened, &bonded)).await.json::<api::pairing::Completed>();
        Hex(opened.pairing_id.0)
    };
    let ended = pair(&world).await;
    world.advance(2_000);
    let place = order(&world, &world.operator, 1, Task::Unpair, &app.id, &pack.id).await;
    world.post("/orders", &place).await.json::<Order>();
    world.advance(2_000);
    let since = pair(&world).await;
    let told = outcome(&world, &world.operator, [1; 16], State::Done, "");
    world.post(&format!("/orders/{}/outcome", place.id), &told).await.json::<Order>();
    assert_eq!(world.client.pairing(&ended).await.unwrap().status, "completed", "its device is given time");

    world.restart().await;
    for _ in 0..1_000 {
        if world.client.pairing(&ended).await.unwrap().is_revoked() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let status = async |id| world.client.pairing(id).await.unwrap().status;
    assert_eq!((status(&ended).await, status(&since).await), ("revoked".into(), "completed".into()));
    assert_eq!(world.chain.read().unwrap().totals().unwrap().refused, 0);
}
