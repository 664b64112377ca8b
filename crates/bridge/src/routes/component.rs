//! `GET /components` (A206), `POST /components/register`, `GET /components/{id}` (A14 to A16), `GET /components/{id}/anchors` (A51),
//! `GET /components/{id}/relations` (A64), `GET /components/{id}/statements` (A66).

use api::{
    component::{
        AccessPoint, AnchorView, Anchors, BindingView, Component, Components, Hop, Link, Owner, Register,
        Registered, Registration as Listed, Relations, Seen, Statements,
    },
    encoding::{ComponentId, Hex},
    problem::code,
};
use axum::{Json, extract::State};
use lct::{
    id::{Cid, Role},
    registration::Registration,
    revocation::Reason,
    validation::Protocol,
};
use ledger::{
    codec::Canonical,
    mrh::DEFAULT_DEPTH,
    records::{self, Anchor, Status, key},
    tx::{Body as TxBody, Target, Tx, TxId},
};
use node::Snapshot;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{App, transaction::in_office};
use crate::{
    Shared,
    authority::{component_id, registration_of},
    extract::{self, Body, Options, Segments, When},
    list::{self, List, Page},
    memo::{Lasting, lasting},
    refusal::{Refusal, Reply},
};

/// What a register request turned out to be.
enum Submitted {
    /// The ledger holds this very component; the transaction that registered it.
    Known(TxId, Hex<32>),
    /// Its transaction waits for a block.
    Waits(TxId),
}

/// Registers a component; answers once a block holds it (A14, A15).
#[utoipa::path(
    post,
    path = "/components/register",
    request_body = Register,
    responses((status = 200, body = Registered), (status = 401), (status = 403), (status = 409), (status = 410), (status = 422), (status = 504))
)]
pub(crate) async fn register(State(app): App, Body(request): Body<Register>) -> Reply<Json<Registered>> {
    extract::label("creator", &request.creator)?;
    if !request.context.is_empty() {
        extract::label("context", &request.context)?;
    }
    let bytes = request.transaction.0;
    let statement = registration(&app, &bytes)?;
    let component_id = statement.component_id.as_str().to_string();
    tracing::info!(creator = request.creator, component_id, "registration submitted");
    let cid = Cid::of(&component_id);
    let wanted = statement.clone();
    let submitted = app.blocking(move |chain| {
        if let Some((tx, lct)) = known(&chain.read()?, &cid, &wanted)? {
            return Ok(Submitted::Known(tx, lct));
        }
        Ok(Submitted::Waits(chain.submit(bytes)?))
    });
    let (tx, lct_id) = match submitted.await? {
        Submitted::Known(tx, lct) => (tx, lct),
        Submitted::Waits(tx) => {
            let refused = app.included(&tx).await.err();
            // Refused may mean that the same registration was faster on another way.
            match (app.blocking(move |chain| known(&chain.read()?, &cid, &statement)).await, refused) {
                (Ok(Some(found)), _) => found,
                (Err(conflict), _) => return Err(conflict),
                (Ok(None), Some(refused)) => return Err(refused.into()),
                (Ok(None), None) => {
                    return Err(Refusal::internal(&"an included registration is not in the state"));
                }
            }
        }
    };
    Ok(Json(Registered {
        component_identity: component_id.clone(),
        component_id,
        lct_id,
        status: "registered".into(),
        txhash: Hex(tx),
        creator: request.creator,
        component_data: request.component_data,
        context: request.context,
    }))
}

/// The registration inside a transaction.
fn registration(app: &Shared, bytes: &[u8]) -> Reply<Registration> {
    let tx = Tx::from_bytes(bytes).map_err(|e| Refusal::format(format!("transaction: {e}")))?;
    in_office(app, &tx)?;
    let TxBody::Register { statement, .. } = tx.unsigned.body else {
        return Err(Refusal::new(400, code::KIND, "the transaction does not register a component"));
    };
    Registration::decode(&statement).map_err(|e| {
        let rejection = match e {
            lct::Error::WrongParty => ledger::reject::Rejection::AttestMismatch,
            _ => ledger::reject::Rejection::StatementFormat,
        };
        Refusal::from(rejection)
    })
}

/// The registered component if it is the one that `wanted` describes; refused if it is another one.
fn known(snapshot: &Snapshot<'_>, cid: &Cid, wanted: &Registration) -> Reply<Option<(TxId, Hex<32>)>> {
    let Some(component) = snapshot.component(cid)? else { return Ok(None) };
    let (tx, registered) = registration_of(snapshot, cid, component.height)?
        .ok_or_else(|| Refusal::internal(&"a component without its registration"))?;
    if registered != *wanted {
        return Err(Refusal::new(
            409,
            code::REGISTRY_EXISTS,
            "the component is already registered with other data",
        ));
    }
    Ok(Some((tx, Hex(component.lct))))
}

/// Which components, and after which block.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// Only of this role.
    #[param(pattern = "^(app|pack|module|sensor|actuator)$")]
    role: Option<String>,
    /// Height of the block; the last one where it is left out.
    height: Option<u64>,
}

/// The components that there are (A206).
#[utoipa::path(
    get,
    path = "/components",
    params(Page, Which),
    responses((status = 200, body = Components), (status = 404), (status = 410))
)]
pub(crate) async fn list(State(app): App, list: List<Which>) -> Reply<Lasting<Json<Components>>> {
    let List { page, of: which } = list;
    let roles = [Role::App, Role::Pack, Role::Module, Role::Sensor, Role::Actuator];
    let role = which.role.map(|word| {
        let found = roles.into_iter().find(|role| role.name() == word);
        found.ok_or_else(|| Refusal::format("role: app, pack, module, sensor or actuator"))
    });
    let role = role.transpose()?;
    app.told(which.height, move |snapshot| {
        let (rows, next) = page.scan(snapshot, key::COMPONENTS, |component: &records::Component| {
            role.is_none_or(|role| role == component.role)
        })?;
        let row = |(rest, c): (Vec<u8>, records::Component)| {
            Ok(Listed {
                component_id: c.component_id,
                cid: Hex(list::name(rest)?),
                role: c.role.name().into(),
                status: c.status.name().into(),
                registered_at: c.time_ms / 1000,
                lct_id: Hex(c.lct),
                serial: c.serial,
                hardware_version: c.hw,
                firmware_version: c.fw,
                capacity_mwh: c.capacity_mwh,
            })
        };
        let components = rows.into_iter().map(row).collect::<Reply<_>>()?;
        Ok(Json(Components { height: snapshot.tip().height, components, next }))
    })
    .await
}

/// A component and its bindings (A16).
#[utoipa::path(
    get,
    path = "/components/{id}",
    params(("id" = ComponentId, Path), When),
    responses((status = 200, body = Component), (status = 404), (status = 410))
)]
pub(crate) async fn component(
    State(app): App,
    Segments(id): Segments<String>,
    Options(when): Options<When>,
) -> Reply<Lasting<Json<Component>>> {
    app.glance(when.height, move |snapshot| Ok(lasting(snapshot, when.height, Json(view(snapshot, &id)?))))
        .await
}

/// The anchors of the audit logs of a component (A51).
#[utoipa::path(
    get,
    path = "/components/{id}/anchors",
    params(("id" = ComponentId, Path), Page, When),
    responses((status = 200, body = Anchors), (status = 404), (status = 410))
)]
pub(crate) async fn anchors(
    State(app): App,
    Segments(id): Segments<String>,
    list: List<When>,
) -> Reply<Lasting<Json<Anchors>>> {
    let List { page, of: when } = list;
    app.told(when.height, move |snapshot| {
        let cid = cid_of(snapshot, &id)?;
        let (rows, next) = page.scan(snapshot, &key::anchors_of(&cid), |_: &Anchor| true)?;
        let view = |(rest, a): (Vec<u8>, Anchor)| {
            let name: [u8; 24] = list::name(rest)?;
            let (binding, number) = name.split_at(16);
            Ok(AnchorView {
                binding_id: Hex(list::name(binding.to_vec())?),
                number: u64::from_be_bytes(list::name(number.to_vec())?),
                hash: Hex(a.hash),
                time: a.time,
                signing_key: Hex(a.key.0),
                txhash: Hex(a.tx),
                height: a.height,
            })
        };
        let anchors = rows.into_iter().map(view).collect::<Reply<_>>()?;
        Ok(Json(Anchors { cid: Hex(cid.0), height: snapshot.tip().height, anchors, next }))
    })
    .await
}

/// The cid that `id` names: a component id, or a cid in hexadecimal.
pub(crate) fn cid_of(snapshot: &Snapshot<'_>, id: &str) -> Reply<Cid> {
    if !lct::id::valid_component_id(id) {
        return Err(Refusal::format("component id: 3 to 64 characters of A-Z, a-z, 0-9, _ and -"));
    }
    for cid in [Some(Cid::of(id)), id.parse().ok().map(|Hex(cid)| Cid(cid))].into_iter().flatten() {
        if snapshot.component(&cid)?.is_some() {
            return Ok(cid);
        }
    }
    Err(Refusal::new(404, code::COMPONENT_NOT_FOUND, "the component is not registered"))
}

fn view(snapshot: &Snapshot<'_>, id: &str) -> Reply<Component> {
    let cid = cid_of(snapshot, id)?;
    let Some(c) = snapshot.component(&cid)? else {
        return Err(Refusal::internal(&"a component vanished from a snapshot"));
    };
    let mut bindings = Vec::new();
    for (binding_id, b) in snapshot.bindings_of(&cid)? {
        let (partner, signing_key) = if b.a == cid { (b.b, b.key_a) } else { (b.a, b.key_b) };
        let assurance = lct::binding::Assurance::from_code(b.assurance).map_err(|e| Refusal::internal(&e))?;
        let revocation = snapshot.revocation(&Target::Binding(binding_id))?;
        let reason =
            revocation.and_then(|r| Reason::from_code(r.reason).ok()).map(api::revocation::reason_name);
        let Some(other) = snapshot.component(&partner)? else {
            return Err(Refusal::internal(&"a bound component vanished from a snapshot"));
        };
        bindings.push(BindingView {
            partner_role: other.role.name().into(),
            binding_id: Hex(binding_id.0),
            partner: Hex(partner.0),
            partner_id: component_id(snapshot, &partner)?,
            signing_key: Hex(signing_key.0),
            assurance: assurance.name().into(),
            status: b.status.name().into(),
            reason: reason.map(Into::into),
            created_at: b.time_ms / 1000,
        });
    }
    let active = bindings.iter().filter(|b| b.status == Status::Active.name());
    Ok(Component {
        signing_keys: active.map(|b| b.signing_key).collect(),
        component_id: c.component_id,
        cid: Hex(cid.0),
        height: snapshot.tip().height,
        role: c.role.name().into(),
        component_type: c.role.name().into(),
        status: c.status.name().into(),
        registered_at: c.time_ms / 1000,
        lct_id: Hex(c.lct),
        serial: c.serial,
        hardware_version: c.hw,
        firmware_version: c.fw,
        capacity_mwh: c.capacity_mwh,
        opening_soc_ppm: c.opening_soc_ppm,
        device_key: Hex(c.device_key.0),
        bindings,
    })
}

/// The recorded events of a component (A66).
#[utoipa::path(
    get,
    path = "/components/{id}/statements",
    params(("id" = ComponentId, Path), When),
    responses((status = 200, body = Statements), (status = 404), (status = 410))
)]
pub(crate) async fn statements(
    State(app): App,
    Segments(id): Segments<String>,
    Options(when): Options<When>,
) -> Reply<Lasting<Json<Statements>>> {
    app.told(when.height, move |snapshot| {
        let cid = cid_of(snapshot, &id)?;
        let all = snapshot.validations_of(&cid)?;
        let stated = Statements::of(component_id(snapshot, &cid)?, &cid, snapshot.tip().height, &all);
        stated.map(Json).map_err(|e| Refusal::internal(&e))
    })
    .await
}

/// What a component is bound to and paired with, and whom it sees (A64).
#[utoipa::path(
    get,
    path = "/components/{id}/relations",
    params(("id" = ComponentId, Path), When),
    responses((status = 200, body = Relations), (status = 404), (status = 410))
)]
pub(crate) async fn relations(
    State(app): App,
    Segments(id): Segments<String>,
    Options(when): Options<When>,
) -> Reply<Lasting<Json<Relations>>> {
    app.told(when.height, move |snapshot| in_force(snapshot, &id).map(Json)).await
}

/// What a component is to others.
fn in_force(snapshot: &Snapshot<'_>, id: &str) -> Reply<Relations> {
    let cid = cid_of(snapshot, id)?;
    let Some(c) = snapshot.component(&cid)? else {
        return Err(Refusal::internal(&"a component vanished from a snapshot"));
    };
    let mut links = Vec::new();
    let mut link = |relation: &str, id: [u8; 16], peer: Cid, time_ms: u64, expires_at| -> Reply<()> {
        let (peer_id, peer, recorded_at) = (component_id(snapshot, &peer)?, Hex(peer.0), time_ms / 1000);
        links.push(Link { relation: relation.into(), id: Hex(id), peer, peer_id, expires_at, recorded_at });
        Ok(())
    };
    for (id, b) in snapshot.bindings_of(&cid)? {
        if b.status == Status::Active {
            link("bound", id.0, if b.a == cid { b.b } else { b.a }, b.time_ms, None)?;
        }
    }
    for (id, p) in snapshot.pairings_of(&cid)? {
        if p.in_force(snapshot.tip().time_ms) {
            link("paired", id.0, if p.a == cid { p.b } else { p.a }, p.time_ms, Some(p.expires_ms / 1000))?;
        }
    }
    let mut horizon = Vec::new();
    for reached in snapshot.horizon(&cid, DEFAULT_DEPTH)?.reached {
        let Some((via, link)) = reached.via else { continue };
        horizon.push(Seen {
            component_id: component_id(snapshot, &reached.cid)?,
            cid: Hex(reached.cid.0),
            hops: reached.hops,
            weight_ppm: reached.weight_ppm,
            via: component_id(snapshot, &via)?,
            link: link.name().into(),
        });
    }
    let hops = snapshot.hops_of(&cid)?;
    let hops = hops.into_iter().map(|h| Hop {
        from: Hex(h.from.0),
        to: Hex(h.to.0),
        time: h.time_ms / 1000,
        txhash: Hex(h.tx),
    });
    let access = snapshot.access(&cid)?.map(|a| -> Reply<AccessPoint> {
        let protocol = Protocol::from_code(a.protocol).map_err(|e| Refusal::internal(&e))?;
        let (endpoint, device) = (a.endpoint, a.device);
        Ok(AccessPoint { protocol: protocol.name().into(), endpoint, device, boot: a.boot, seq: a.seq })
    });
    Ok(Relations {
        component_id: c.component_id,
        cid: Hex(cid.0),
        height: snapshot.tip().height,
        lct_id: Hex(c.lct),
        status: c.status.name().into(),
        owner: snapshot.ownership(&cid)?.map(|o| Owner {
            key: Hex(o.owner.0),
            last_transfer: Hex(o.last),
            hops: hops.collect(),
        }),
        access: access.transpose()?,
        links,
        horizon,
    })
}
