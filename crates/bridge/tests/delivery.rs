//! A certificate that is issued while its pack is away: it waits, is delivered, runs out, or is revoked before anybody completes it.

use crate::common;

use api::{
    pairing::{Completed, Issued, Pairing},
    revocation::Revocations,
};
use common::World;
use lct::{
    certificate::Certificate,
    id::PairingId,
    revocation::{Reason, RevocationList, Subject},
};

async fn status(world: &World, id: &PairingId) -> String {
    world.get(&format!("/pairings/{id}")).await.json::<Pairing>().status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_completed_late_over_a_restart_or_runs_out() {
    let mut world = World::new().await;
    let (app, pack, bonded) = world.commissioned().await;
    let issued: Issued = world.post("/pairings", &world.issue_request(&app, &pack)).await.json();
    // The gateway has the certificate; the pack comes back 50 minutes later, and the bridge was restarted meanwhile.
    world.restart().await;
    world.advance(50 * 60_000);
    let opened = world.open_certificate(&issued.certificate.0, &bonded);
    assert_eq!(status(&world, &opened.pairing_id).await, "pending");
    let path = format!("/pairings/{}/complete", opened.pairing_id);
    let done: Completed = world.post(&path, &world.completion(&opened, &bonded)).await.json();
    assert_eq!(done.status, "completed");
    assert_eq!(status(&world, &opened.pairing_id).await, "completed");

    let late = world.pair(&app, &pack, &bonded).await;
    world.advance(61 * 60_000);
    assert_eq!(status(&world, &late.pairing_id).await, "expired");
    let path = format!("/pairings/{}/complete", late.pairing_id);
    let problem = world.post(&path, &world.completion(&late, &bonded)).await.problem();
    assert_eq!((problem.status, problem.code.as_str()), (404, "W4_ERR_PAIRING_NOT_FOUND"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_revoked_before_anybody_completes_it() {
    let mut world = World::new().await;
    let (app, pack, bonded) = world.commissioned().await;
    let issued: Issued = world.post("/pairings", &world.issue_request(&app, &pack)).await.json();
    let opened = world.open_certificate(&issued.certificate.0, &bonded);
    let what = Subject::Pairing(opened.pairing_id);
    let answer: Revocations = world.revoke(what, Reason::Superseded).await.json();
    assert_eq!(answer.entries.len(), 1);
    // The device reads it before it takes the certificate (channel.md, H105).
    let list = RevocationList::open(&answer.list.0, &world.authority.sign_pub()).unwrap();
    let certificate = Certificate::parse(&issued.certificate.0).unwrap();
    assert_eq!(list.entries[0].subject, Subject::Pairing(certificate.pairing_id));

    let path = format!("/pairings/{}/complete", opened.pairing_id);
    for restarted in [false, true] {
        if restarted {
            world.restart().await;
        }
        assert_eq!(status(&world, &opened.pairing_id).await, "revoked", "restarted: {restarted}");
        let problem = world.post(&path, &world.completion(&opened, &bonded)).await.problem();
        assert_eq!((problem.status, problem.code.as_str()), (403, "W4_ERR_PAIRING_DENIED"));
    }
    // Only this certificate: the two are paired by the next one.
    let next = world.pair(&app, &pack, &bonded).await;
    let path = format!("/pairings/{}/complete", next.pairing_id);
    let done: Completed = world.post(&path, &world.completion(&next, &bonded)).await.json();
    assert_eq!(done.status, "completed");
}

/// What is revoked between the certificate and its completion, the partner or the binding, ends that pairing too.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_ends_with_its_binding_and_with_its_component() {
    for (component, status) in [(false, 403), (true, 410)] {
        let world = World::new().await;
        let (app, pack, bonded) = world.commissioned().await;
        let opened = world.pair(&app, &pack, &bonded).await;
        let what = if component { Subject::Component(pack.cid) } else { Subject::Binding(bonded.id) };
        world.revoke(what, Reason::Lost).await.json::<Revocations>();
        let path = format!("/pairings/{}/complete", opened.pairing_id);
        let problem = world.post(&path, &world.completion(&opened, &bonded)).await.problem();
        assert!([403, status].contains(&problem.status), "{problem:?}");
    }
}
