//! Signed changes of the policy: who may order one, what is refused, and what a crash leaves.

use crate::common;

use api::{
    Blob, Fixed, Hex,
    binding::Sides,
    pairing,
    policy::{Periods, Policy as Answered, Propose, Sign, Standing, Standings, order_digest},
};
use common::{Bonded, World, rng};
use lct::{
    certificate::Certificate,
    id::{BindingId, Role},
    metadata::ClearMetadata,
    policy::{Policy, Rotation, Rows, digest_of},
    revocation::{Reason, Subject},
    sign::SigningKey,
};
use pack::policies::factory_rows;

/// An order by `key`; `table` is signed and sent as it is.
fn order_by(
    world: &World,
    key: &SigningKey,
    version: u32,
    rotation: Rotation,
    table: &[u8],
    ids: &[BindingId],
) -> Propose {
    let digest = order_digest(&world.chain.chain_id(), version, &rotation, table, ids);
    Propose {
        creator: "test".into(),
        version,
        periods: rotation.into(),
        table: Blob(table.into()),
        bindings: ids.iter().map(|id| Hex(id.0)).collect(),
        key: Hex(key.public().0),
        signature: Fixed(key.sign(&digest, &mut rng()).0),
    }
}

fn bytes(rows: &Rows) -> Vec<u8> {
    rows.iter().flatten().copied().collect()
}

/// An order of the operator with the table of the factory.
pub fn order(world: &World, version: u32, rotation: Rotation, ids: &[BindingId]) -> Propose {
    order_by(world, &world.operator, version, rotation, &bytes(&factory_rows()), ids)
}

const WEEK: Rotation = Rotation { certificate_s: 7 * 86_400, group_s: 86_400, ..Rotation::FACTORY };

async fn standing(world: &World, id: BindingId) -> [u32; 3] {
    let all = world.client.policies(None).await.unwrap().policies;
    let found: Vec<&Standing> = all.iter().filter(|s| s.binding_id.0 == id.0).collect();
    assert_eq!(found.len(), 1);
    [found[0].in_force, found[0].agreed, found[0].ordered]
}

/// What both entities sign under a proposal.
pub fn signatures(proposal: &[u8], bonded: &Bonded) -> Sides<Fixed<64>> {
    let body = &proposal[..proposal.len() - 64];
    let [a, b] = &bonded.keys;
    let sign = |key: &SigningKey| Fixed(key.sign(&digest_of(body), &mut rng()).0);
    Sides { a: sign(a.signing_key()), b: sign(b.signing_key()) }
}

async fn sign(world: &World, version: u32, bonded: &Bonded) -> Answered {
    let proposal = world.client.policy(&Hex(bonded.id.0)).await.unwrap().proposal.unwrap();
    let request = Sign { version, signatures: signatures(&proposal.0, bonded) };
    world.client.sign_policy(&Hex(bonded.id.0), &request).await.unwrap()
}

/// Policy and revocation list that a fresh certificate names, days of its lease, and the certificate.
async fn certified(world: &World, request: &pairing::Issue) -> (u32, u32, u32, Vec<u8>) {
    let issued: pairing::Issued = world.post("/pairings", request).await.json();
    let certificate = Certificate::parse(&issued.certificate.0).unwrap();
    let m = ClearMetadata::decode(certificate.clear_metadata).unwrap();
    let days = (m.timing.expires - m.timing.valid_from) / 86_400;
    assert_eq!(u64::from(m.timing.expires), issued.expires_at);
    (m.policy_version, m.crl_number, days, issued.certificate.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn from_an_order_to_a_pairing_under_it_over_restarts() {
    let mut world = World::new().await;
    let (app, pack, bonded) = world.commissioned().await;
    let request = world.issue_request(&app, &pack);
    assert_eq!(standing(&world, bonded.id).await, [1, 1, 1]);
    let (policy, _, days, _) = certified(&world, &request).await;
    assert_eq!((policy, days), (1, 90));

    let wanted = order(&world, 2, WEEK, &[bonded.id]);
    let ordered: Standings = world.post("/policies", &wanted).await.json();
    let one = &ordered.policies[0];
    assert_eq!((one.in_force, one.agreed, one.ordered), (1, 1, 2));
    assert_eq!((one.a.as_str(), one.b.as_str()), ("app-0001", "pack-0001"));
    assert!(one.is_open());
    assert_eq!(certified(&world, &request).await.0, 1, "an order binds nobody");
    let proposal = world.client.policy(&Hex(bonded.id.0)).await.unwrap().proposal.unwrap().0;
    let read = Policy::open_request(&proposal, &world.authority.sign_pub()).unwrap();
    assert_eq!((read.version, read.entities, read.rotation), (2, [app.cid, pack.cid], WEEK));
    assert_eq!(read.rows, factory_rows());

    // A crash after the proposal was given out: devices are asked to sign the same bytes.
    world.restart().await;
    let again: Standings = world.post("/policies", &wanted).await.json();
    assert_eq!(again.policies[0].ordered, 2, "the same order changes nothing");
    assert_eq!(world.client.policy(&Hex(bonded.id.0)).await.unwrap().proposal.unwrap().0, proposal);

    let signed = sign(&world, 2, &bonded).await;
    let update = signed.update.clone().unwrap().0;
    let keys = bonded.keys.each_ref().map(|key| key.public().sign_pub());
    assert_eq!(Policy::open(&update, &world.authority.sign_pub(), |_| Ok(keys)), Ok(read));
    assert_eq!((signed.proposal, signed.standing.agreed, signed.standing.in_force), (None, 2, 1));
    // The answer was lost: the same signatures again.
    let request_again = Sign { version: 2, signatures: signatures(&proposal, &bonded) };
    let repeated = world.client.sign_policy(&Hex(bonded.id.0), &request_again).await.unwrap();
    assert_eq!(repeated.update.unwrap().0, update);

    world.restart().await;
    assert_eq!(standing(&world, bonded.id).await, [1, 2, 2]);
    let (policy, _, days, certificate) = certified(&world, &request).await;
    assert_eq!((policy, days), (2, 7), "leases are no longer than the policy says");
    assert_eq!(standing(&world, bonded.id).await, [1, 2, 2], "a certificate that nobody used");
    let opened = world.open_certificate(&certificate, &bonded);
    let complete = world.completion(&opened, &bonded);
    let path = format!("/pairings/{}/complete", opened.pairing_id);
    world.post(&path, &complete).await.json::<pairing::Completed>();
    assert_eq!(standing(&world, bonded.id).await, [2, 2, 2]);
    world.restart().await;
    assert_eq!(standing(&world, bonded.id).await, [2, 2, 2]);
    // Ceremonies that ran out are forgotten, what they brought into force is not.
    world.advance(2 * 3_600_000);
    assert_eq!(certified(&world, &request).await.0, 2);
    assert_eq!(standing(&world, bonded.id).await, [2, 2, 2]);
    // Another order over one that is signed and not in force.
    world.post("/policies", &order(&world, 5, Rotation::FACTORY, &[bonded.id])).await.json::<Standings>();
    assert_eq!(standing(&world, bonded.id).await, [2, 2, 5]);
    assert_eq!(certified(&world, &request).await.0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_counts_before_and_after_its_ceremony_is_forgotten() {
    let world = World::new().await;
    let (app, pack, bonded) = world.commissioned().await;
    world.post("/policies", &order(&world, 2, WEEK, &[bonded.id])).await.json::<Standings>();
    sign(&world, 2, &bonded).await;
    let before = std::fs::read(world.ceremonies()).unwrap();
    let (.., certificate) = certified(&world, &world.issue_request(&app, &pack)).await;
    let with_ceremony = std::fs::read(world.ceremonies()).unwrap();
    assert_ne!(before, with_ceremony);
    let opened = world.open_certificate(&certificate, &bonded);
    let path = format!("/pairings/{}/complete", opened.pairing_id);
    world.post(&path, &world.completion(&opened, &bonded)).await.json::<pairing::Completed>();
    // A crash after the block, before the ceremony was forgotten: the file is as it was.
    let mut world = world;
    world.stop().await;
    std::fs::write(world.ceremonies(), with_ceremony).unwrap();
    world.resume().await;
    assert_eq!(standing(&world, bonded.id).await, [2, 2, 2]);
    world.advance(2 * 3_600_000);
    certified(&world, &world.issue_request(&app, &pack)).await;
    assert_eq!(standing(&world, bonded.id).await, [2, 2, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_and_why() {
    let world = World::new().await;
    let (_, pack, bonded) = world.commissioned().await;
    let module = world.factory.device("module-0001", Role::Module);
    world.register(&module).await;
    let second = world.bind(&pack, &module).await;
    let ids = [bonded.id, second.id];
    let good = order(&world, 3, WEEK, &ids);
    let change = |f: &dyn Fn(&mut Propose)| {
        let mut request = good.clone();
        f(&mut request);
        request
    };
    let table = |f: &dyn Fn(&mut Rows)| {
        let mut rows = factory_rows();
        f(&mut rows);
        order_by(&world, &world.operator, 3, WEEK, &bytes(&rows), &ids)
    };
    let row = |rows: &mut Rows, base: u16, byte: usize, to: u8| {
        rows.iter_mut().find(|r| r[..2] == base.to_be_bytes()).unwrap()[byte] = to;
    };
    let stranger = SigningKey::generate(&mut rng());
    let by_stranger = order_by(&world, &stranger, 3, WEEK, &bytes(&factory_rows()), &ids);
    let short = Rotation { epoch_s: 59, ..WEEK };
    let many = vec![bonded.id; api::policy::BINDINGS_MAX + 1];
    for (name, request, status, code, detail) in [
        ("creator", change(&|r| r.creator.clear()), 400, "W4_ERR_PROTO_FORMAT", "creator"),
        ("no binding", order(&world, 3, WEEK, &[]), 400, "W4_ERR_PROTO_FORMAT", "bindings"),
        ("many bindings", order(&world, 3, WEEK, &many), 400, "W4_ERR_PROTO_FORMAT", "bindings"),
        ("no key", change(&|r| r.key = Hex([9; 33])), 400, "W4_ERR_PROTO_FORMAT", "key"),
        ("stranger", by_stranger, 403, "W4_ERR_POLICY_DENIED", "operator"),
        ("other version", change(&|r| r.version = 4), 401, "W4_ERR_POLICY_PROOF_FAIL", "signature"),
        ("other binding", change(&|r| r.bindings.truncate(1)), 401, "W4_ERR_POLICY_PROOF_FAIL", "signature"),
        (
            "other periods",
            change(&|r| r.periods = Periods { group_s: 61, ..r.periods }),
            401,
            "W4_ERR_POLICY_PROOF_FAIL",
            "signature",
        ),
        ("short period", order(&world, 3, short, &ids), 400, "W4_ERR_POLICY_INVALID", "periods"),
        ("no table", table(&|t| t.clear()), 400, "W4_ERR_POLICY_INVALID", "rows"),
        (
            "half a row",
            order_by(&world, &world.operator, 3, WEEK, &bytes(&factory_rows())[1..], &ids),
            400,
            "W4_ERR_POLICY_INVALID",
            "rows of 8",
        ),
        (
            "discovery gone",
            table(&|t| t.retain(|r| r[..2] != [0x05, 0x00])),
            400,
            "W4_ERR_POLICY_INVALID",
            "H113",
        ),
        ("a stop for all", table(&|t| row(t, 0x51E, 7, 0)), 400, "W4_ERR_POLICY_INVALID", "H113"),
        ("minimum", table(&|t| row(t, 0x400, 7, 6)), 400, "W4_ERR_POLICY_INVALID", "minimum"),
        ("order of rows", table(&|t| t.swap(2, 3)), 400, "W4_ERR_POLICY_INVALID", "ascend"),
        ("factory's version", order(&world, 1, WEEK, &ids), 409, "W4_ERR_POLICY_VERSION", "1 was ordered"),
        (
            "unknown binding",
            order(&world, 3, WEEK, &[bonded.id, BindingId([1; 16])]),
            404,
            "W4_ERR_BINDING_NOT_FOUND",
            "0101",
        ),
    ] {
        let problem = world.post("/policies", &request).await.problem();
        assert_eq!((problem.status, problem.code.as_str()), (status, code), "{name}: {problem}");
        assert!(problem.to_string().contains(detail), "{name}: {problem}");
        assert_eq!(standing(&world, bonded.id).await, [1, 1, 1], "{name} changes nothing");
    }
    world.post("/policies", &good).await.json::<Standings>();
    // Rollback, and another policy under a number that was used: for all bindings or for none.
    world.post("/policies", &order(&world, 5, WEEK, &[second.id])).await.json::<Standings>();
    for (version, rotation) in [(2, WEEK), (3, Rotation::FACTORY), (4, WEEK), (5, Rotation::FACTORY)] {
        let problem = world.post("/policies", &order(&world, version, rotation, &ids)).await.problem();
        assert_eq!(problem.code, "W4_ERR_POLICY_VERSION", "{version}");
    }
    assert_eq!(standing(&world, bonded.id).await, [1, 1, 3]);
    assert_eq!(standing(&world, second.id).await, [1, 1, 5]);

    // Signatures.
    let proposal = world.client.policy(&Hex(bonded.id.0)).await.unwrap().proposal.unwrap().0;
    let right = signatures(&proposal, &bonded);
    let wrong = signatures(&proposal, &second);
    let half = Fixed(right.b.0);
    for (name, id, version, signatures, status, code) in [
        ("swapped", bonded.id, 3, Sides { a: right.b, b: right.a }, 401, "W4_ERR_POLICY_PROOF_FAIL"),
        ("one for both", bonded.id, 3, Sides { a: half, b: half }, 401, "W4_ERR_POLICY_PROOF_FAIL"),
        ("other keys", bonded.id, 3, wrong, 401, "W4_ERR_POLICY_PROOF_FAIL"),
        ("unknown version", bonded.id, 4, right, 409, "W4_ERR_POLICY_STEP"),
        ("factory's", bonded.id, 1, right, 409, "W4_ERR_POLICY_STEP"),
        ("other binding", second.id, 5, right, 401, "W4_ERR_POLICY_PROOF_FAIL"),
        ("no binding", BindingId([1; 16]), 3, right, 404, "W4_ERR_BINDING_NOT_FOUND"),
    ] {
        let answer = world.post(&format!("/policies/{id}/signatures"), &Sign { version, signatures }).await;
        let problem = answer.problem();
        assert_eq!((problem.status, problem.code.as_str()), (status, code), "{name}: {problem}");
    }
    assert_eq!(standing(&world, bonded.id).await, [1, 1, 3], "nothing was agreed to");

    // A disk that refuses: neither an order nor an agreement is answered that is not kept.
    let part = world.ceremonies().with_extension("part");
    std::fs::create_dir(&part).unwrap();
    let refused = world.post("/policies", &order(&world, 6, WEEK, &ids)).await.problem();
    assert_eq!(refused.code, "W4_ERR_UNAVAILABLE");
    let path = format!("/policies/{}/signatures", bonded.id);
    let refused = world.post(&path, &Sign { version: 3, signatures: right }).await.problem();
    assert_eq!(refused.code, "W4_ERR_UNAVAILABLE");
    assert_eq!(standing(&world, bonded.id).await, [1, 1, 3]);
    std::fs::remove_dir(&part).unwrap();
    assert_eq!(sign(&world, 3, &bonded).await.standing.agreed, 3);

    // What was revoked gets no policy, and is not named any more.
    let mut of_pack = world.client.policies(Some("pack-0001")).await.unwrap().policies;
    of_pack.sort_by(|x, y| x.b.cmp(&y.b));
    assert_eq!(of_pack.iter().map(|s| s.b.as_str()).collect::<Vec<_>>(), ["module-0001", "pack-0001"]);
    world.revoke(Subject::Component(module.cid), Reason::Lost).await;
    let problem = world.post("/policies", &order(&world, 7, WEEK, &ids)).await.problem();
    assert_eq!(problem.code, "W4_ERR_BINDING_NOT_FOUND");
    assert_eq!(world.client.policies(Some("module-0001")).await.unwrap().policies, []);
    assert_eq!(world.client.policies(Some("app-0001")).await.unwrap().policies.len(), 1);
    let bad = world.get("/policies?component=a").await.problem();
    assert_eq!(bad.code, "W4_ERR_PROTO_FORMAT");
}

/// When two are to be paired anew: by the age of their keys, and by what is left of a lease.
#[tokio::test(flavor = "multi_thread")]
async fn pairings_are_due_in_time() {
    const DAY_MS: u64 = 86_400_000;
    let world = World::new().await;
    let (app, pack, bonded) = world.commissioned().await;
    let due = async || world.client.policy(&Hex(bonded.id.0)).await.unwrap().standing.due;
    let pair = async || {
        let opened = world.pair(&app, &pack, &bonded).await;
        assert!(!world.client.policies(None).await.unwrap().policies[0].is_open());
        let path = format!("/pairings/{}/complete", opened.pairing_id);
        world.post(&path, &world.completion(&opened, &bonded)).await.json::<pairing::Completed>();
    };
    world.advance(40 * DAY_MS);
    assert!(!due().await, "what was never paired is not paired anew");
    pair().await;
    // Seven days from the factory.
    world.advance(6 * DAY_MS);
    assert!(!due().await);
    world.advance(DAY_MS + 1_000);
    assert!(due().await);
    pair().await;
    assert!(!due().await);
    // A lease of eight days ends before keys are 30 days old.
    let short = Rotation { certificate_s: 8 * 86_400, agreement_s: 30 * 86_400, ..Rotation::FACTORY };
    world.post("/policies", &order(&world, 2, short, &[bonded.id])).await.json::<Standings>();
    sign(&world, 2, &bonded).await;
    let opened = world.pair(&app, &pack, &bonded).await;
    let path = format!("/pairings/{}/complete", opened.pairing_id);
    world.post(&path, &world.completion(&opened, &bonded)).await.json::<pairing::Completed>();
    world.advance(5 * DAY_MS);
    assert!(!due().await);
    world.advance(DAY_MS + DAY_MS / 10);
    assert!(due().await, "a quarter is left");
    pair().await;
    assert!(!due().await);
}

/// A certificate names the list that the authority issued last, so that a device which lacks it asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_name_the_last_revocation_list() {
    let mut world = World::new().await;
    let (app, pack, _) = world.commissioned().await;
    let request = world.issue_request(&app, &pack);
    assert_eq!(certified(&world, &request).await.1, 0, "none was issued");
    assert_eq!(world.client.revocations().await.unwrap().number, 1);
    assert_eq!(certified(&world, &request).await.1, 1);
    world.revoke(Subject::Batch([1; 16]), Reason::Lost).await;
    world.restart().await;
    assert_eq!(certified(&world, &request).await.1, 2);
}
