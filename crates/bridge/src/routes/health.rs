//! `GET /health`, `GET /blockchain/status`, `GET /ledger/status` (A10, A11).

use api::{
    encoding::Hex,
    health::{BlockchainStatus, ChainStatus, Health, LedgerStatus, SERVICE},
};
use axum::{Json, extract::State};
use node::Snapshot;

use super::App;
use crate::{
    extract::{Options, When},
    memo::{Lasting, lasting},
    refusal::{Refusal, Reply},
};

/// That the bridge runs (A10).
#[utoipa::path(
    get,
    path = "/health",
    responses((status = 200, body = Health))
)]
pub(crate) async fn health(State(app): App) -> Json<Health> {
    Json(Health { status: "healthy".into(), timestamp: app.now_s(), service: SERVICE.into() })
}

/// Whether the ledger answers, and its figures (A11).
#[utoipa::path(
    get,
    path = "/blockchain/status",
    responses((status = 200, body = BlockchainStatus))
)]
pub(crate) async fn blockchain(State(app): App) -> Json<BlockchainStatus> {
    let (ledger, errors) = match app.glance(None, figures).await {
        Ok(figures) => (Some(figures), Vec::new()),
        Err(Refusal(problem)) => (None, vec![problem.error]),
    };
    let blockchain_status =
        ChainStatus { connected: ledger.is_some(), errors, mode: "embedded".into(), ledger };
    Json(BlockchainStatus { blockchain_status, timestamp: app.now_s(), service: SERVICE.into() })
}

/// The figures of the ledger (A11).
#[utoipa::path(
    get,
    path = "/ledger/status",
    params(When),
    responses((status = 200, body = LedgerStatus), (status = 404), (status = 410))
)]
pub(crate) async fn ledger(
    State(app): App,
    Options(when): Options<When>,
) -> Reply<Lasting<Json<LedgerStatus>>> {
    app.glance(when.height, move |snapshot| Ok(lasting(snapshot, when.height, Json(figures(snapshot)?))))
        .await
}

pub(super) fn figures(snapshot: &Snapshot<'_>) -> Reply<LedgerStatus> {
    let s = snapshot.status()?;
    Ok(LedgerStatus {
        height: s.height,
        blocks: s.blocks,
        transactions: s.txs - s.refused,
        records: s.records,
        batches: s.batches,
        energy_discharged_mwh: u64::try_from(s.energy_discharged_mwh).unwrap_or(u64::MAX),
        energy_charged_mwh: u64::try_from(s.energy_charged_mwh).unwrap_or(u64::MAX),
        components: s.components,
        state_root: Hex(s.state_root),
        chain_id: Hex(s.chain_id),
    })
}
