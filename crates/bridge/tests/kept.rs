//! Answers of the ledger that are kept until the next block, and who gets them (A165).

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    common::{Answer, World},
    front::{now_ms, served},
};
use api::{
    account::Account,
    session::{Asked, PROOF_HEADER, Proof},
};
use bridge::{
    Front,
    access::{
        Role,
        users::{User, UserFile},
    },
};
use lct::{id::Role as Part, sign::SigningKey};

/// A token with its key.
struct Means {
    token: String,
    key: SigningKey,
}

/// A bridge with users, on the chain of a world.
struct Asking {
    host: String,
    nonce: AtomicU64,
}

impl Asking {
    async fn ask(&self, world: &World, who: Option<&Means>, path: &str, tag: Option<&str>) -> Answer {
        let mut request = world.http.get(format!("http://{}{path}", self.host));
        if let Some(Means { token, key }) = who {
            let asked = Asked { method: "GET", authority: &self.host, path, token };
            let mut nonce = [0; 16];
            nonce[..8].copy_from_slice(&self.nonce.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            let time_ms = now_ms();
            let signature = key.sign_rfc6979(&Proof::digest(&asked, time_ms, &nonce));
            let proof = Proof { time_ms, nonce, signature }.to_string();
            request = request.bearer_auth(token).header(PROOF_HEADER, proof);
        }
        if let Some(tag) = tag {
            request = request.header("if-none-match", tag);
        }
        world.send(request).await
    }

    /// How many answers were given again so far.
    async fn recalled(&self, world: &World, who: &Means) -> u64 {
        let text = String::from_utf8(self.ask(world, Some(who), "/metrics", None).await.body).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("modbatt_bridge_recalled_total "));
        line.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
    }
}

/// What one user was answered is given to nobody who may not ask for it himself, and to nobody after the next block.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_given_again_to_whoever_may_ask_and_until_the_next_block() {
    let mut world = World::new().await;
    for id in ["pack-0001", "pack-0002"] {
        world.register(&world.factory.device(id, Part::Pack)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let (users, mut file) = (dir.path().join("users.json"), UserFile::default());
    let mut user = |name: &str, seed: u8, role: Role, components: Option<Vec<String>>| {
        let key = SigningKey::from_bytes(&[seed; 32]).unwrap();
        let mut user = User::new(name, role, components).unwrap();
        let token = user.give_token(&key.public(), u64::MAX, None).unwrap().to_string();
        file.add(user).unwrap();
        Means { token, key }
    };
    let ann = user("ann", 7, Role::Administrator, None);
    let bob = user("bob", 8, Role::Viewer, Some(vec!["pack-0001".into()]));
    file.write(&users).unwrap();
    let front = Front { users: Some(users), ..Front::default() };
    let (port, stop) = served(&world, dir.path(), &front).await;
    let bridge = Asking { host: format!("localhost:{port}"), nonce: AtomicU64::new(0) };
    // Whatever is asked from here on is asked of one block.
    world.stand_still().await;

    let (his, other) = ("/api/v1/components/pack-0001", "/api/v1/components/pack-0002");
    let first = bridge.ask(&world, Some(&ann), other, None).await;
    assert_eq!((first.status, bridge.recalled(&world, &ann).await), (200, 0));
    let again = bridge.ask(&world, Some(&ann), other, None).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    let tag = first.header("etag").unwrap();
    assert_eq!(
        (again.header("etag"), again.header("content-type")),
        (Some(tag), first.header("content-type"))
    );
    assert_eq!(bridge.recalled(&world, &ann).await, 1);

    // Who may not ask gets a refusal, also where he knows the tag.
    for tag in [None, Some(tag)] {
        let scoped = bridge.ask(&world, Some(&bob), other, tag).await;
        assert_eq!((scoped.status, scoped.problem().code.as_str()), (403, "W4_ERR_ACCESS_SCOPE"));
        let stranger = bridge.ask(&world, None, other, tag).await;
        assert_eq!((stranger.status, stranger.problem().code.as_str()), (401, "W4_ERR_ACCESS_REQUIRED"));
    }
    assert_eq!(bridge.recalled(&world, &ann).await, 1, "none of them came so far");
    let own = bridge.ask(&world, Some(&bob), his, None).await;
    assert_eq!(own.status, 200);
    let same = bridge.ask(&world, Some(&ann), his, None).await;
    assert_eq!((same.status, same.body), (200, own.body));
    let unchanged = bridge.ask(&world, Some(&ann), other, Some(tag)).await;
    assert_eq!((unchanged.status, unchanged.body.len(), unchanged.header("etag")), (304, 0, Some(tag)));
    assert_eq!(bridge.recalled(&world, &ann).await, 3);

    // What waits for a block counts in the next nonce.
    let account = format!("/api/v1/accounts/{}", world.operator.public());
    let next = async |world: &World| {
        let answer = bridge.ask(world, Some(&ann), &account, None).await;
        (answer.json::<Account>().next_nonce, bridge.recalled(world, &ann).await)
    };
    let (nonce, _) = next(&world).await;
    assert_eq!(next(&world).await, (nonce, 4));
    let third = world.factory.device("pack-0003", Part::Pack);
    let tx = world.tx(third.register_body(&third.registration(world.chain.chain_id()))).await;
    let id = world.chain.submit(tx.bytes).unwrap();
    for _ in 0..2 {
        assert_eq!(next(&world).await, (nonce + 1, 4), "it waits");
    }

    // After the next block nothing that was kept is given.
    let list = "/api/v1/components";
    let before = bridge.ask(&world, Some(&ann), list, None).await;
    assert_eq!(before.status, 200);
    world.go_on();
    world.chain.wait(&id).await.unwrap();
    let after = bridge.ask(&world, Some(&ann), list, before.header("etag")).await;
    assert_eq!(after.status, 200, "it has changed");
    assert!(String::from_utf8(after.body).unwrap().contains("pack-0003"));
    assert_eq!(bridge.recalled(&world, &ann).await, 4);
    drop(stop);
}
