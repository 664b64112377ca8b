//! `GET /health/detailed`, `GET /ready`, `GET /metrics` (A141, A142).

use std::{
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
};

use api::health::{Check, Detailed, Ready, SERVICE};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{App, health::figures};
use crate::{
    Shared,
    ops::metrics::LedgerFigures,
    refusal::{Refusal, Reply},
};

/// What is written to see whether the disk takes anything.
const PROBE: &[u8] = &[0; 4096];

/// Whether the bridge can serve (A141).
#[utoipa::path(
    get,
    path = "/ready",
    responses((status = 200, body = Ready), (status = 503, body = Ready))
)]
pub(crate) async fn ready(State(app): App) -> Response {
    let checks = checks(&app).await;
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, checks })).into_response()
}

/// Whether it can serve, for how long it has, and what it serves (A141).
#[utoipa::path(
    get,
    path = "/health/detailed",
    responses((status = 200, body = Detailed))
)]
pub(crate) async fn detailed(State(app): App) -> Json<Detailed> {
    let checks = checks(&app).await;
    let healthy = checks.iter().all(|check| check.ok);
    Json(Detailed {
        status: if healthy { "healthy" } else { "degraded" }.into(),
        timestamp: app.now_s(),
        service: SERVICE.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        uptime: app.began.elapsed().as_secs(),
        checks,
        ledger: app.glance(None, figures).await.ok(),
    })
}

/// The ledger can be read, and the disk under it written.
async fn checks(app: &Shared) -> Vec<Check> {
    let probe = app.probe.clone();
    let ledger = app.blocking(|chain| chain.status().map_err(Refusal::from)).await;
    let disk = app.blocking(move |_| Ok(writable(&probe))).await.and_then(|written| match written {
        Ok(()) => Ok(()),
        Err(e) => Err(Refusal::unavailable(&e)),
    });
    let check = |name: &str, done: Result<(), Refusal>| Check {
        name: name.into(),
        ok: done.is_ok(),
        error: done.err().map(|Refusal(problem)| problem.error),
    };
    vec![check("ledger", ledger.map(drop)), check("disk", disk)]
}

fn writable(probe: &Path) -> std::io::Result<()> {
    // Two at once would take the file away from each other.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    fs::write(probe, PROBE)?;
    fs::remove_file(probe)
}

/// Figures for Prometheus (A142).
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, body = String, content_type = "application/openmetrics-text"))
)]
pub(crate) async fn metrics(State(app): App) -> Reply<Response> {
    let status = app.blocking(|chain| Ok(chain.status()?)).await?;
    let ledger = LedgerFigures {
        height: status.height,
        transactions: status.txs,
        refused: status.refused,
        records: status.records,
        components: status.components,
    };
    let text = app.metrics.text(&ledger).map_err(|e| Refusal::internal(&e))?;
    let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, media)], text).into_response())
}
