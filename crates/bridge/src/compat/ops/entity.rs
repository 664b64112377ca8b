//! The contract of `entities`: the same operations under other names. An entity is a component and is named
//! `lct:web4:entity:TYPE:ID`; its LCT or its component id name it too.

use ::lct::id::Cid;
use api::{
    Fixed, Hex,
    order::{Place, State, Task, order_digest},
    problem::code,
};
use node::Snapshot;
use rand_core::Rng;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    super::{Ctx, ids::parse},
    known, pairing, required,
    trust::denied,
};
use crate::{
    authority::registration_of,
    entropy,
    refusal::{Refusal, Reply},
};

/// How long something that a device is to state waits for its gateway, in seconds.
const STATE_S: u64 = 3600;

/// An entity that is to be known.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CreateEntityRequest {
    /// What it is; must be what it registered as, if given.
    pub entity_type: String,
    /// The same, as some clients call it.
    pub component_type: String,
    /// Component id.
    pub unique_id: String,
    /// The same, as some clients call it.
    pub component_id: String,
    /// Serial number; must be the registered one, if given.
    pub hardware_serial: String,
    /// Identity key in hexadecimal; must be the registered one, if given.
    pub public_key: String,
    /// Not looked at.
    pub metadata: Value,
    /// Not looked at.
    pub device_info: Value,
}

/// `GET /entities/{lct}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct GetEntityRequest {
    /// Who.
    pub lct: String,
}

/// An entity.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EntityResponse {
    /// `success`.
    pub status: String,
    /// Its state on the ledger.
    pub state: String,
    /// `lct:web4:entity:TYPE:ID`.
    pub lct: String,
    /// What it is.
    pub entity_type: String,
    /// Component id.
    pub unique_id: String,
    /// Serial number.
    pub hardware_serial: String,
    /// Identity key in hexadecimal.
    pub public_key: String,
    /// Transaction that registered it.
    pub txhash: String,
    /// When, `YYYY-MM-DDTHH:MM:SSZ`.
    pub created_at: String,
    /// Its cid in hexadecimal.
    pub blockchain_address: String,
}

/// Asks whether an entity is bound to its hardware.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct BindEntityRequest {
    /// Who.
    pub entity_lct: String,
    /// Serial number; must be the registered one.
    pub hardware_serial: String,
    /// Not looked at: the proof of possession of the registration is on the ledger.
    pub binding_proof: Value,
}

/// An entity and its hardware.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BindEntityResponse {
    /// `binding:web4:CID`.
    pub binding_id: String,
    /// `success`.
    pub status: String,
    /// The registration, which is this binding.
    pub txhash: String,
    /// Always: another identity is another component.
    pub immutable: bool,
}

/// Wants two entities paired.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct PairEntitiesRequest {
    /// Who asks; the default creator where it is left out.
    pub creator: String,
    /// One.
    pub initiator_lct: String,
    /// The other.
    pub target_lct: String,
    /// `symmetric_key`, the only one.
    pub pairing_type: String,
    /// Not looked at: devices pair under the keys of their binding.
    pub public_key_initiator: Value,
    /// Not looked at.
    pub metadata: Value,
}

/// A pairing that was asked for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PairEntitiesResponse {
    /// `pending`.
    pub status: String,
    /// Where the order stands.
    pub state: String,
    /// `pairing:web4:..`.
    pub pairing_id: String,
    /// The order's identity.
    pub challenge: String,
    /// Until when a gateway may do it, `YYYY-MM-DDTHH:MM:SSZ`.
    pub expires_at: String,
}

/// Asks for the end of a pairing's making.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CompleteEntitiesRequest {
    /// Who asks; the default creator where it is left out.
    pub creator: String,
    /// Which.
    pub pairing_id: String,
    /// Not looked at: the device's own signature is on the ledger.
    pub target_response: Value,
    /// Not looked at.
    pub shared_secret_hash: Value,
}

/// A pairing that is complete.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CompleteEntitiesResponse {
    /// `completed`.
    pub status: String,
    /// Which.
    pub pairing_id: String,
    /// Transaction with both signatures.
    pub txhash: String,
    /// Always: the two are in each other's horizon.
    pub mrh_link_created: bool,
}

/// Wants a device to state something: that it is there, or under the eyes of another one.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct StateRequest {
    /// Who asks; the default creator where it is left out.
    pub creator: String,
    /// Who announces itself.
    pub entity_lct: String,
    /// Who is seen.
    pub subject_lct: String,
    /// Who sees; the ledger says afterwards who did.
    pub witness_lct: String,
    /// Not looked at: what is stated the device says.
    pub announcement_type: Value,
    /// Not looked at.
    pub event_type: Value,
    /// Not looked at.
    pub timestamp: Value,
    /// Not looked at.
    pub observation: Value,
    /// Not looked at.
    pub payload: Value,
    /// Not looked at: the device signs.
    pub signature: Value,
}

/// What a device is to state.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WitnessResponse {
    /// `witness:web4:..`.
    pub witnessing_id: String,
    /// `pending`.
    pub status: String,
    /// Where the order stands.
    pub state: String,
    /// Whether a witness is on the ledger already.
    pub mrh_tensor_updated: bool,
}

/// What a device is to announce.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BroadcastResponse {
    /// `broadcast:web4:..`.
    pub broadcast_id: String,
    /// `pending`.
    pub status: String,
    /// Where the order stands.
    pub state: String,
    /// Whether the device did it already.
    pub propagated_to_network: bool,
}

/// Would set a tensor.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct TensorRequest {
    /// Of whom.
    pub subject_lct: String,
    /// In which role.
    pub role_lct: String,
    /// By whom.
    pub evaluator_lct: String,
    /// For what.
    pub action_id: String,
    /// By how much.
    pub t3_delta: Value,
    /// By how much.
    pub v3_delta: Value,
    /// Because of what.
    pub evidence_hash: String,
    /// When.
    pub timestamp: Value,
}

fn entity(snapshot: &Snapshot<'_>, field: &str, lct: &str) -> Reply<Cid> {
    required(field, lct)?;
    let name = lct.strip_prefix("lct:web4:entity:").and_then(|rest| rest.split_once(':'));
    if let Some((_, id)) = name {
        return known(snapshot, field, id);
    }
    match parse::<32>(field, "lct", lct) {
        Ok(id) => {
            let lct = snapshot.lct(&id)?.filter(|l| l.a == l.b);
            let missing = || Refusal::new(404, code::LCT_NOT_FOUND, "there is no such LCT of an entity");
            Ok(lct.ok_or_else(missing)?.a)
        }
        Err(_) => known(snapshot, field, lct),
    }
}

fn of(snapshot: &Snapshot<'_>, cid: &Cid) -> Reply<EntityResponse> {
    let gone = || Refusal::internal(&"a component vanished from a snapshot");
    let c = snapshot.component(cid)?.ok_or_else(gone)?;
    // Of a block that is not kept any more it is empty.
    let txhash = registration_of(snapshot, cid, c.height)?.map(|(tx, _)| hex::encode(tx)).unwrap_or_default();
    Ok(EntityResponse {
        status: "success".into(),
        state: c.status.name().into(),
        lct: format!("lct:web4:entity:{}:{}", c.role.name(), c.component_id),
        entity_type: c.role.name().into(),
        unique_id: c.component_id,
        hardware_serial: c.serial,
        public_key: hex::encode(c.device_key.0),
        txhash,
        created_at: api::event::rfc3339(c.time_ms / 1000),
        blockchain_address: hex::encode(cid.0),
    })
}

fn differs(field: &str) -> Refusal {
    let refusal =
        Refusal::new(409, code::REGISTRY_EXISTS, "the component is already registered with other data");
    refusal.detail(format!("{field}: the ledger has another one"))
}

/// Finds an entity that registered itself, and holds what the caller says of it against the ledger.
pub(crate) async fn create(ctx: Ctx, rq: CreateEntityRequest) -> Reply<EntityResponse> {
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let id =
            [rq.unique_id, rq.component_id, rq.hardware_serial.clone()].into_iter().find(|id| !id.is_empty());
        let id = id.ok_or_else(|| Refusal::format("unique_id: missing"))?;
        let cid = match snapshot.with_serial(&id)? {
            Some(cid) => cid,
            None => known(&snapshot, "unique_id", &id)?,
        };
        let found = of(&snapshot, &cid)?;
        let kind = if rq.entity_type.is_empty() { rq.component_type } else { rq.entity_type };
        for (field, said, is) in [
            ("entity_type", kind.to_lowercase(), &found.entity_type),
            ("hardware_serial", rq.hardware_serial, &found.hardware_serial),
            ("public_key", rq.public_key.to_lowercase(), &found.public_key),
        ] {
            if !said.is_empty() && said != *is {
                return Err(differs(field));
            }
        }
        Ok(found)
    };
    ctx.app.blocking(read).await
}

/// An entity.
pub(crate) async fn get(ctx: Ctx, rq: GetEntityRequest) -> Reply<EntityResponse> {
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        of(&snapshot, &entity(&snapshot, "lct", &rq.lct)?)
    };
    ctx.app.blocking(read).await
}

/// An entity and its hardware, which its registration binds to each other.
pub(crate) async fn bind(ctx: Ctx, rq: BindEntityRequest) -> Reply<BindEntityResponse> {
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let found = of(&snapshot, &entity(&snapshot, "entity_lct", &rq.entity_lct)?)?;
        if found.hardware_serial != required("hardware_serial", &rq.hardware_serial)? {
            return Err(differs("hardware_serial"));
        }
        Ok(BindEntityResponse {
            binding_id: format!("binding:web4:{}", found.blockchain_address),
            status: "success".into(),
            txhash: found.txhash,
            immutable: true,
        })
    };
    ctx.app.blocking(read).await
}

/// Orders that two entities be paired.
pub(crate) async fn pair(ctx: Ctx, rq: PairEntitiesRequest) -> Reply<PairEntitiesResponse> {
    if !["", "symmetric_key"].contains(&rq.pairing_type.as_str()) {
        return Err(Refusal::format("pairing_type: `symmetric_key`"));
    }
    let creator = ctx.creator(&rq.creator).await?.name;
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let name = |field, lct| crate::authority::component_id(&snapshot, &entity(&snapshot, field, lct)?);
        Ok((name("initiator_lct", &rq.initiator_lct)?, name("target_lct", &rq.target_lct)?))
    };
    let (component_a, component_b) = ctx.app.blocking(read).await?;
    let wanted = pairing::InitiatePairingRequest { creator, component_a, component_b, ..Default::default() };
    let asked = pairing::initiate(ctx, wanted).await?;
    let order: [u8; 16] = parse("challenge_id", "challenge", &asked.challenge_id)?;
    Ok(PairEntitiesResponse {
        status: "pending".into(),
        state: asked.state,
        pairing_id: format!("pairing:web4:{}", hex::encode(order)),
        challenge: asked.challenge_id,
        expires_at: api::event::rfc3339(asked.expires_at.cast_unsigned()),
    })
}

/// Waits until the devices paired.
pub(crate) async fn complete(ctx: Ctx, rq: CompleteEntitiesRequest) -> Reply<CompleteEntitiesResponse> {
    let creator = ctx.creator(&rq.creator).await?.name;
    let order = required("pairing_id", &rq.pairing_id)?;
    let challenge_id = order.strip_prefix("pairing:web4:").unwrap_or(order).to_owned();
    let wanted = pairing::CompletePairingRequest { creator, challenge_id, ..Default::default() };
    let done = pairing::complete(ctx, wanted).await?;
    Ok(CompleteEntitiesResponse {
        status: "completed".into(),
        pairing_id: rq.pairing_id,
        txhash: done.txhash,
        mrh_link_created: true,
    })
}

/// Orders that a device state something at a validation level (A90).
async fn order(
    ctx: &Ctx,
    creator: &str,
    field: &'static str,
    lct: String,
    level: u8,
) -> Reply<(String, State)> {
    let creator = ctx.creator(creator).await?;
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let cid = entity(&snapshot, field, &lct)?;
        Ok((cid, crate::authority::component_id(&snapshot, &cid)?))
    };
    let (cid, name) = ctx.app.blocking(read).await?;
    let mut id = [0; 16];
    entropy::with(|rng| rng.fill_bytes(&mut id))?;
    let expires_at = ctx.app.now_s() + STATE_S;
    let what = (Task::Validate, Some(level));
    let digest = order_digest(&ctx.app.chain.chain_id(), &id, expires_at, what, &cid, &cid);
    let place = Place {
        creator: creator.name.clone(),
        id: Hex(id),
        task: Task::Validate,
        level: Some(level),
        a: name.clone(),
        b: name,
        expires_at,
        key: Hex(creator.key.0),
        signature: Fixed(ctx.sign_as(&creator, &digest)?.0),
    };
    let order = ctx.app.authority.call(move |core| core.place_order(&place)).await?;
    Ok((hex::encode(id), order.state))
}

/// Orders that a device state something under the eyes of others, whose word then stands on the ledger.
pub(crate) async fn witness(ctx: Ctx, rq: StateRequest) -> Reply<WitnessResponse> {
    required("witness_lct", &rq.witness_lct)?;
    let (id, state) = order(&ctx, &rq.creator, "subject_lct", rq.subject_lct, 2).await?;
    Ok(WitnessResponse {
        witnessing_id: format!("witness:web4:{id}"),
        status: "pending".into(),
        state: pairing::word(state).into(),
        mrh_tensor_updated: false,
    })
}

/// Orders that a device announce itself.
pub(crate) async fn broadcast(ctx: Ctx, rq: StateRequest) -> Reply<BroadcastResponse> {
    let (id, state) = order(&ctx, &rq.creator, "entity_lct", rq.entity_lct, 1).await?;
    Ok(BroadcastResponse {
        broadcast_id: format!("broadcast:web4:{id}"),
        status: "pending".into(),
        state: pairing::word(state).into(),
        propagated_to_network: false,
    })
}

/// Refused: a tensor follows from evidence.
pub(crate) async fn tensor(_: Ctx, _: TensorRequest) -> Reply<Value> {
    Err(denied().detail(
        "what changes it: reports that devices sign, and events that others witness (POST /transactions)",
    ))
}
