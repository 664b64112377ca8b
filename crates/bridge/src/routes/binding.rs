//! `GET /bindings` (A206), `POST /bindings`, `POST /bindings/{id}/keys`, `POST /bindings/{id}/complete` (A20 to A23),
//! `POST /bindings/{id}/adopt` (A208).

use api::{
    binding::{
        Adopt, Adopted, AttestedKey, Begin, Begun, Bindings, Bound, Complete, Introduced, Keys, Recorded,
        Replacement, Sides,
    },
    encoding::{Blob, Hex},
};
use std::sync::Arc;

use axum::{Json, extract::State};
use lct::{
    binding::{Assurance, RECORD_LEN},
    id::BindingId,
};
use ledger::{
    records::{Binding, key},
    tx::TxId,
};

use super::{App, NotIncluded, component::cid_of, id};
use crate::{
    Shared,
    authority::{BindingProgress, PartyIn, component_id},
    extract::{self, Body, Segments},
    list::{self, List, OfComponent, Page},
    refusal::{Refusal, Reply},
};

/// The bindings that there are (A206).
#[utoipa::path(
    get,
    path = "/bindings",
    params(Page, OfComponent),
    responses((status = 200, body = Bindings), (status = 404), (status = 410))
)]
pub(crate) async fn list(State(app): App, list: List<OfComponent>) -> Reply<Json<Bindings>> {
    let List { page, of } = list;
    app.state(of.height, move |snapshot| {
        let of = of.component.as_deref().map(|id| cid_of(snapshot, id)).transpose()?;
        let (rows, next) = match of {
            None => page.scan(snapshot, key::BINDINGS, |_: &Binding| true)?,
            Some(cid) => {
                let rows = snapshot.bindings_of(&cid)?.into_iter();
                page.cut(rows.map(|(id, b)| (id.0.to_vec(), b)).collect(), |(id, _)| id.clone())
            }
        };
        let row = |(rest, b): (Vec<u8>, Binding)| {
            let assurance = Assurance::from_code(b.assurance).map_err(|e| Refusal::internal(&e))?;
            Ok(Recorded {
                binding_id: Hex(list::name(rest)?),
                a: component_id(snapshot, &b.a)?,
                b: component_id(snapshot, &b.b)?,
                assurance: assurance.name().into(),
                status: b.status.name().into(),
                created_at: b.time_ms / 1000,
            })
        };
        let bindings = rows.into_iter().map(row).collect::<Reply<_>>()?;
        Ok(Json(Bindings { height: snapshot.tip().height, bindings, next }))
    })
    .await
}

/// Begins a binding (A21).
#[utoipa::path(
    post,
    path = "/bindings",
    request_body = Begin,
    responses((status = 200, body = Begun), (status = 403), (status = 404), (status = 409), (status = 410))
)]
pub(crate) async fn begin(State(app): App, Body(request): Body<Begin>) -> Reply<Json<Begun>> {
    extract::label("creator", &request.creator)?;
    let party = |p: api::binding::Party| PartyIn { component_id: p.component_id, access: p.access };
    let Begin { creator, a, b, assurance } = request;
    let begin =
        move |core: &mut crate::authority::Core| core.begin_binding(creator, party(a), party(b), &assurance);
    app.authority.call(begin).await.map(Json)
}

/// Takes the keys of both sides and introduces them to each other (A22).
#[utoipa::path(
    post,
    path = "/bindings/{id}/keys",
    params(("id" = Hex<16>, Path)),
    request_body = Sides<AttestedKey>,
    responses((status = 200, body = Introduced), (status = 401), (status = 403), (status = 404), (status = 409), (status = 410))
)]
pub(crate) async fn keys(
    State(app): App,
    Segments(binding): Segments<String>,
    Body(keys): Body<Keys>,
) -> Reply<Json<Introduced>> {
    let Hex(binding) = id("binding id", &binding)?;
    app.authority.call(move |core| core.binding_keys(BindingId(binding), &keys)).await.map(Json)
}

/// Takes the keys of a binding that somebody else made and that the ledger holds (A208).
#[utoipa::path(
    post,
    path = "/bindings/{id}/adopt",
    params(("id" = Hex<16>, Path)),
    request_body = Adopt,
    responses((status = 200, body = Adopted), (status = 404), (status = 409))
)]
pub(crate) async fn adopt(
    State(app): App,
    Segments(binding): Segments<String>,
    Body(request): Body<Adopt>,
) -> Reply<Json<Adopted>> {
    let Hex(binding) = id("binding id", &binding)?;
    extract::label("creator", &request.creator)?;
    app.authority.call(move |core| core.adopt(BindingId(binding), &request)).await?;
    Ok(Json(Adopted { binding_id: Hex(binding), status: "adopted".into() }))
}

/// Completes a binding; answers once a block holds it (A23).
#[utoipa::path(
    post,
    path = "/bindings/{id}/complete",
    params(("id" = Hex<16>, Path)),
    request_body = Complete,
    responses((status = 200, body = Bound), (status = 401), (status = 403), (status = 404), (status = 409), (status = 410), (status = 422), (status = 504))
)]
pub(crate) async fn complete(
    State(app): App,
    Segments(binding): Segments<String>,
    Body(request): Body<Complete>,
) -> Reply<Json<Bound>> {
    let Hex(binding) = id("binding id", &binding)?;
    let Sides { a, b } = request.signatures;
    let signatures = Sides { a: a.0, b: b.0 };
    let replacements = [request.replacements.a, request.replacements.b];
    let (tx, record) = complete_binding(&app, BindingId(binding), signatures, replacements).await?;
    let assurance =
        lct::binding::BindingRecord::decode(&record).map_err(|e| Refusal::internal(&e))?.assurance;
    Ok(Json(Bound {
        binding_id: Hex(binding),
        status: "bound".into(),
        txhash: Hex(tx),
        record: Blob::from(record.as_slice()),
        assurance: assurance.name().into(),
    }))
}

/// Has a binding recorded under the signatures of both; its transaction and its record.
pub(crate) async fn complete_binding(
    app: &Shared,
    binding_id: BindingId,
    signatures: Sides<[u8; 64]>,
    replacements: [Option<Replacement>; 2],
) -> Reply<(TxId, [u8; RECORD_LEN])> {
    let replacements = Arc::new(replacements);
    let mut lost = None;
    loop {
        let replacements = replacements.clone();
        let step = move |core: &mut crate::authority::Core| {
            core.complete_binding(binding_id, &signatures, &replacements, lost)
        };
        let (tx, record) = match app.authority.call(step).await? {
            BindingProgress::Recorded { tx, record } => return Ok((tx, record)),
            BindingProgress::Waits { tx, record } => (tx, Some(record)),
            BindingProgress::Clears { tx } => (tx, None),
        };
        match (app.included(&tx).await, record) {
            (Ok(()), Some(record)) => return Ok((tx, record)),
            (Ok(()), None) => {}
            // A transaction that left the queue is made anew, once.
            (Err(NotIncluded::Lost), _) if lost.is_none() => lost = Some(tx),
            (Err(why), _) => return Err(why.into()),
        }
    }
}
