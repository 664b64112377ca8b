//! Energy. What a pack charged and discharged its devices measured and signed; nobody reports it for them. What a client may
//! ask for is that one pack gives energy to another (`spec/ledger.md`, L212 to L215): an order of the giver's owner. It is
//! complete when both packs signed what flowed.

use ::lct::{
    id::{Cid, PairingId},
    trade::{Give, Order, TRADE_MAX, TradeId, What},
};
use api::problem::code;
use ledger::{
    records::{Transfer, TransferState},
    tx::Body,
};
use node::Snapshot;
use rand_core::Rng;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{
        Ctx,
        ids::{id, parse},
    },
    hash, known, required,
};
use crate::{
    authority::active_binding,
    entropy,
    refusal::{Refusal, Reply},
};

/// How long the energy of an operation is held for it, in milliseconds; the longest that the chain allows if that is less.
const HELD_MS: u64 = 3_600_000;
/// Most energy of an operation, in Wh.
const MOST_WH: f64 = 1_000_000.0;

/// `CreateEnergyOperation`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CreateEnergyOperationRequest {
    /// Who asks: the owner of `component_a`.
    pub creator: String,
    /// The pack that gives.
    pub component_a: String,
    /// The pack that takes; the two are paired.
    pub component_b: String,
    /// `transfer`, or `balance` for at most as much as makes both equally full.
    pub operation_type: String,
    /// Wh.
    pub amount: f64,
    /// What for; echoed.
    pub context: String,
}

/// An operation.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EnergyOperationResponse {
    /// Its identity.
    pub operation_id: String,
    /// Who asked, where it is known.
    pub creator: String,
    /// The pack that gives.
    pub component_a: String,
    /// The pack that takes.
    pub component_b: String,
    /// `transfer` or `balance`.
    pub operation_type: String,
    /// Wh that are held for it, or that flowed.
    pub amount: f64,
    /// What for.
    pub context: String,
    /// `pending` while energy is held for it, `completed` once both packs signed what flowed.
    pub status: String,
    /// `open`, `done` or `released`.
    pub state: String,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<i64>,
    /// Transaction that began it; once it ended the one that ended it.
    pub txhash: String,
    /// When this was looked at.
    pub timestamp: i64,
}

/// `ExecuteEnergyTransfer`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ExecuteEnergyTransferRequest {
    /// Who asks.
    pub creator: String,
    /// Which.
    pub operation_id: String,
    /// Wh; left out it is the operation's.
    pub amount: Option<f64>,
    /// What for.
    pub context: String,
}

/// `GetEnergyBalance`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct GetEnergyBalanceRequest {
    /// Which pack.
    pub component_id: String,
}

/// What a pack holds.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct GetEnergyBalanceResponse {
    /// Which.
    pub component_id: String,
    /// Charged energy, Wh.
    pub balance: f64,
    /// `Wh`.
    pub unit: String,
    /// The same as `balance`.
    pub atp_balance: f64,
    /// Discharged energy, Wh.
    pub adp_balance: f64,
    /// Both, and what is held for transfers.
    pub total_energy: f64,
    /// `balance` times the pack's trust in energy; absent while it was never judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_weighted_balance: Option<f64>,
    /// Time of the block that this is of.
    pub last_updated: i64,
    /// `active`.
    pub status: String,
}

/// What was said of an operation.
#[derive(Default, Serialize, Deserialize)]
struct Said {
    creator: String,
    operation_type: String,
    context: String,
}

fn said_of(operation: &TradeId) -> String {
    format!("energy/{operation}")
}

fn wh(mwh: u64) -> f64 {
    mwh as f64 / 1000.0
}

/// Wh as whole mWh.
fn mwh(amount: f64) -> Reply<u64> {
    if amount.is_finite() && amount > 0.0 && amount <= MOST_WH {
        Ok((amount * 1000.0).round() as u64)
    } else {
        Err(Refusal::format(format!("amount: above 0, at most {MOST_WH} Wh")))
    }
}

fn view(
    snapshot: &Snapshot<'_>,
    (of, t): (&TradeId, &Transfer),
    said: Said,
    now: i64,
) -> Reply<EnergyOperationResponse> {
    let name = |cid: &Cid| crate::authority::component_id(snapshot, cid);
    let (amount, status, tx) = match t.state {
        TransferState::Open => (t.locked, "pending", t.begun_by),
        TransferState::Done => (t.given, "completed", t.ended_by),
        TransferState::Released => (0, "released", t.ended_by),
    };
    let begun = snapshot.tx(&t.begun_by)?.map(|tx| tx.height);
    let block = begun.map(|height| snapshot.block(height)).transpose()?.flatten();
    Ok(EnergyOperationResponse {
        operation_id: id("op", &of.0),
        creator: said.creator,
        component_a: name(&t.giver)?,
        component_b: name(&t.taker)?,
        operation_type: if said.operation_type.is_empty() { "transfer".into() } else { said.operation_type },
        amount: wh(amount),
        context: said.context,
        status: status.into(),
        state: t.state.name().into(),
        created_at: block.map(|b| (b.header.time_ms / 1000).cast_signed()),
        txhash: hash(&tx),
        timestamp: now,
    })
}

fn not_found() -> Refusal {
    Refusal::new(404, code::ENERGY_NOT_FOUND, "there is no such operation between packs")
}

async fn find(ctx: &Ctx, of: TradeId) -> Reply<EnergyOperationResponse> {
    let said: Said = ctx.compat()?.book.get(&said_of(&of))?.unwrap_or_default();
    let now = ctx.app.now_s().cast_signed();
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let transfer = snapshot.transfer(&of)?.ok_or_else(not_found)?;
        view(&snapshot, (&of, &transfer), said, now)
    };
    ctx.app.blocking(read).await
}

/// Has the giver's energy held for a transfer.
pub(crate) async fn create(ctx: Ctx, rq: CreateEnergyOperationRequest) -> Reply<EnergyOperationResponse> {
    let creator = ctx.creator(required("creator", &rq.creator)?).await?;
    let balances = match rq.operation_type.to_lowercase().as_str() {
        "transfer" => false,
        "balance" => true,
        "charge" | "discharge" => {
            let refusal =
                Refusal::new(403, code::ENERGY_MEASURED, "energy is what devices measured and signed");
            return Err(refusal.detail("operation_type: `charge` and `discharge` come from the pack itself"));
        }
        _ => return Err(Refusal::format("operation_type: `transfer` or `balance`")),
    };
    let mwh = mwh(rq.amount)?;
    let mut trade = TradeId([0; 16]);
    entropy::with(|rng| rng.fill_bytes(&mut trade.0))?;
    let (a, b) = (rq.component_a.clone(), rq.component_b.clone());
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let giver = known(&snapshot, "component_a", &a)?;
        let to = known(&snapshot, "component_b", &b)?;
        let not_paired = || {
            let refusal =
                Refusal::new(404, code::PAIRING_NOT_FOUND, "the two packs are not paired with each other");
            refusal.detail("energy moves between packs, under a pairing of theirs")
        };
        let (binding, _) = active_binding(&snapshot, &giver, &to)?.ok_or_else(not_paired)?;
        let pairing: PairingId =
            snapshot.live_pairings(&binding)?.first().map(|(id, _)| *id).ok_or_else(not_paired)?;
        let held = HELD_MS.min(u64::from(chain.params().max_transfer_s) * 1000);
        let give = Give { to, pairing, mwh, until_ms: snapshot.tip().time_ms + held };
        let what = if balances { What::Balance(give) } else { What::Transfer(give) };
        Ok(Order { chain_id: chain.chain_id(), id: trade, cid: giver, what })
    };
    let order = ctx.app.blocking(read).await?;
    let mut bytes = [0; TRADE_MAX];
    let n = order.encode(&mut bytes).map_err(|e| Refusal::internal(&e))?;
    let digest = order.digest().map_err(|e| Refusal::internal(&e))?;
    let signature = ctx.sign_as(&creator, &digest)?;
    ctx.send(&creator, Body::EnergyOrder { statement: bytes[..n].into(), signature }).await?;
    let said = Said {
        creator: creator.name.clone(),
        operation_type: rq.operation_type.to_lowercase(),
        context: rq.context.clone(),
    };
    ctx.compat()?.book.put(&said_of(&trade), &said)?;
    find(&ctx, trade).await
}

/// Tells what became of an operation. It is complete when both packs signed what flowed, and not because somebody asks.
pub(crate) async fn transfer(ctx: Ctx, rq: ExecuteEnergyTransferRequest) -> Reply<EnergyOperationResponse> {
    ctx.creator(required("creator", &rq.creator)?).await?;
    let of = TradeId(parse("operation_id", "op", required("operation_id", &rq.operation_id)?)?);
    let found = find(&ctx, of).await?;
    match rq.amount.map(mwh).transpose()? {
        Some(wanted) if found.status == "pending" && wanted != mwh(found.amount)? => Err(Refusal::format(
            format!("amount: {} Wh are held for this operation; leave it out", found.amount),
        )),
        _ => Ok(found),
    }
}

/// What a pack holds.
pub(crate) async fn balance(ctx: Ctx, rq: GetEnergyBalanceRequest) -> Reply<GetEnergyBalanceResponse> {
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let cid = known(&snapshot, "component_id", &rq.component_id)?;
        let pool = snapshot.pool(&cid)?.ok_or_else(|| {
            Refusal::new(404, code::COMPONENT_NOT_FOUND, "the component is no pack with an energy account")
        })?;
        let standings = snapshot.standings(&cid)?;
        let energy = standings.iter().find(|(c, _)| *c == ::lct::trust::TrustContext::Energy);
        let atp = wh(pool.atp);
        Ok(GetEnergyBalanceResponse {
            component_id: crate::authority::component_id(&snapshot, &cid)?,
            balance: atp,
            unit: "Wh".into(),
            atp_balance: atp,
            adp_balance: wh(pool.adp),
            total_energy: wh(pool.atp + pool.adp + pool.locked),
            trust_weighted_balance: energy.map(|(_, s)| atp * super::ratio(s.score.get())),
            last_updated: (snapshot.tip().time_ms / 1000).cast_signed(),
            status: "active".into(),
        })
    };
    ctx.app.blocking(read).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_whole_milliwatt_hours() {
        assert_eq!(mwh(0.001).ok(), Some(1));
        assert_eq!(mwh(10.5).ok(), Some(10_500));
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, MOST_WH + 1.0] {
            assert!(mwh(bad).is_err(), "{bad}");
        }
    }
}
