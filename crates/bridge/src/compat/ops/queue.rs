//! Wishes that wait for a device to come back (`spec/ledger.md`, L151 to L153). The queue makes no pairing: it keeps what is
//! wanted, and each try says whether it has come about.

use ::lct::{id::Cid, revocation::Reason};
use api::problem::code;
use ledger::{
    outcome::Value,
    records::registry::{NO_PROXY, QueueId, Queued, Wish},
    reject::Rejection,
    tx::{Body, Registry},
};
use node::Snapshot;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{
        Ctx,
        ids::{id, parse},
    },
    Page, context, hash, known, required,
};
use crate::refusal::{Refusal, Reply};

/// Priority of a request that names none: normal.
const NORMAL: u8 = 2;

/// `QueuePairingRequest`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct QueuePairingRequestRequest {
    /// Who asks; the default creator where it is left out.
    pub creator: String,
    /// Who is to be paired.
    pub component_a: String,
    /// With whom.
    pub component_b: String,
    /// What for.
    pub operational_context: String,
    /// Component that asks in the place of `component_a`.
    pub proxy_id: String,
}

/// A request in a queue.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct QueuedRequest {
    /// Its identity.
    pub request_id: String,
    /// Who is to be paired.
    pub component_a: String,
    /// With whom.
    pub component_b: String,
    /// What for.
    pub operational_context: String,
    /// Who asks in its place.
    pub proxy_id: String,
    /// `queued`, or how it ended.
    pub status: String,
    /// The same.
    pub state: String,
    /// When it was asked for.
    pub created_at: i64,
    /// Tries so far.
    pub retry_count: i32,
}

/// A request that was queued.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct QueuePairingRequestResponse {
    /// What.
    #[serde(flatten)]
    pub request: QueuedRequest,
    /// What for.
    pub context: String,
    /// Who asked.
    pub creator: String,
    /// Transaction that queued it.
    pub txhash: String,
}

/// `GetQueueStatus`: of a component, or of one request.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct GetQueueStatusRequest {
    /// Component id, or identity of a request.
    pub request_id: String,
}

/// What waits for a component.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct GetQueueStatusResponse {
    /// Who is meant.
    pub component_id: String,
    /// The same.
    pub queue_id: String,
    /// Of one request: its identity.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request_id: String,
    /// `active`; of one request how far it is.
    pub status: String,
    /// `waiting` or `idle`; of one request how far it is.
    pub state: String,
    /// How many wait.
    pub pending_requests: i32,
    /// How many tries were made of those that wait.
    pub processed_requests: i32,
    /// When the oldest of them was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<i64>,
}

/// `ProcessOfflineQueue`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ProcessOfflineQueueRequest {
    /// Who asks; the default creator where it is left out.
    pub creator: String,
    /// Whose queue.
    pub component_id: String,
    /// The same, as some clients call it.
    pub queue_id: String,
}

/// What came of a look at a queue.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ProcessOfflineQueueResponse {
    /// Whose queue.
    pub component_id: String,
    /// `processed`.
    pub status: String,
    /// The same.
    pub state: String,
    /// In words.
    pub result: String,
    /// What came about.
    pub processed_requests: i32,
    /// What was given up.
    pub failed_requests: i32,
    /// What goes on waiting.
    pub pending_requests: i32,
    /// When.
    pub processed_at: i64,
    /// Transaction; empty where nothing was due.
    pub txhash: String,
}

/// `CancelRequest`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CancelRequestRequest {
    /// Who asks; the default creator where it is left out.
    pub creator: String,
    /// Which.
    pub request_id: String,
    /// Why.
    pub reason: String,
}

/// A request that was taken back.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CancelRequestResponse {
    /// Which.
    pub request_id: String,
    /// `cancelled`.
    pub status: String,
    /// The same, in words.
    pub result: String,
    /// Why.
    pub reason: String,
    /// When.
    pub cancelled_at: i64,
    /// Transaction.
    pub txhash: String,
}

/// `GetQueuedRequests`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct GetQueuedRequestsRequest {
    /// Whose queue.
    pub component_id: String,
    /// How many to leave out.
    pub offset: String,
    /// How many at most, 1 to 100.
    pub limit: String,
}

/// `ListProxyQueue`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ListProxyQueueRequest {
    /// Who asks in the place of others; `proxy_id` in the contract of gRPC.
    #[serde(alias = "proxy_id")]
    pub component_id: String,
    /// How many to leave out.
    pub offset: String,
    /// How many at most, 1 to 100.
    pub limit: String,
}

/// What waits, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct GetQueuedRequestsResponse {
    /// Whose queue.
    pub component_id: String,
    /// The requests.
    pub requests: Vec<QueuedRequest>,
    /// How many wait in all.
    pub count: i32,
}

fn name_of(snapshot: &Snapshot<'_>, cid: &Cid) -> Reply<String> {
    if *cid == NO_PROXY { Ok(String::new()) } else { crate::authority::component_id(snapshot, cid) }
}

fn view(snapshot: &Snapshot<'_>, request_id: &QueueId, q: &Queued) -> Reply<QueuedRequest> {
    Ok(QueuedRequest {
        request_id: id("queue", &request_id.0),
        component_a: name_of(snapshot, &q.initiator)?,
        component_b: name_of(snapshot, &q.target)?,
        operational_context: q.context.clone(),
        proxy_id: name_of(snapshot, &q.proxy)?,
        status: q.status.name().into(),
        state: q.status.name().into(),
        created_at: (q.time_ms / 1000).cast_signed(),
        retry_count: q.tries.into(),
    })
}

fn not_found() -> Refusal {
    Refusal::new(404, code::QUEUE_NOT_FOUND, "there is no such request")
}

/// Queues the wish that two components be paired.
pub(crate) async fn request(ctx: Ctx, rq: QueuePairingRequestRequest) -> Reply<QueuePairingRequestResponse> {
    let creator = ctx.creator(&rq.creator).await?;
    let (a, b, proxy) = (rq.component_a.clone(), rq.component_b.clone(), rq.proxy_id.clone());
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let proxy = if proxy.is_empty() { NO_PROXY } else { known(&snapshot, "proxy_id", &proxy)? };
        Ok((known(&snapshot, "component_a", &a)?, known(&snapshot, "component_b", &b)?, proxy))
    };
    let (initiator, target, proxy) = ctx.app.blocking(read).await?;
    let body = Body::Registry(Registry::Queue {
        initiator,
        target,
        wish: Wish::Pair as u8,
        priority: NORMAL,
        proxy,
        context: context(&rq.operational_context),
    });
    let tx = ctx.send(&creator, body).await?;
    let request_id = QueueId::of(&tx);
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let queued = snapshot.queued(&request_id)?.ok_or_else(not_found)?;
        view(&snapshot, &request_id, &queued)
    };
    let request = ctx.app.blocking(read).await?;
    Ok(QueuePairingRequestResponse {
        request,
        context: rq.operational_context,
        creator: creator.name,
        txhash: hash(&tx),
    })
}

/// How much waits for a component, or how far a request is.
pub(crate) async fn status(ctx: Ctx, rq: GetQueueStatusRequest) -> Reply<GetQueueStatusResponse> {
    required("id", &rq.request_id)?;
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        if let Ok(request_id) = parse::<16>("id", "queue", &rq.request_id).map(QueueId)
            && let Some(queued) = snapshot.queued(&request_id)?
        {
            let request = view(&snapshot, &request_id, &queued)?;
            let waits = queued.ended_ms == 0;
            return Ok(GetQueueStatusResponse {
                queue_id: request.component_a.clone(),
                component_id: request.component_a,
                request_id: request.request_id,
                status: request.status,
                state: request.state,
                pending_requests: waits.into(),
                processed_requests: request.retry_count,
                created_at: Some(request.created_at),
            });
        }
        let cid = known(&snapshot, "id", &rq.request_id)?;
        let waiting = snapshot.queue_of(&cid)?;
        let component_id = crate::authority::component_id(&snapshot, &cid)?;
        Ok(GetQueueStatusResponse {
            queue_id: component_id.clone(),
            component_id,
            request_id: String::new(),
            status: "active".into(),
            state: if waiting.is_empty() { "idle" } else { "waiting" }.into(),
            pending_requests: count(waiting.len()),
            processed_requests: waiting.iter().map(|(_, q)| i32::from(q.tries)).sum(),
            created_at: waiting.first().map(|(_, q)| (q.time_ms / 1000).cast_signed()),
        })
    };
    ctx.app.blocking(read).await
}

/// Looks which wishes of a component have come about.
pub(crate) async fn process(ctx: Ctx, rq: ProcessOfflineQueueRequest) -> Reply<ProcessOfflineQueueResponse> {
    let creator = ctx.creator(&rq.creator).await?;
    let whose = if rq.component_id.is_empty() { rq.queue_id } else { rq.component_id };
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let cid = known(&snapshot, "component_id", &whose)?;
        Ok((cid, crate::authority::component_id(&snapshot, &cid)?))
    };
    let (cid, component_id) = ctx.app.blocking(read).await?;
    let (tx, [completed, failed]) = match ctx.send(&creator, Body::Registry(Registry::Process { cid })).await
    {
        Ok(tx) => {
            let told = move |chain: &node::Chain| {
                let found = chain.read()?.tx(&tx)?;
                let events = found.map_or_else(Vec::new, |t| t.result.events);
                let event = events.into_iter().find(|e| e.kind == "OfflineQueueProcessed");
                let number = |name: &str| match event.as_ref().and_then(|e| e.get(name)) {
                    Some(Value::Uint(number)) => *number,
                    _ => 0,
                };
                Ok(["completed", "failed"].map(|name| i32::try_from(number(name)).unwrap_or(i32::MAX)))
            };
            (Some(tx), ctx.app.blocking(told).await?)
        }
        // Nothing is due, which is an answer and no fault.
        Err(Refusal(p)) if p.code == Rejection::QueueIdle.code() => (None, [0, 0]),
        Err(why) => return Err(why),
    };
    let waiting = ctx.app.blocking(move |chain| Ok(chain.read()?.queue_of(&cid)?.len())).await?;
    Ok(ProcessOfflineQueueResponse {
        component_id,
        status: "processed".into(),
        state: if tx.is_some() { "processed" } else { "idle" }.into(),
        result: format!("{completed} came about, {failed} were given up, {waiting} wait"),
        processed_requests: completed,
        failed_requests: failed,
        pending_requests: i32::try_from(waiting).unwrap_or(i32::MAX),
        processed_at: ctx.app.now_s().cast_signed(),
        txhash: tx.map(|tx| hash(&tx)).unwrap_or_default(),
    })
}

/// Takes a request back.
pub(crate) async fn cancel(ctx: Ctx, rq: CancelRequestRequest) -> Reply<CancelRequestResponse> {
    let creator = ctx.creator(&rq.creator).await?;
    let request_id: [u8; 16] = parse("request_id", "queue", required("request_id", &rq.request_id)?)?;
    let body = Registry::Cancel { id: QueueId(request_id), reason: Reason::Unspecified };
    let tx = ctx.send(&creator, Body::Registry(body)).await?;
    Ok(CancelRequestResponse {
        request_id: id("queue", &request_id),
        status: "cancelled".into(),
        result: "cancelled".into(),
        reason: if rq.reason.is_empty() { "unspecified".into() } else { rq.reason },
        cancelled_at: ctx.app.now_s().cast_signed(),
        txhash: hash(&tx),
    })
}

async fn list(ctx: Ctx, rq: GetQueuedRequestsRequest, only_proxy: bool) -> Reply<GetQueuedRequestsResponse> {
    let page = Page::read(&rq.offset, &rq.limit)?;
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let cid = known(&snapshot, "component_id", &rq.component_id)?;
        let mut waiting = snapshot.queue_of(&cid)?;
        waiting.retain(|(_, q)| !only_proxy || q.proxy == cid);
        let count = i32::try_from(waiting.len()).unwrap_or(i32::MAX);
        let requests = page.of(waiting);
        Ok(GetQueuedRequestsResponse {
            component_id: crate::authority::component_id(&snapshot, &cid)?,
            requests: requests.iter().map(|(id, q)| view(&snapshot, id, q)).collect::<Reply<_>>()?,
            count,
        })
    };
    ctx.app.blocking(read).await
}

/// What waits for a component.
pub(crate) async fn requests(ctx: Ctx, rq: GetQueuedRequestsRequest) -> Reply<GetQueuedRequestsResponse> {
    list(ctx, rq, false).await
}

/// What a component asks for in the place of others.
pub(crate) async fn proxy(ctx: Ctx, rq: ListProxyQueueRequest) -> Reply<GetQueuedRequestsResponse> {
    let ListProxyQueueRequest { component_id, offset, limit } = rq;
    list(ctx, GetQueuedRequestsRequest { component_id, offset, limit }, true).await
}
