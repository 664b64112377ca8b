//! Pairing. Devices pair, under their own keys and with their own proofs; what a client asks for is an order (A60) to the
//! gateway that holds their channel, and a challenge is that order. So nothing that a client says in `complete` proves
//! anything, and nothing of it is believed: the pairing is complete when the ledger has both signatures.

use std::time::Duration;

use ::lct::{
    id::{Cid, PairingId, Role, is_side_a},
    revocation::Reason,
};
use api::{
    Fixed, Hex,
    order::{Order, Place, State, Task, order_digest},
    problem::code,
};
use ledger::tx::Target;
use node::Snapshot;
use rand_core::Rng;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{
        Ctx,
        ids::{id, parse},
        sign::Creator,
    },
    context, hash, required,
};
use crate::{
    authority::{active_binding, find_tx},
    entropy,
    refusal::{Refusal, Reply},
};

/// How long a challenge waits for a gateway, in seconds.
const CHALLENGE_S: u64 = 3600;
/// How long `complete` waits for the devices.
const COMPLETE: Duration = Duration::from_secs(25);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// `InitiatePairing`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct InitiatePairingRequest {
    /// Who asks.
    pub creator: String,
    /// One component.
    pub component_a: String,
    /// The other.
    pub component_b: String,
    /// What for; echoed.
    pub operational_context: String,
    /// Who asks in another one's place; echoed.
    pub proxy_id: String,
    /// Echoed: an order goes out at once anyhow.
    pub force_immediate: bool,
}

/// A pairing that was asked for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct InitiatePairingResponse {
    /// The order.
    pub challenge_id: String,
    /// One component.
    pub component_a: String,
    /// The other.
    pub component_b: String,
    /// What for.
    pub operational_context: String,
    /// Echoed.
    pub proxy_id: String,
    /// Echoed.
    pub force_immediate: bool,
    /// `pending`.
    pub status: String,
    /// Where the order stands.
    pub state: String,
    /// When.
    pub created_at: i64,
    /// Who asked.
    pub creator: String,
    /// Until when a gateway may do it.
    pub expires_at: i64,
}

/// `CompletePairing`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CompletePairingRequest {
    /// Who asks.
    pub creator: String,
    /// The order.
    pub challenge_id: String,
    /// Not looked at: the device's own signature is on the ledger.
    pub component_a_auth: String,
    /// Likewise.
    pub component_b_auth: String,
    /// Echoed in the summary.
    pub session_context: String,
}

/// A pairing that is complete.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CompletePairingResponse {
    /// Their relationship LCT, or the entity LCT of the side farther from the app where there is none.
    pub lct_id: String,
    /// Name of the pairing, which is no key: the keys are with the devices.
    pub session_keys: String,
    /// `trust_score:0.500000,context:..`; the score is left out while there is none.
    pub trust_summary: String,
    /// Transaction with both signatures.
    pub txhash: String,
    /// `completed`.
    pub state: String,
    /// Half of A, 64 hexadecimal digits: of components for which the bridge speaks, with `--allow-clear-key-halves`, and only in
    /// the first answer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub split_key_a: String,
    /// Half of B, likewise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub split_key_b: String,
}

/// `RevokePairing`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RevokePairingRequest {
    /// Who asks.
    pub creator: String,
    /// LCT of the relationship.
    pub lct_id: String,
    /// Why.
    pub reason: String,
    /// Echoed: an order waits for a device that is away anyhow.
    pub notify_offline: bool,
}

/// A pairing whose end was ordered.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RevokePairingResponse {
    /// LCT of the relationship.
    pub lct_id: String,
    /// `revoked`.
    pub status: String,
    /// Where the order stands.
    pub state: String,
    /// Why.
    pub reason: String,
    /// The order; `GET /pairing/status/{id}` tells what becomes of it.
    pub challenge_id: String,
}

/// `GetPairingStatus`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct GetPairingStatusRequest {
    /// The order.
    pub challenge_id: String,
}

/// Where a pairing stands.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct GetPairingStatusResponse {
    /// The order.
    pub challenge_id: String,
    /// `pending`, `completed`, `failed` or `expired`.
    pub status: String,
    /// The same.
    pub state: String,
    /// When it was asked for.
    pub created_at: i64,
    /// One component.
    pub component_a: String,
    /// The other.
    pub component_b: String,
    /// What for.
    pub operational_context: String,
    /// What the gateway said of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub said: String,
}

/// What was said when a pairing was asked for.
#[derive(Default, Serialize, Deserialize)]
struct Said {
    operational_context: String,
    /// Of components for which the bridge speaks: what stands in the place of an order to a gateway.
    #[serde(default)]
    held: Option<Held>,
}

/// A pairing that the bridge itself makes. Its certificate holds no secret that others could read.
#[derive(Clone, Serialize, Deserialize)]
struct Held {
    certificate: api::Blob,
    order: Order,
    /// Who asked for it, and who alone has it made.
    #[serde(default)]
    creator: String,
}

/// Has a certificate issued to two components for which the bridge speaks; the pairing is the challenge.
async fn held_order(
    ctx: &Ctx,
    creator: &Creator,
    mut said: Said,
    sides: [(Cid, String, Role); 2],
) -> Reply<Order> {
    let certificate = ctx.issue_held(creator, &sides).await?;
    let parsed = ::lct::certificate::Certificate::parse(&certificate).map_err(|e| Refusal::internal(&e))?;
    let id = Hex(parsed.pairing_id.0);
    let [(_, a, _), (_, b, _)] = sides;
    let placed_at = ctx.app.now_s();
    let order = Order {
        id,
        task: Task::Pair,
        level: None,
        a,
        b,
        placed_at,
        expires_at: placed_at + CHALLENGE_S,
        state: State::Waiting,
        said: String::new(),
    };
    let certificate = api::Blob(certificate);
    said.held = Some(Held { certificate, order: order.clone(), creator: creator.name.clone() });
    ctx.compat()?.book.put(&said_of(&id.0), &said)?;
    Ok(order)
}

fn said(ctx: &Ctx, order: &[u8; 16]) -> Reply<Said> {
    let Some(compat) = &ctx.app.compat else { return Ok(Said::default()) };
    Ok(compat.book.get(&said_of(order))?.unwrap_or_default())
}

fn said_of(order: &[u8; 16]) -> String {
    format!("pairing/{}", hex::encode(order))
}

pub(super) fn word(state: State) -> &'static str {
    match state {
        State::Waiting => "pending",
        State::Done => "completed",
        State::Failed => "failed",
        State::Expired => "expired",
    }
}

/// Ids of two registered components, the one nearer the app first, and whether they are bound.
fn sides(snapshot: &Snapshot<'_>, a: &str, b: &str) -> Reply<([(Cid, String); 2], bool)> {
    let (cid_a, one) = crate::authority::component(snapshot, "component_a", required("component_a", a)?)?;
    let (cid_b, other) = crate::authority::component(snapshot, "component_b", required("component_b", b)?)?;
    let bound = active_binding(snapshot, &cid_a, &cid_b)?.is_some();
    let mut sides = [(cid_a, one.component_id), (cid_b, other.component_id)];
    if !is_side_a(one.role, cid_a, other.role, cid_b) {
        sides.reverse();
    }
    Ok((sides, bound))
}

fn switched_off() -> Refusal {
    Refusal::new(403, code::SWITCHED_OFF, "no device stands behind these components")
        .detail("--allow-pairing-without-proofs would have the bridge bind and pair them")
}

/// Whether two components are the bridge's, or would be if it made those up that are missing.
async fn would_be_held(ctx: &Ctx, ids: [&str; 2]) -> Reply<bool> {
    let (here, ids) = (ctx.clone(), ids.map(str::to_owned));
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        for id in &ids {
            let cid = Cid::of(id);
            let held = match snapshot.component(&cid)? {
                Some(component) => here.holds(&cid, &component)?,
                None => ::lct::id::valid_component_id(id),
            };
            if !held {
                return Ok(false);
            }
        }
        Ok(true)
    };
    ctx.app.blocking(read).await
}

/// Two registered components, the one nearer the app first, if the bridge speaks for both.
async fn held(ctx: &Ctx, a: &str, b: &str) -> Reply<Option<[(Cid, String, Role); 2]>> {
    if !ctx.compat()?.speaks() {
        return Ok(None);
    }
    let (here, a, b) = (ctx.clone(), a.to_owned(), b.to_owned());
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let (sides, _) = sides(&snapshot, &a, &b)?;
        let mut held = Vec::with_capacity(2);
        for (cid, id) in sides {
            let component = snapshot.component(&cid)?;
            let component =
                component.ok_or_else(|| Refusal::internal(&"a component vanished from a snapshot"))?;
            if here.holds(&cid, &component)? {
                held.push((cid, id, component.role));
            }
        }
        Ok(<[(Cid, String, Role); 2]>::try_from(held).ok())
    };
    ctx.app.blocking(read).await
}

/// The bridge answers for components of one owner to nobody but that owner.
async fn own(ctx: &Ctx, creator: &Creator, sides: &[(Cid, String, Role); 2]) -> Reply<()> {
    let cids = [sides[0].0, sides[1].0];
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        Ok([snapshot.ownership(&cids[0])?, snapshot.ownership(&cids[1])?])
    };
    let owners = ctx.app.blocking(read).await?;
    if owners.into_iter().all(|owned| owned.is_some_and(|owned| owned.owner == creator.key)) {
        return Ok(());
    }
    let refusal = Refusal::new(403, code::CREATOR_DENIED, "the components belong to somebody else");
    Err(refusal.detail(format!("creator: {}", creator.name)))
}

/// Components for which the bridge speaks are made up and bound, where it may; whether it speaks for both.
pub(super) async fn ready(
    ctx: &Ctx,
    creator: &Creator,
    a: &str,
    b: &str,
) -> Reply<Option<[(Cid, String, Role); 2]>> {
    let compat = ctx.compat()?;
    if !compat.speaks() {
        return Ok(None);
    }
    // What is refused leaves nothing behind.
    if !compat.allow.pairing_without_proofs && would_be_held(ctx, [a, b]).await? {
        return Err(switched_off());
    }
    ctx.make_missing(creator, [a, b]).await?;
    let held = held(ctx, a, b).await?;
    if let Some(sides) = &held {
        if !compat.allow.pairing_without_proofs {
            return Err(switched_off());
        }
        own(ctx, creator, sides).await?;
        ctx.bind_held(creator, sides).await?;
    }
    Ok(held)
}

/// Places an order that a creator signs.
async fn order(ctx: &Ctx, creator: &Creator, task: Task, sides: [(Cid, String); 2]) -> Reply<Order> {
    let mut order_id = [0; 16];
    entropy::with(|rng| rng.fill_bytes(&mut order_id))?;
    let [(cid_a, a), (cid_b, b)] = sides;
    let expires_at = ctx.app.now_s() + CHALLENGE_S;
    let chain_id = ctx.app.chain.chain_id();
    let digest = order_digest(&chain_id, &order_id, expires_at, (task, None), &cid_a, &cid_b);
    let place = Place {
        creator: creator.name.clone(),
        id: Hex(order_id),
        task,
        level: None,
        a,
        b,
        expires_at,
        key: Hex(creator.key.0),
        signature: Fixed(ctx.sign_as(creator, &digest)?.0),
    };
    ctx.app.authority.call(move |core| core.place_order(&place)).await
}

/// Orders that two components be paired, and bound before if they are not.
pub(crate) async fn initiate(ctx: Ctx, rq: InitiatePairingRequest) -> Reply<InitiatePairingResponse> {
    let creator = ctx.creator(required("creator", &rq.creator)?).await?;
    if !rq.proxy_id.is_empty() {
        crate::extract::label("proxy_id", &rq.proxy_id)?;
    }
    let said = Said { operational_context: rq.operational_context.clone(), ..Said::default() };
    let order = match ready(&ctx, &creator, &rq.component_a, &rq.component_b).await? {
        Some(sides) => held_order(&ctx, &creator, said, sides).await?,
        None => {
            let (a, b) = (rq.component_a.clone(), rq.component_b.clone());
            let (sides, bound) = ctx.app.blocking(move |chain| sides(&chain.read()?, &a, &b)).await?;
            let task = if bound { Task::Pair } else { Task::Bind };
            let order = order(&ctx, &creator, task, sides).await?;
            ctx.compat()?.book.put(&said_of(&order.id.0), &said)?;
            order
        }
    };
    Ok(InitiatePairingResponse {
        challenge_id: id("challenge", &order.id.0),
        component_a: rq.component_a,
        component_b: rq.component_b,
        operational_context: rq.operational_context,
        proxy_id: rq.proxy_id,
        force_immediate: rq.force_immediate,
        status: "pending".into(),
        state: word(order.state).into(),
        created_at: order.placed_at.cast_signed(),
        creator: creator.name,
        expires_at: order.expires_at.cast_signed(),
    })
}

async fn find(ctx: &Ctx, challenge_id: &str) -> Reply<Order> {
    let order: [u8; 16] = parse("challenge_id", "challenge", required("challenge_id", challenge_id)?)?;
    let Some(Held { order: mut held, .. }) = said(ctx, &order)?.held else {
        return ctx.app.authority.call(move |core| core.order(&Hex(order))).await;
    };
    let recorded =
        ctx.app.blocking(move |chain| Ok(chain.read()?.pairing(&PairingId(order))?.is_some())).await?;
    if recorded {
        held.state = State::Done;
    } else if ctx.app.now_s() >= held.expires_at {
        held.state = State::Expired;
    }
    Ok(held)
}

/// Makes a pairing of components for which the bridge speaks, if this challenge is one and waits. Their halves are given out
/// once, where the switch says so.
async fn pair_held(ctx: &Ctx, creator: &Creator, challenge_id: &str) -> Reply<[String; 2]> {
    let none = || [String::new(), String::new()];
    let id: [u8; 16] = parse("challenge_id", "challenge", required("challenge_id", challenge_id)?)?;
    let Some(Held { certificate, order, creator: asked }) = said(ctx, &id)?.held else { return Ok(none()) };
    if asked != creator.name {
        let refusal = Refusal::new(403, code::CREATOR_DENIED, "another creator asked for this pairing");
        return Err(refusal.detail(format!("creator: {}", creator.name)));
    }
    if find(ctx, challenge_id).await?.state != State::Waiting {
        return Ok(none());
    }
    if !ctx.compat()?.allow.pairing_without_proofs {
        return Err(switched_off());
    }
    let paired = ctx.pair_held(&certificate.0, [Cid::of(&order.a), Cid::of(&order.b)]).await?;
    let (creator, challenge, tx) = (&creator.name, challenge_id, hash(&paired.tx));
    tracing::warn!(
        creator,
        challenge,
        tx,
        "components were paired by the bridge, without a proof of a device"
    );
    if !ctx.compat()?.allow.clear_key_halves {
        return Ok(none());
    }
    tracing::warn!(creator, challenge, "key halves of a pairing given out in clear");
    Ok(paired.halves.map(|half| hex::encode(half.expose())))
}

/// Waits until the devices paired, or could not.
pub(crate) async fn complete(ctx: Ctx, rq: CompletePairingRequest) -> Reply<CompletePairingResponse> {
    let creator = ctx.creator(required("creator", &rq.creator)?).await?;
    let [split_key_a, split_key_b] = pair_held(&ctx, &creator, &rq.challenge_id).await?;
    let begun = tokio::time::Instant::now();
    let order = loop {
        let order = find(&ctx, &rq.challenge_id).await?;
        match order.state {
            State::Done => break order,
            State::Waiting if begun.elapsed() < COMPLETE => tokio::time::sleep(LOOK).await,
            State::Waiting => {
                let refusal = Refusal::new(409, code::PENDING, "the devices have not paired yet");
                return Err(
                    refusal.detail("their gateway takes the order when it reaches the bridge; ask again")
                );
            }
            State::Failed => {
                let refusal = Refusal::new(409, code::PAIRING_FAILED, "the devices could not pair");
                return Err(refusal.detail(order.said));
            }
            State::Expired => {
                return Err(Refusal::new(410, code::PAIRING_NOT_FOUND, "no gateway took the order in time"));
            }
        }
    };
    if !matches!(order.task, Task::Pair | Task::Bind) {
        return Err(Refusal::new(409, code::REPLAY, "this was no order to pair"));
    }
    let done = ctx.app.blocking(move |chain| completed(&chain.read()?, &order, &rq.session_context)).await?;
    Ok(CompletePairingResponse { split_key_a, split_key_b, ..done })
}

fn completed(snapshot: &Snapshot<'_>, order: &Order, said: &str) -> Reply<CompletePairingResponse> {
    let (cid_a, cid_b) = (Cid::of(&order.a), Cid::of(&order.b));
    let missing = || Refusal::new(409, code::PENDING, "the ledger does not hold the pairing yet; ask again");
    let (binding_id, _) = active_binding(snapshot, &cid_a, &cid_b)?.ok_or_else(missing)?;
    let live = snapshot.live_pairings(&binding_id)?;
    let (pairing_id, pairing) =
        live.into_iter().max_by_key(|(_, p)| (p.time_ms, p.height)).ok_or_else(missing)?;
    let is = |body: &ledger::tx::Body| {
        use ledger::tx::Body::{PairComplete, PairRenew};
        matches!(body, PairComplete(p) | PairRenew { paired: p, .. } if p.pairing_id == pairing_id)
    };
    // Of a block that is not kept any more it is empty.
    let txhash = find_tx(snapshot, pairing.height, is)?.map(|(tx, _)| hash(&tx)).unwrap_or_default();
    let lcts = snapshot.lcts_of(&cid_b)?;
    let both = |l: &ledger::records::Lct| [l.a, l.b].contains(&cid_a);
    let lct = lcts.iter().filter(|(_, l)| both(l)).max_by_key(|(_, l)| l.height);
    let lct = lct.or_else(|| lcts.iter().find(|(_, l)| l.a == l.b)).map(|(id, _)| *id).ok_or_else(missing)?;
    let standings = snapshot.relation_standings(&cid_a)?;
    let score = standings.iter().find(|(id, ..)| *id == binding_id).map(|(_, _, s)| s.score.get());
    let context =
        format!("context:{}", if said.is_empty() { "pairing_completed".into() } else { context(said) });
    Ok(CompletePairingResponse {
        lct_id: id("lct", &lct),
        session_keys: id("pairing", &pairing_id.0),
        trust_summary: match score {
            Some(ppm) => format!("trust_score:{:.6},{context}", super::ratio(ppm)),
            None => context,
        },
        txhash,
        state: "completed".into(),
        split_key_a: String::new(),
        split_key_b: String::new(),
    })
}

/// Ends the pairings of two components for which the bridge speaks, by their owner.
async fn end_held(
    ctx: Ctx,
    creator: &Creator,
    rq: RevokePairingRequest,
    sides: [(Cid, String, Role); 2],
) -> Reply<RevokePairingResponse> {
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        match active_binding(&snapshot, &sides[0].0, &sides[1].0)? {
            Some((binding, _)) => Ok(snapshot.live_pairings(&binding)?),
            None => Ok(Vec::new()),
        }
    };
    let live = ctx.app.blocking(read).await?;
    let Some((last, _)) = live.last() else {
        return Err(Refusal::new(404, code::PAIRING_NOT_FOUND, "the two components are not paired"));
    };
    let challenge_id = id("challenge", &last.0);
    for (pairing, _) in live {
        ctx.step(creator, api::sign::revoke(Target::Pairing(pairing), Reason::Retired)).await?;
    }
    Ok(RevokePairingResponse {
        lct_id: rq.lct_id,
        status: "revoked".into(),
        state: "revoked".into(),
        reason: if rq.reason.is_empty() { "unspecified".into() } else { rq.reason },
        challenge_id,
    })
}

/// Orders that the pairing of a relationship be ended.
pub(crate) async fn revoke(ctx: Ctx, rq: RevokePairingRequest) -> Reply<RevokePairingResponse> {
    let creator = ctx.creator(required("creator", &rq.creator)?).await?;
    let lct_id: [u8; 32] = parse("lct_id", "lct", required("lct_id", &rq.lct_id)?)?;
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let lct = snapshot.lct(&lct_id)?.filter(|l| l.a != l.b);
        let lct = lct.ok_or_else(|| {
            Refusal::new(404, code::LCT_NOT_FOUND, "there is no such LCT of a relationship")
        })?;
        let name = |cid| crate::authority::component_id(&snapshot, cid);
        sides(&snapshot, &name(&lct.a)?, &name(&lct.b)?)
    };
    let (sides, _) = ctx.app.blocking(read).await?;
    if let Some(held) = held(&ctx, &sides[0].1, &sides[1].1).await? {
        return end_held(ctx, &creator, rq, held).await;
    }
    let order = order(&ctx, &creator, Task::Unpair, sides).await?;
    let reason = if rq.reason.is_empty() { "unspecified".into() } else { rq.reason };
    tracing::info!(creator = creator.name, lct_id = rq.lct_id, reason, "end of a pairing ordered");
    Ok(RevokePairingResponse {
        lct_id: id("lct", &lct_id),
        status: "revoked".into(),
        state: word(order.state).into(),
        reason,
        challenge_id: id("challenge", &order.id.0),
    })
}

/// Where an order to pair, or to end a pairing, stands.
pub(crate) async fn status(ctx: Ctx, rq: GetPairingStatusRequest) -> Reply<GetPairingStatusResponse> {
    let order = find(&ctx, &rq.challenge_id).await?;
    let said = said(&ctx, &order.id.0)?;
    Ok(GetPairingStatusResponse {
        challenge_id: id("challenge", &order.id.0),
        status: word(order.state).into(),
        state: word(order.state).into(),
        created_at: order.placed_at.cast_signed(),
        component_a: order.a,
        component_b: order.b,
        operational_context: said.operational_context,
        said: order.said,
    })
}
