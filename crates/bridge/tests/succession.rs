//! A bridge goes on under the key that follows (A98, A99): what waited goes on or is begun anew, nothing goes back, and the old key
//! signs nothing any more.

use crate::common::{self, World, fresh_spk};
use crate::policy;

use api::{
    Hex, binding,
    delegation::Delegated,
    pairing,
    policy::{Sign, Standings},
};
use bridge::{AuthorityKey, Bridge, BridgeError, Lineage};
use lct::{
    clock::TimeToken,
    delegation::Delegation,
    id::Role,
    policy::{Policy, Rotation},
    revocation::{Reason, RevocationList, Subject, hash_of},
    spk::Spk,
    succession::Succession,
};
use ledger::{
    records::{AccountRole, Status},
    reject::Rejection,
    tx::{Body, Change, Governance, Target},
};

fn key(world: &World) -> AuthorityKey {
    AuthorityKey::from_bytes(&world.authority_key).unwrap()
}

/// The ledger takes what `key` signs, by the word of the authority.
async fn give_account(world: &World, key: &AuthorityKey) {
    let own = self::key(world);
    loop {
        // The block that certifies the last one may come in between.
        let height = world.chain.tip().height + 3;
        let change = Change::Account { role: AccountRole::Authority, key: key.public().sign_pub() };
        let body = Body::Govern(Governance { change, height });
        let tx = world.tx_by(own.secret().unwrap().signing_key(), body).await;
        if world.client.submit(&tx.bytes, true).await.unwrap().code.is_none() {
            return;
        }
    }
}

/// Another key follows; the bridge is stopped, and not started yet.
async fn follow(world: &mut World) -> AuthorityKey {
    follow_for(world, Reason::Superseded).await
}

async fn follow_for(world: &mut World, reason: Reason) -> AuthorityKey {
    let (old, new) = (key(world), AuthorityKey::generate().unwrap());
    give_account(world, &new).await;
    let line = world.lineage.clone().unwrap_or_else(|| Lineage::of(old.public()));
    let succession = old.succession(&new, world.now_s() + line.successions().count() as u32).unwrap();
    world.stop().await;
    world.lineage = Some(line.with(&succession, reason).unwrap());
    world.authority_key = new.to_bytes().unwrap().to_vec();
    world.authority = new.public();
    old
}

/// Why a bridge with this key does not start.
fn refused(world: &World, key: AuthorityKey, lineage: Option<Lineage>) -> BridgeError {
    let config = bridge::Config {
        chain: world.chain.clone(),
        clock: std::sync::Arc::new(|| common::START_MS),
        key,
        lineage,
        ceremonies: world.ceremonies(),
        revocations: world.revocations(),
        orders: world.orders(),
        webhooks: world.dir.path().join("second.redb"),
    };
    Bridge::open(config).map(|_| ()).unwrap_err()
}

async fn withdrawn(world: &World, key: &Spk) -> bool {
    withdrawn_for(world, key, Reason::Superseded).await
}

async fn withdrawn_for(world: &World, key: &Spk, reason: Reason) -> bool {
    for _ in 0..500 {
        let read = world.chain.read().unwrap();
        let account = read.account(&key.sign_pub()).unwrap().unwrap();
        if account.status != Status::Active {
            let record = read.revocation(&Target::Account(key.sign_pub())).unwrap().unwrap();
            return record.reason == reason as u8;
        }
        drop(read);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    false
}

/// H234, A98. Each part found by a bug of its own: a list that begins at 1 again or that devices refuse, a policy that only the old
/// authority signed, a ceremony that waits for an introduction which no device takes, a delegation that no device takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_goes_on_under_the_key_that_follows() {
    let mut world = World::new().await;
    let (app, pack, bonded) = world.commissioned().await;
    let [one, two] = ["module-0001", "module-0002"].map(|id| world.factory.device(id, Role::Module));
    world.register(&one).await;
    world.register(&two).await;
    let bound = world.bind(&pack, &one).await;
    world.revoke(Subject::Batch([7; 16]), Reason::Lost).await;
    let before = world.client.revocations().await.unwrap();
    // A policy that was agreed to, and one that waits for signatures.
    let periods = Rotation { certificate_s: 7 * 86_400, ..Rotation::FACTORY };
    let ordered = policy::order(&world, 2, periods, &[bonded.id, bound.id]);
    world.post("/policies", &ordered).await.json::<Standings>();
    let agreed = |proposal: &[u8]| Sign { version: 2, signatures: policy::signatures(proposal, &bonded) };
    let proposal = world.client.policy(&Hex(bonded.id.0)).await.unwrap().proposal.unwrap().0;
    world.client.sign_policy(&Hex(bonded.id.0), &agreed(&proposal)).await.unwrap();
    let laptop = fresh_spk();
    let delegation = world.delegation_order(&["pack-0001"], &laptop.public());
    let first: Delegated = world.post("/delegations", &delegation).await.json();
    // Half done: a certificate that both devices have, a binding that both have signed, one that was asked for.
    let opened = world.pair(&app, &pack, &bonded).await;
    let half = world.introduce(&pack, &two).await;
    let third = world.factory.device("module-0003", Role::Module);
    world.register(&third).await;
    let (begun, requests) = world.begin(&pack, &third).await;
    let (_, keys) = world.answers([&pack, &third], &requests, None);

    let old = follow(&mut world).await;
    world.resume().await;
    let told = world.client.authority().await.unwrap();
    assert_eq!(told.spk.0, world.authority.0);
    let [step] = &told.successions[..] else { panic!("{}", told.successions.len()) };
    assert_eq!(Succession::open(&step.0, &old.public()).unwrap().new, world.authority);
    let own = world.authority.sign_pub();
    let time = world.client.time_token().await.unwrap();
    TimeToken::open(&time.token.0, &own).unwrap();

    let after = world.client.revocations().await.unwrap();
    let list = RevocationList::open(&after.list.0, &own).unwrap();
    assert_eq!((list.number, list.previous), (before.number + 1, hash_of(&before.list.0)), "it goes on");
    assert_eq!(list.entries[0].subject, Subject::Batch([7; 16]));
    assert_eq!(world.client.revocations().await.unwrap().number, list.number, "and is not renewed for ever");

    let known = world.client.policy(&Hex(bonded.id.0)).await.unwrap();
    let keys_of = bonded.keys.each_ref().map(|key| key.public().sign_pub());
    let update = Policy::open(&known.update.unwrap().0, &own, |_| Ok(keys_of)).unwrap();
    assert_eq!((update.version, update.rotation), (2, periods));
    let waits = world.client.policy(&Hex(bound.id.0)).await.unwrap().proposal.unwrap();
    assert_eq!(Policy::open_request(&waits.0, &own).unwrap().version, 2);
    let signed = Sign { version: 2, signatures: policy::signatures(&waits.0, &bound) };
    world.client.sign_policy(&Hex(bound.id.0), &signed).await.unwrap();

    // The pairing goes on, for its devices have their certificate; bindings that the ledger does not have are begun anew.
    let path = format!("/pairings/{}/complete", opened.pairing_id);
    world.post(&path, &world.completion(&opened, &bonded)).await.json::<pairing::Completed>();
    let complete = binding::Complete::first(world.record_signatures(&half));
    for gone in [
        world.post(&format!("/bindings/{}/complete", half.id), &complete).await,
        world.post(&format!("/bindings/{begun}/keys"), &keys).await,
    ] {
        assert_eq!((gone.status, gone.problem().code.as_str()), (404, "W4_ERR_BINDING_NOT_FOUND"));
    }
    for module in [&two, &third] {
        let anew = world.bind(&pack, module).await;
        world.pair(&pack, module, &anew).await;
    }
    world.pair(&app, &pack, &bonded).await;
    world.revoke(Subject::Component(third.cid), Reason::Lost).await;
    assert_eq!(world.client.revocations().await.unwrap().number, list.number + 1);

    // What the old authority delegated no device takes any more.
    let gone = world.get(&format!("/delegations/{}/brief", first.id)).await;
    assert_eq!((gone.status, gone.problem().code.as_str()), (403, "W4_ERR_AUTHORITY_SUCCEEDED"));
    let second: Delegated = world.post("/delegations", &delegation).await.json();
    assert_ne!(second.id, first.id);
    assert_eq!(Delegation::open(&second.delegation.0, &own).unwrap().number, 2);
    assert!(withdrawn(&world, &old.public()).await);

    // A start later nothing of it happens again, and what the new key began goes on.
    let (open, requests) = world.begin(&app, &one).await;
    let (_, keys) = world.answers([&app, &one], &requests, None);
    let number = world.client.revocations().await.unwrap().number;
    world.restart().await;
    assert_eq!(world.client.revocations().await.unwrap().number, number);
    world.post(&format!("/bindings/{open}/keys"), &keys).await.json::<binding::Introduced>();
    let log = std::fs::read_to_string(world.dir.path().join(bridge::issuance::FILE)).unwrap();
    let known = [old.public(), world.authority].map(|spk| spk.sign_pub());
    let chain_id = world.chain.chain_id();
    let issued = bridge::issuance::verify(&log, &chain_id, |by| known.contains(by)).unwrap();
    let turn = issued.iter().position(|entry| entry.by.0 == own.0).unwrap();
    assert!(issued[turn..].iter().all(|entry| entry.by.0 == own.0), "the old key issued nothing after it");
}

/// A99: its use is refused by the bridge before the ledger knows, and by the ledger afterwards; with another key, or without the line,
/// no bridge starts.
#[tokio::test(flavor = "multi_thread")]
async fn the_old_key_signs_nothing_any_more() {
    let mut world = World::new().await;
    world.commissioned().await;
    let old = follow(&mut world).await;
    let line = world.lineage.clone();
    assert!(
        matches!(refused(&world, AuthorityKey::from_bytes(&old.to_bytes().unwrap()).unwrap(), line.clone()),
        BridgeError::Succeeded(Some(id)) if id == world.authority.id())
    );
    let stranger = AuthorityKey::generate().unwrap();
    let why = refused(&world, stranger, line.clone());
    assert!(
        matches!(why, BridgeError::OtherAuthority { authority, .. } if authority == world.authority.id())
    );
    world.resume().await;
    // Its first transaction of all withdraws the account; until then the bridge refuses by itself.
    let (secret, public) = (old.secret().unwrap().signing_key().clone(), old.public().sign_pub());
    let body = || api::sign::revoke(Target::Batch([9; 16]), Reason::Lost);
    let tx = world.tx_by(&secret, body()).await;
    let refusal = world.client.submit(&tx.bytes, true).await.unwrap_err();
    assert_eq!(refusal.code(), Some("W4_ERR_AUTHORITY_SUCCEEDED"), "{refusal}");
    assert!(withdrawn(&world, &old.public()).await);
    let tx = world.tx_nonce(&secret, body(), world.chain.next_nonce(&public).unwrap());
    let refusal = world.chain.submit(tx.bytes).unwrap_err();
    assert!(matches!(refusal, node::SubmitError::Refused(Rejection::UnknownSigner)), "{refusal}");
    // The folder of keys is brought back from a copy of before, without the line: the ledger knows.
    world.stop().await;
    let old_again = || AuthorityKey::from_bytes(&old.to_bytes().unwrap()).unwrap();
    let why = refused(&world, old_again(), None);
    assert!(matches!(why, BridgeError::Succeeded(None)), "{why}");
    assert!(why.to_string().contains("W4_ERR_AUTHORITY_SUCCEEDED"), "{why}");
    world.resume().await;
}

/// A98: cut between two of its files, the first start under the new key is made up for by the next one: no list number is skipped or
/// comes twice, and nothing that the old authority began is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_start_goes_on_where_it_was() {
    let mut world = World::new().await;
    let (app, pack, bonded) = world.commissioned().await;
    let module = world.factory.device("module-0001", Role::Module);
    world.register(&module).await;
    let ordered = policy::order(&world, 2, Rotation::FACTORY, &[bonded.id]);
    world.post("/policies", &ordered).await.json::<Standings>();
    let (begun, requests) = world.begin(&pack, &module).await;
    let (_, keys) = world.answers([&pack, &module], &requests, None);
    let list = world.client.revocations().await.unwrap();
    let log = world.dir.path().join(bridge::issuance::FILE);
    follow(&mut world).await;
    let files = [world.ceremonies(), world.revocations(), log];
    let before = files.each_ref().map(|path| std::fs::read(path).unwrap());
    world.resume().await;
    world.client.revocations().await.unwrap();
    world.stop().await;
    let after = files.each_ref().map(|path| std::fs::read(path).unwrap());
    // Ceremonies, log and list, each as before or as after; the log is behind the ceremonies where it was moved away.
    for (ceremonies, issued, revocations) in [(0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1)] {
        let pick = |at: usize, which: usize| if which == 0 { &before[at] } else { &after[at] };
        std::fs::write(&files[0], pick(0, ceremonies)).unwrap();
        std::fs::write(&files[1], pick(1, revocations)).unwrap();
        std::fs::write(&files[2], pick(2, issued)).unwrap();
        world.resume().await;
        let own = world.authority.sign_pub();
        let proposal = world.client.policy(&Hex(bonded.id.0)).await.unwrap().proposal.unwrap();
        assert_eq!(Policy::open_request(&proposal.0, &own).unwrap().version, 2);
        let read = RevocationList::open(&world.client.revocations().await.unwrap().list.0, &own).unwrap();
        assert_eq!(read.number, list.number + 1, "{ceremonies}{issued}{revocations}");
        let gone = world.post(&format!("/bindings/{begun}/keys"), &keys).await;
        assert_eq!(gone.problem().code, "W4_ERR_BINDING_NOT_FOUND");
        world.pair(&app, &pack, &bonded).await;
        world.stop().await;
    }
    world.resume().await;
}

/// A98: whoever can write the file of the ceremonies, and has no key, gets no policy signed by the next authority, which once signed
/// anew whatever lay there without its own signature.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_no_authority_signed_is_not_signed_anew() {
    let mut world = World::new().await;
    let (.., bonded) = world.commissioned().await;
    let ordered = policy::order(&world, 2, Rotation::FACTORY, &[bonded.id]);
    world.post("/policies", &ordered).await.json::<Standings>();
    let proposal = world.client.policy(&Hex(bonded.id.0)).await.unwrap().proposal.unwrap().0;
    follow(&mut world).await;
    let good = std::fs::read(world.ceremonies()).unwrap();
    let at = good.windows(proposal.len()).position(|part| part == proposal).unwrap();
    // The proposal ends with the signature of the authority, the file with its checksum.
    let mut bad = good[..good.len() - 32].to_vec();
    bad[at + proposal.len() - 1] ^= 1;
    let sum = lct::hash::sha256(&[&bad]);
    bad.extend(sum);
    std::fs::write(world.ceremonies(), &bad).unwrap();
    let why = refused(&world, key(&world), world.lineage.clone()).to_string();
    assert!(why.contains("signed a policy of the ceremonies") && why.contains("version 2"), "{why}");
    assert_eq!(std::fs::read(world.ceremonies()).unwrap(), bad, "nothing was changed");
    std::fs::write(world.ceremonies(), good).unwrap();
    world.resume().await;
}

/// A98, A99: a key that somebody else may have is withdrawn for that reason, once and for ever: by L123 what its delegates date back is
/// void then. A bridge still does not start with it, though the line is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_other_hands_is_withdrawn_as_such() {
    let mut world = World::new().await;
    let old = follow_for(&mut world, Reason::KeyCompromise).await;
    world.resume().await;
    assert!(withdrawn_for(&world, &old.public(), Reason::KeyCompromise).await);
    world.stop().await;
    let why = refused(&world, AuthorityKey::from_bytes(&old.to_bytes().unwrap()).unwrap(), None);
    assert!(matches!(why, BridgeError::Succeeded(None)), "{why}");
    world.resume().await;
}
