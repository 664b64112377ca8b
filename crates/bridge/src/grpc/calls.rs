//! The methods (A192): each unary one goes the way of its twin in JSON, each stream has a way of its own.

use std::{pin::Pin, sync::Arc};

use api::{
    Problem,
    event::{After, Cursor, Query},
    problem::code,
};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderValue, header},
};
use futures_util::{Stream, StreamExt, stream::once};
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tower::ServiceExt;

use super::{
    battery,
    proto::{self, api_bridge_service_server::ApiBridgeService, stream_events_response},
};
use crate::{
    Shared,
    access::Known,
    compat::Profile,
    events::{Item, asked, follow, json},
    refusal::{Refusal, Reply},
};

/// Longest answer of a method, in bytes.
const ANSWER_MAX: usize = 2 << 20;

/// What the service works with.
pub(super) struct Calls {
    app: Arc<Shared>,
    /// The twins.
    twins: Router,
}

impl Calls {
    pub fn new(app: &Arc<Shared>, twins: Router) -> Self {
        Calls { app: app.clone(), twins }
    }

    /// Asks the twin of this name.
    async fn unary<Rq: Serialize, Rs: DeserializeOwned>(
        &self,
        name: &str,
        request: Request<Rq>,
    ) -> Result<Response<Rs>, Status> {
        Ok(Response::new(self.ask(name, request).await?))
    }

    async fn ask<Rq: Serialize, Rs: DeserializeOwned>(&self, name: &str, request: Request<Rq>) -> Reply<Rs> {
        let (metadata, extensions, message) = request.into_parts();
        let body = Value::Object(given(&message)?).to_string();
        let mut headers = metadata.into_headers();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.remove(header::CONTENT_LENGTH);
        let request = axum::http::Request::post(format!("/APIBridgeService/{name}")).body(Body::from(body));
        let mut request = request.map_err(|e| Refusal::internal(&e))?;
        *request.headers_mut() = headers;
        if let Some(known) = extensions.get::<Known>() {
            request.extensions_mut().insert(known.clone());
        }
        request.extensions_mut().insert(Profile::Legacy);
        let mut answer = match self.twins.clone().oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        if let Some(problem) = answer.extensions_mut().remove::<Problem>() {
            return Err(Refusal(problem));
        }
        if !answer.status().is_success() {
            return Err(Refusal::internal(&format!("{name}: an answer with the status {}", answer.status())));
        }
        let bytes = to_bytes(answer.into_body(), ANSWER_MAX).await.map_err(|e| Refusal::internal(&e))?;
        let mut answer: Value = serde_json::from_slice(&bytes).map_err(|e| Refusal::internal(&e))?;
        truth(&mut answer);
        // Whose queue was looked at has no other member in the older contract.
        if name == "ProcessOfflineQueue" {
            answer["request_id"] = answer["component_id"].clone();
        }
        serde_json::from_value(answer).map_err(|e| Refusal::internal(&format!("{name}: {e}")))
    }

    async fn events(
        &self,
        request: proto::StreamEventsRequest,
    ) -> Reply<Answers<proto::StreamEventsResponse>> {
        let proto::StreamEventsRequest { after, types, component_id } = request;
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let query = Query {
            after: given(after),
            types: given(types.join(",")),
            component: given(component_id),
            limit: None,
        };
        let (after, filter) = self.app.blocking(move |chain| asked(chain, &query, After::Now)).await?;
        let items = ReceiverStream::new(follow(&self.app, after, filter)?);
        Ok(unended(items.map(|item| Ok(told(item)))))
    }

    async fn battery(
        &self,
        request: proto::StreamBatteryStatusRequest,
    ) -> Reply<Answers<proto::StreamBatteryStatusResponse>> {
        Ok(unended(ReceiverStream::new(battery::stream(&self.app, request).await?)))
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A stream that ends because the bridge does, or because its reader took nothing for too long, says so.
fn unended<T: Send + 'static>(items: impl Stream<Item = Result<T, Status>> + Send + 'static) -> Answers<T> {
    let end = async {
        Err(Refusal::new(503, code::BUSY, "the stream ended; come back with what was seen last").into())
    };
    Box::pin(items.chain(once(end)))
}

/// The members of a message that have another value than their default: what is not there is left out.
fn given(message: &impl Serialize) -> Reply<Map<String, Value>> {
    match serde_json::to_value(message).map_err(|e| Refusal::internal(&e))? {
        Value::Object(mut members) => {
            // JSON has no such number, and no message another member that is null.
            if let Some((name, _)) = members.iter().find(|(_, value)| value.is_null()) {
                return Err(Refusal::format(format!("{name}: a finite number")));
            }
            members.retain(|_, value| match value {
                Value::String(text) => !text.is_empty(),
                Value::Number(number) => number.as_f64() != Some(0.0),
                Value::Bool(yes) => *yes,
                Value::Array(items) => !items.is_empty(),
                Value::Null => false,
                Value::Object(_) => true,
            });
            Ok(members)
        }
        _ => Err(Refusal::internal(&"a message that is no object")),
    }
}

/// Puts what is so in the place of what the older contract says, and a hash as the native one writes it.
fn truth(answer: &mut Value) {
    match answer {
        Value::Array(items) => items.iter_mut().for_each(truth),
        Value::Object(members) => {
            members.values_mut().for_each(truth);
            if let Some(state) = members.get("state").cloned() {
                members.insert("status".into(), state);
            }
            if let Some(Value::String(hash)) = members.get_mut("txhash") {
                hash.make_ascii_lowercase();
            }
        }
        _ => {}
    }
}

fn told(item: Item) -> proto::StreamEventsResponse {
    let text = |id: Option<Cursor>| id.map_or_else(String::new, |id| id.to_string());
    let item = match item {
        Item::Event(event) => stream_events_response::Item::Event(proto::Event {
            id: event.id.to_string(),
            data: json(&event.data),
            event_type: event.event_type,
            timestamp: event.timestamp,
        }),
        Item::Gap(gap) => stream_events_response::Item::Gap(proto::Gap {
            after: text(gap.after),
            resumes_at: text(gap.resumes_at),
            reason: gap.reason,
        }),
    };
    proto::StreamEventsResponse { item: Some(item) }
}

/// The one message of a body of gRPC, which is not packed.
fn message(body: &[u8]) -> Option<&[u8]> {
    let (head, message) = body.split_first_chunk::<5>()?;
    let [packed, length @ ..] = *head;
    (packed == 0 && usize::try_from(u32::from_be_bytes(length)).ok() == Some(message.len()))
        .then_some(message)
}

macro_rules! methods {
    ($($function:ident $name:ident $request:ident => $response:ident;)*) => {
        #[tonic::async_trait]
        impl ApiBridgeService for Calls {
            type StreamBatteryStatusStream = Answers<proto::StreamBatteryStatusResponse>;
            type StreamEventsStream = Answers<proto::StreamEventsResponse>;

            $(async fn $function(
                &self,
                request: Request<proto::$request>,
            ) -> Result<Response<proto::$response>, Status> {
                self.unary(stringify!($name), request).await
            })*

            async fn stream_battery_status(
                &self,
                request: Request<proto::StreamBatteryStatusRequest>,
            ) -> Result<Response<Self::StreamBatteryStatusStream>, Status> {
                Ok(Response::new(self.battery(request.into_inner()).await?))
            }

            async fn stream_events(
                &self,
                request: Request<proto::StreamEventsRequest>,
            ) -> Result<Response<Self::StreamEventsStream>, Status> {
                Ok(Response::new(self.events(request.into_inner()).await?))
            }
        }

        /// The members of the message in `body` by the names of JSON; `None` where it is none of the method.
        pub(crate) fn members(method: &str, body: &[u8]) -> Option<Value> {
            let message = message(body)?;
            let members = match method {
                $(stringify!($name) => given(&proto::$request::decode(message).ok()?),)*
                "StreamBatteryStatus" => given(&proto::StreamBatteryStatusRequest::decode(message).ok()?),
                "StreamEvents" => given(&proto::StreamEventsRequest::decode(message).ok()?),
                _ => return None,
            };
            members.ok().map(Value::Object)
        }
    };
}

methods! {
    get_accounts GetAccounts GetAccountsRequest => GetAccountsResponse;
    register_component RegisterComponent RegisterComponentRequest => RegisterComponentResponse;
    get_component GetComponent GetComponentRequest => GetComponentResponse;
    get_component_identity GetComponentIdentity GetComponentIdentityRequest => GetComponentIdentityResponse;
    verify_component VerifyComponent VerifyComponentRequest => VerifyComponentResponse;
    create_lct CreateLCT CreateLctRequest => CreateLctResponse;
    get_lct GetLCT GetLctRequest => GetLctResponse;
    update_lct_status UpdateLCTStatus UpdateLctStatusRequest => UpdateLctStatusResponse;
    initiate_pairing InitiatePairing InitiatePairingRequest => InitiatePairingResponse;
    complete_pairing CompletePairing CompletePairingRequest => CompletePairingResponse;
    revoke_pairing RevokePairing RevokePairingRequest => RevokePairingResponse;
    get_pairing_status GetPairingStatus GetPairingStatusRequest => GetPairingStatusResponse;
    create_trust_tensor CreateTrustTensor CreateTrustTensorRequest => CreateTrustTensorResponse;
    get_trust_tensor GetTrustTensor GetTrustTensorRequest => GetTrustTensorResponse;
    update_trust_score UpdateTrustScore UpdateTrustScoreRequest => UpdateTrustScoreResponse;
    create_energy_operation CreateEnergyOperation CreateEnergyOperationRequest => CreateEnergyOperationResponse;
    execute_energy_transfer ExecuteEnergyTransfer ExecuteEnergyTransferRequest => ExecuteEnergyTransferResponse;
    get_energy_balance GetEnergyBalance GetEnergyBalanceRequest => GetEnergyBalanceResponse;
    queue_pairing_request QueuePairingRequest QueuePairingRequestRequest => QueuePairingRequestResponse;
    get_queue_status GetQueueStatus GetQueueStatusRequest => GetQueueStatusResponse;
    process_offline_queue ProcessOfflineQueue ProcessOfflineQueueRequest => ProcessOfflineQueueResponse;
    cancel_request CancelRequest CancelRequestRequest => CancelRequestResponse;
    get_queued_requests GetQueuedRequests GetQueuedRequestsRequest => GetQueuedRequestsResponse;
    list_proxy_queue ListProxyQueue ListProxyQueueRequest => ListProxyQueueResponse;
    create_pairing_authorization CreatePairingAuthorization CreatePairingAuthorizationRequest => CreatePairingAuthorizationResponse;
    get_component_authorizations GetComponentAuthorizations GetComponentAuthorizationsRequest => GetComponentAuthorizationsResponse;
    update_authorization UpdateAuthorization UpdateAuthorizationRequest => UpdateAuthorizationResponse;
    revoke_authorization RevokeAuthorization RevokeAuthorizationRequest => RevokeAuthorizationResponse;
    check_pairing_authorization CheckPairingAuthorization CheckPairingAuthorizationRequest => CheckPairingAuthorizationResponse;
    calculate_relationship_trust CalculateRelationshipTrust CalculateRelationshipTrustRequest => CalculateRelationshipTrustResponse;
    get_relationship_tensor GetRelationshipTensor GetRelationshipTensorRequest => GetRelationshipTensorResponse;
    update_tensor_score UpdateTensorScore UpdateTensorScoreRequest => UpdateTensorScoreResponse;
}
