//! `GET /pairings` (A206), `POST /pairings`, `POST /pairings/{id}/complete`, `GET /pairings/{id}` (A24 to A28).

use api::{
    binding::Sides,
    encoding::Hex,
    pairing::{Complete, Completed, Issue, Issued, Pairing, Pairings, context},
    problem::code,
};
use axum::{Json, extract::State};
use lct::id::PairingId;
use ledger::{
    records::{Pairing as Recorded, Status, key},
    tx::TxId,
};
use node::Snapshot;

use super::{App, NotIncluded, component::cid_of, id};
use crate::{
    Clock, Shared,
    authority::{Core, PairingIn, PairingProgress, component_id},
    extract::{self, Body, Options, Segments, When},
    list::{self, List, OfComponent, Page},
    refusal::{Refusal, Reply},
};

/// The pairings that the ledger holds (A206).
#[utoipa::path(
    get,
    path = "/pairings",
    params(Page, OfComponent),
    responses((status = 200, body = Pairings), (status = 404), (status = 410))
)]
pub(crate) async fn list(State(app): App, list: List<OfComponent>) -> Reply<Json<Pairings>> {
    let List { page, of } = list;
    let clock = app.clock.clone();
    app.state(of.height, move |snapshot| {
        let now_ms = now_ms(snapshot, of.height, &clock);
        let of = of.component.as_deref().map(|id| cid_of(snapshot, id)).transpose()?;
        let (rows, next) = match of {
            None => page.scan(snapshot, key::PAIRINGS, |_: &Recorded| true)?,
            Some(cid) => {
                let rows = snapshot.pairings_of(&cid)?.into_iter();
                page.cut(rows.map(|(id, p)| (id.0.to_vec(), p)).collect(), |(id, _)| id.clone())
            }
        };
        let row = |(rest, p): (Vec<u8>, Recorded)| told(snapshot, PairingId(list::name(rest)?), &p, now_ms);
        let pairings = rows.into_iter().map(row).collect::<Reply<_>>()?;
        Ok(Json(Pairings { height: snapshot.tip().height, pairings, next }))
    })
    .await
}

/// Issues the certificate of a pairing (A24).
#[utoipa::path(
    post,
    path = "/pairings",
    request_body = Issue,
    responses((status = 200, body = Issued), (status = 403), (status = 404), (status = 409), (status = 410))
)]
pub(crate) async fn issue(State(app): App, Body(request): Body<Issue>) -> Reply<Json<Issued>> {
    extract::label("creator", &request.creator)?;
    let context = context(&request.context).ok_or_else(|| {
        Refusal::new(400, code::PAIRING_INVALID, "a parameter of the pairing is out of range")
            .detail("context: battery_management, diagnostics, firmware_update or emergency")
    })?;
    let wanted = PairingIn {
        creator: request.creator,
        a: request.a,
        b: request.b,
        context,
        salt: request.salt.0,
        iv_seed: request.iv_seed.0,
        valid_days: request.valid_days,
        unencrypted_allowed: request.unencrypted_allowed,
    };
    app.authority.call(move |core| core.issue_pairing(wanted)).await.map(Json)
}

/// Completes a pairing; answers once a block holds it (A26).
#[utoipa::path(
    post,
    path = "/pairings/{id}/complete",
    params(("id" = Hex<16>, Path)),
    request_body = Complete,
    responses((status = 200, body = Completed), (status = 401), (status = 403), (status = 404), (status = 409), (status = 410), (status = 422), (status = 504))
)]
pub(crate) async fn complete(
    State(app): App,
    Segments(pairing): Segments<String>,
    Body(request): Body<Complete>,
) -> Reply<Json<Completed>> {
    let Hex(pairing) = id("pairing id", &pairing)?;
    let Sides { a, b } = request.entity_signatures;
    let signatures = Sides { a: a.0, b: b.0 };
    let proof = (request.validation_nonce.0, request.th4.0);
    let tx = complete_pairing(&app, PairingId(pairing), proof, signatures).await?;
    Ok(Json(Completed { pairing_id: Hex(pairing), status: "completed".into(), txhash: Hex(tx) }))
}

/// Has a pairing recorded under nonce, transcript and the signatures of both; its transaction.
pub(crate) async fn complete_pairing(
    app: &Shared,
    pairing_id: PairingId,
    (nonce, th4): ([u8; 32], lct::Digest),
    signatures: Sides<[u8; 64]>,
) -> Reply<TxId> {
    let mut lost = None;
    let tx = loop {
        let step = move |core: &mut Core| core.complete_pairing(pairing_id, nonce, th4, &signatures, lost);
        match app.authority.call(step).await? {
            PairingProgress::Recorded(tx) => break tx,
            PairingProgress::Waits(tx) => match app.included(&tx).await {
                Ok(()) => break tx,
                // A transaction that left the queue is made anew, once.
                Err(NotIncluded::Lost) if lost.is_none() => lost = Some(tx),
                Err(why) => return Err(why.into()),
            },
        }
    };
    app.authority.call(move |core| core.pairing_recorded(pairing_id)).await?;
    Ok(tx)
}

/// Where a pairing stands (A28).
#[utoipa::path(
    get,
    path = "/pairings/{id}",
    params(("id" = Hex<16>, Path), When),
    responses((status = 200, body = Pairing), (status = 404), (status = 410))
)]
pub(crate) async fn pairing(
    State(app): App,
    Segments(pairing): Segments<String>,
    Options(when): Options<When>,
) -> Reply<Json<Pairing>> {
    let id = PairingId(id("pairing id", &pairing)?.0);
    let clock = app.clock.clone();
    let read = app.glance(when.height, move |snapshot| {
        let found = snapshot.pairing(&id)?;
        let now_ms = now_ms(snapshot, when.height, &clock);
        let found = found.map(|p| told(snapshot, id, &p, now_ms)).transpose()?;
        Ok((found, snapshot.tip()))
    });
    let (recorded, tip) = read.await?;
    if let Some(told) = recorded {
        return Ok(Json(told));
    }
    if when.height.is_some() {
        let why = "the ledger held no such pairing after this block";
        return Err(Refusal::new(404, code::PAIRING_NOT_FOUND, why));
    }
    let (p, [a, b], status) = app.authority.call(move |core| core.pending_pairing(id)).await?;
    let [a, b] = app
        .state(None, move |snapshot| Ok([component_id(snapshot, &a)?, component_id(snapshot, &b)?]))
        .await?;
    Ok(Json(Pairing {
        pairing_id: Hex(id.0),
        height: tip.height,
        binding_id: Hex(p.binding_id.0),
        a,
        b,
        status: status.into(),
        created_at: p.created.into(),
        expires_at: p.lease_end.into(),
    }))
}

/// The time by which a lease is judged, Unix milliseconds: of the past the ledger's is the only one.
fn now_ms(snapshot: &Snapshot<'_>, height: Option<u64>, clock: &Clock) -> u64 {
    if height.is_some() { snapshot.tip().time_ms } else { clock() }
}

/// A pairing that the ledger holds.
fn told(snapshot: &Snapshot<'_>, id: PairingId, p: &Recorded, now_ms: u64) -> Reply<Pairing> {
    Ok(Pairing {
        pairing_id: Hex(id.0),
        height: snapshot.tip().height,
        binding_id: Hex(p.binding_id.0),
        a: component_id(snapshot, &p.a)?,
        b: component_id(snapshot, &p.b)?,
        status: match p.status {
            Status::Revoked => "revoked",
            Status::Active if now_ms >= p.expires_ms => "expired",
            Status::Active => "completed",
        }
        .into(),
        created_at: p.time_ms / 1000,
        expires_at: p.expires_ms / 1000,
    })
}
