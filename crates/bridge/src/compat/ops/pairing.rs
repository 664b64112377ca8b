//! Pairing. Devices pair, under their own keys and with their own proofs; what a client asks for is an order (A60) to the
//! gateway that holds their channel, and a challenge is that order. So nothing that a client says in `complete` proves
//! anything, and nothing of it is believed: the pairing is complete when the ledger has both signatures.

use std::time::Duration;

use ::lct::id::{Cid, is_side_a};
use api::{
    Fixed, Hex,
    order::{Order, Place, State, Task, order_digest},
    problem::code,
};
use node::Snapshot;
use rand_core::Rng;
use serde::{Deserialize, Serialize};

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
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
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
}

/// `RevokePairing`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GetPairingStatusRequest {
    /// The order.
    pub challenge_id: String,
}

/// Where a pairing stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    let (a, b) = (rq.component_a.clone(), rq.component_b.clone());
    let (sides, bound) = ctx.app.blocking(move |chain| sides(&chain.read()?, &a, &b)).await?;
    let task = if bound { Task::Pair } else { Task::Bind };
    let order = order(&ctx, &creator, task, sides).await?;
    let said = Said { operational_context: rq.operational_context.clone() };
    ctx.compat()?.book.put(&said_of(&order.id.0), &said)?;
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
    ctx.app.authority.call(move |core| core.order(&Hex(order))).await
}

/// Waits until the devices paired, or could not.
pub(crate) async fn complete(ctx: Ctx, rq: CompletePairingRequest) -> Reply<CompletePairingResponse> {
    ctx.creator(required("creator", &rq.creator)?).await?;
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
    ctx.app.blocking(move |chain| completed(&chain.read()?, &order, &rq.session_context)).await
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
    let (tx, _) = find_tx(snapshot, pairing.height, is)?
        .ok_or_else(|| Refusal::internal(&"a pairing without its transaction"))?;
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
        txhash: hash(&tx),
        state: "completed".into(),
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
    let said: Said = match &ctx.app.compat {
        Some(compat) => compat.book.get(&said_of(&order.id.0))?.unwrap_or_default(),
        None => Said::default(),
    };
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
