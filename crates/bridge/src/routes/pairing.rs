//! `POST /pairings`, `POST /pairings/{id}/complete`, `GET /pairings/{id}` (A24 to A28).

use api::{
    binding::Sides,
    encoding::Hex,
    pairing::{Complete, Completed, Issue, Issued, Pairing, context},
    problem::code,
};
use axum::{Json, extract::State};
use lct::id::{BindingId, Cid, PairingId};
use ledger::{records::Status, tx::TxId};

use super::{App, NotIncluded, id};
use crate::{
    Shared,
    authority::{Core, PairingIn, PairingProgress},
    extract::{self, Body, Options, Segments, When},
    refusal::{Refusal, Reply},
};

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
    let Hex(pairing) = id("pairing id", &pairing)?;
    let id = PairingId(pairing);
    let (recorded, tip) =
        app.glance(when.height, move |snapshot| Ok((snapshot.pairing(&id)?, snapshot.tip()))).await?;
    // Of the past the ledger's time is the only one.
    let now_ms = if when.height.is_some() { tip.time_ms } else { (app.clock)() };
    let (binding_id, sides, status, created_at, expires_at) = match recorded {
        Some(p) => {
            let status = match p.status {
                Status::Revoked => "revoked",
                Status::Active if now_ms >= p.expires_ms => "expired",
                Status::Active => "completed",
            };
            (p.binding_id, [p.a, p.b], status, p.time_ms / 1000, p.expires_ms / 1000)
        }
        None if when.height.is_some() => {
            let why = "the ledger held no such pairing after this block";
            return Err(Refusal::new(404, code::PAIRING_NOT_FOUND, why));
        }
        None => {
            let (p, sides, status) = app.authority.call(move |core| core.pending_pairing(id)).await?;
            (p.binding_id, sides, status, p.created.into(), p.lease_end.into())
        }
    };
    let BindingId(binding_id) = binding_id;
    let [a, b] = names(&app, sides).await?;
    Ok(Json(Pairing {
        pairing_id: Hex(pairing),
        height: tip.height,
        binding_id: Hex(binding_id),
        a,
        b,
        status: status.into(),
        created_at,
        expires_at,
    }))
}

/// The component ids of two cids.
async fn names(app: &Shared, cids: [Cid; 2]) -> Reply<[String; 2]> {
    app.blocking(move |chain| {
        let snapshot = chain.read()?;
        let name = |cid: &Cid| -> Reply<String> {
            Ok(snapshot.component(cid)?.map(|c| c.component_id).unwrap_or_default())
        };
        Ok([name(&cids[0])?, name(&cids[1])?])
    })
    .await
}
