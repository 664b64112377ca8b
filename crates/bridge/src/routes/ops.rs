//! `GET /health/detailed`, `GET /ready`, `GET /metrics` (A141, A142).

use std::{
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use api::{
    gateway::Bus,
    health::{Check, Detailed, Ready, SERVICE},
};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{App, health::figures};
use crate::{
    Shared,
    ops::metrics::Figures,
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
    let checks = checks.into_iter().map(in_public).collect();
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
        gateways: app.gateways.known(Instant::now()),
        disk_free_mib: free(&app).await.ok().flatten().map(|bytes| bytes >> 20),
    })
}

/// A check as it is told to anybody: which components there are, and how much room, is for who is known.
fn in_public(check: Check) -> Check {
    let wrong = match check.name.as_str() {
        "ledger" => "the ledger cannot be read",
        "bus" => "a gateway that is expected does not report, or hears nothing on its bus",
        _ => "the disk cannot be written, or has too little room",
    };
    Check { error: check.error.map(|_| wrong.into()), ..check }
}

/// The ledger can be read, those who hear the buses report, and the disk can be written and has room.
async fn checks(app: &Shared) -> Vec<Check> {
    let probe = app.probe.clone();
    let ledger = app.blocking(|chain| chain.status().map_err(Refusal::from)).await;
    let disk = app.blocking(move |_| Ok(writable(&probe))).await.and_then(|written| match written {
        Ok(()) => Ok(()),
        Err(e) => Err(Refusal::unavailable(&e)),
    });
    let disk = match (disk, free(app).await) {
        (Ok(()), Ok(Some(bytes))) if bytes >> 20 < app.disk_free_mib => {
            Err(format!("{} MiB are free, fewer than {}", bytes >> 20, app.disk_free_mib))
        }
        (Err(Refusal(problem)), _) | (_, Err(Refusal(problem))) => Err(problem.error),
        (Ok(()), Ok(_)) => Ok(None),
    };
    let check = |name: &str, done: Result<Option<&str>, String>| Check {
        name: name.into(),
        ok: done.is_ok(),
        state: done.as_ref().ok().copied().flatten().map(str::to_owned),
        error: done.err(),
    };
    let ledger = ledger.map(|_| None).map_err(|Refusal(problem)| problem.error);
    let bus = app.gateways.check(Instant::now()).map(Some);
    vec![check("ledger", ledger), check("bus", bus), check("disk", disk)]
}

/// Bytes that are free on the disk of the ledger, where the system says so.
async fn free(app: &Shared) -> Reply<Option<u64>> {
    let folder = app.probe.parent().map(Path::to_owned).unwrap_or_default();
    app.blocking(move |_| room(&folder).map_err(|e| Refusal::unavailable(&e))).await
}

#[cfg(unix)]
fn room(folder: &Path) -> std::io::Result<Option<u64>> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let found = rustix::fs::statvfs(folder)?;
    Ok(Some(found.f_bavail.saturating_mul(found.f_frsize)))
}

#[cfg(not(unix))]
fn room(_: &Path) -> std::io::Result<Option<u64>> {
    Ok(None)
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
    let now = Instant::now();
    let read = Figures {
        works: app.works.count() as u64,
        height: status.height,
        transactions: status.txs,
        refused: status.refused,
        records: status.records,
        components: status.components,
        gateways: [Bus::Up, Bus::Silent].map(|bus| app.gateways.count(bus, now)),
        disk_free: free(&app).await.ok().flatten(),
    };
    let text = app.metrics.text(&read).map_err(|e| Refusal::internal(&e))?;
    let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, media)], text).into_response())
}
