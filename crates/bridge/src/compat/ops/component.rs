//! Components. They register with what their manufacturer attests, by themselves or through a gateway: nobody registers one
//! by naming it. So `register` finds it, by the serial number or id that is its `component_data`.

use ::lct::{attest::verify_chain, id::Cid, revocation::batch_id};
use api::problem::code;
use ledger::{records::Component, tx::Target};
use node::{Snapshot, past::PastError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    super::{Ctx, ids::id},
    hash, known, required,
};
use crate::{
    authority::registration_of,
    refusal::{Refusal, Reply},
};

/// `RegisterComponent`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RegisterComponentRequest {
    /// Who asks.
    pub creator: String,
    /// Serial number or id of the component, or an object with `serial`, `serial_number` or `component_id`.
    pub component_data: Value,
    /// What for; echoed.
    pub context: String,
}

/// A component as older clients know it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ComponentResponse {
    /// Its id.
    pub component_id: String,
    /// The same.
    pub component_identity: String,
    /// What its registration said.
    pub component_data: String,
    /// What for.
    pub context: String,
    /// Who asked.
    pub creator: String,
    /// Its entity LCT.
    pub lct_id: String,
    /// `registered` or `active`.
    pub status: String,
    /// Its state on the ledger.
    pub state: String,
    /// Transaction that registered it.
    pub txhash: String,
    /// What it is: `app`, `pack`, `module`, `sensor`, `actuator`.
    pub component_type: String,
    /// When it was registered.
    pub created_at: i64,
}

/// `GetComponent`, `GetComponentIdentity`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct GetComponentRequest {
    /// Id or cid.
    pub component_id: String,
}

/// What is known of a component's identity.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct GetComponentIdentityResponse {
    /// Its id.
    pub component_id: String,
    /// Its identity key, 66 hexadecimal digits.
    pub identity: String,
    /// `active` when it is verified.
    pub status: String,
    /// Its state on the ledger.
    pub state: String,
    /// Whether what it registered with holds.
    pub verified: bool,
    /// How that was found.
    pub verification: Verification,
}

/// How a component was verified.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Verification {
    /// Its id.
    pub component_id: String,
    /// `verified` or `rejected`.
    pub status: String,
    /// When, Unix seconds.
    pub verified_at: i64,
    /// `manufacturer_attestation`.
    pub verification_method: String,
    /// Transaction with the certificates.
    pub verification_evidence: String,
    /// Why it is rejected.
    pub notes: String,
}

/// `VerifyComponent`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct VerifyComponentRequest {
    /// Who asks.
    pub creator: String,
    /// Id or cid.
    pub component_id: String,
    /// What for; echoed.
    pub context: String,
}

/// Whether what a component registered with holds.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VerifyComponentResponse {
    /// Its id.
    pub component_id: String,
    /// Who asked.
    pub verifier: String,
    /// Whether it does.
    pub verified: bool,
    /// Serial number.
    pub component_data: String,
    /// `verified` or `rejected`.
    pub status: String,
    /// The same.
    pub state: String,
    /// Why it is rejected; empty when it is not.
    pub notes: String,
    /// What for.
    pub context: String,
    /// Transaction with the certificates.
    pub txhash: String,
    /// When it was looked at.
    pub timestamp: i64,
}

/// What was said when a component was registered through an old call.
#[derive(Default, Serialize, Deserialize)]
struct Said {
    creator: String,
    component_data: String,
    context: String,
}

fn said_of(component_id: &str) -> String {
    format!("component/{component_id}")
}

/// What `component_data` names.
fn named(data: &Value) -> Reply<String> {
    let missing = || Refusal::format("component_data: a serial number or a component id");
    let object = |data: &Value| {
        let names = ["serial", "serial_number", "serialNumber", "component_id", "id"];
        names.iter().find_map(|name| data.get(name).and_then(Value::as_str)).map(str::to_owned)
    };
    match data {
        // Some clients send an object as text.
        Value::String(text) => {
            let inner = serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
            let name = inner.map_or_else(|| Some(text.clone()), |inner| object(&inner));
            name.filter(|name| !name.is_empty()).ok_or_else(missing)
        }
        Value::Object(_) => object(data).filter(|name| !name.is_empty()).ok_or_else(missing),
        _ => Err(missing()),
    }
}

fn text(data: &Value) -> String {
    data.as_str().map_or_else(|| data.to_string(), str::to_owned)
}

fn of(snapshot: &Snapshot<'_>, cid: &Cid) -> Reply<(Component, String)> {
    let gone = || Refusal::internal(&"a component vanished from a snapshot");
    let component = snapshot.component(cid)?.ok_or_else(gone)?;
    // Of a block that is not kept any more it is empty.
    let registered = registration_of(snapshot, cid, component.height)?;
    Ok((component, registered.map(|(tx, _)| hash(&tx)).unwrap_or_default()))
}

fn response(component: Component, txhash: String, said: Said, status: &str) -> ComponentResponse {
    let Said { creator, component_data, context } = said;
    ComponentResponse {
        component_identity: component.component_id.clone(),
        component_data: if component_data.is_empty() { component.serial } else { component_data },
        context: if context.is_empty() { component.role.name().into() } else { context },
        component_id: component.component_id,
        creator,
        lct_id: id("lct", &component.lct),
        status: status.into(),
        state: component.status.name().into(),
        txhash,
        component_type: component.role.name().into(),
        created_at: (component.time_ms / 1000).cast_signed(),
    }
}

/// Finds a registered component, and writes down what the caller says of it.
pub(crate) async fn register(ctx: Ctx, rq: RegisterComponentRequest) -> Reply<ComponentResponse> {
    let creator = ctx.creator(required("creator", &rq.creator)?).await?;
    let name = named(&rq.component_data)?;
    let made = Ctx::held_id(&creator, &text(&rq.component_data), &rq.context);
    let (wanted, also) = (name.clone(), Cid::of(&made));
    let find = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let of_serial = snapshot.with_serial(&wanted)?;
        let candidates = of_serial.into_iter().chain([also]);
        for cid in candidates {
            if snapshot.component(&cid)?.is_some() {
                return of(&snapshot, &cid).map(Some);
            }
        }
        match known(&snapshot, "component_data", &wanted) {
            Ok(cid) => of(&snapshot, &cid).map(Some),
            Err(Refusal(p)) if p.status == 500 => Err(Refusal(p)),
            Err(_) => Ok(None),
        }
    };
    let mut found = ctx.app.blocking(find.clone()).await?;
    if found.is_none() && ctx.compat()?.speaks() {
        ctx.make(&creator, &made, &name, &format!("{} {name}", rq.context)).await?;
        found = ctx.app.blocking(find).await?;
    }
    let (component, txhash) = found.ok_or_else(|| {
        let refusal = Refusal::new(404, code::COMPONENT_NOT_FOUND, "the component is not registered");
        refusal.detail(
            "component_data: the ledger has no component with this id or serial number; it registers with its \
             manufacturer's attestation, through its gateway or with a signed transaction",
        )
    })?;
    if component.status.is_final() {
        return Err(Refusal::new(410, code::COMPONENT_REVOKED, "the component's registration was withdrawn"));
    }
    let said = || Said {
        creator: creator.name.clone(),
        component_data: text(&rq.component_data),
        context: rq.context.clone(),
    };
    ctx.compat()?.book.put(&said_of(&component.component_id), &said())?;
    Ok(response(component, txhash, said(), "registered"))
}

/// What the ledger holds of a component.
pub(crate) async fn get(ctx: Ctx, rq: GetComponentRequest) -> Reply<ComponentResponse> {
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let cid = known(&snapshot, "component_id", &rq.component_id)?;
        of(&snapshot, &cid)
    };
    let (component, txhash) = ctx.app.blocking(read).await?;
    let said = match &ctx.app.compat {
        Some(compat) => compat.book.get(&said_of(&component.component_id))?.unwrap_or_default(),
        None => Said::default(),
    };
    let status = component.status.name();
    Ok(response(component, txhash, said, status))
}

/// Looks at the certificates of a registration as they are to be judged at the time of the last block.
fn check(snapshot: &Snapshot<'_>, cid: &Cid) -> Reply<(Component, String, Option<&'static str>)> {
    let (component, txhash) = of(snapshot, cid)?;
    let Some((_, registration)) = registration_of(snapshot, cid, component.height)? else {
        // Its certificates are in its registration, and nobody can say whether they hold without them.
        let (height, oldest) = (component.height, snapshot.first_whole()?);
        return Err(PastError::Forgotten { height, oldest }.into());
    };
    let now = u32::try_from(snapshot.tip().time_ms / 1000).unwrap_or(u32::MAX);
    let batch = registration.batch.subject().map_err(|e| Refusal::internal(&e))?;
    let why = if component.status.is_final() {
        Some("the component was withdrawn")
    } else if snapshot.revocation(&Target::Batch(batch_id(&batch.key)))?.is_some() {
        Some("the batch authority of its certificate was revoked")
    } else if verify_chain(&registration.device, &registration.batch, &snapshot.roots()?, Some(now)).is_err()
    {
        Some("its certificates lead to no root of the chain, or are not in force")
    } else {
        None
    };
    Ok((component, txhash, why))
}

/// What is known of a component's identity.
pub(crate) async fn identity(ctx: Ctx, rq: GetComponentRequest) -> Reply<GetComponentIdentityResponse> {
    let now = ctx.app.now_s().cast_signed();
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let cid = known(&snapshot, "component_id", &rq.component_id)?;
        let (component, txhash, why) = check(&snapshot, &cid)?;
        Ok(GetComponentIdentityResponse {
            identity: hex::encode(component.device_key.0),
            status: if why.is_none() { "active" } else { "rejected" }.into(),
            state: component.status.name().into(),
            verified: why.is_none(),
            verification: Verification {
                component_id: component.component_id.clone(),
                status: if why.is_none() { "verified" } else { "rejected" }.into(),
                verified_at: now,
                verification_method: "manufacturer_attestation".into(),
                verification_evidence: txhash,
                notes: why.unwrap_or_default().into(),
            },
            component_id: component.component_id,
        })
    };
    ctx.app.blocking(read).await
}

/// Verifies again what a component registered with.
pub(crate) async fn verify(ctx: Ctx, rq: VerifyComponentRequest) -> Reply<VerifyComponentResponse> {
    let timestamp = ctx.app.now_s().cast_signed();
    crate::extract::label("creator", required("creator", &rq.creator)?)?;
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let cid = known(&snapshot, "component_id", &rq.component_id)?;
        let (component, txhash, why) = check(&snapshot, &cid)?;
        let word = if why.is_none() { "verified" } else { "rejected" };
        Ok(VerifyComponentResponse {
            component_id: component.component_id,
            verifier: rq.creator,
            verified: why.is_none(),
            component_data: component.serial,
            status: word.into(),
            state: word.into(),
            notes: why.unwrap_or_default().into(),
            context: rq.context,
            txhash,
            timestamp,
        })
    };
    ctx.app.blocking(read).await
}
