//! The older contract over gRPC, by a client made of the same contract (A191 to A199); `grpc_peer.py` is a foreign one.
#![allow(clippy::needless_update)] // The macro that asks leaves members out where there are others.

use crate::{
    common::{World, batch_body, encoded, records},
    compat::{HOST, MODULE, PACK, gateway_pairs, good, hand_over, parts},
    front::{now_ms, served},
};

use api::{
    Blob,
    session::{Asked, PROOF_HEADER, Proof},
    telemetry::{Batch, Entry},
};
use bridge::{
    Front,
    access::{
        Role as UserRole,
        users::{User, UserFile},
    },
    compat::{Allow, Profile},
    front::tls::{Authority, Identity},
    grpc::proto::{api_bridge_service_client::ApiBridgeServiceClient, stream_events_response::Item, *},
};
use lct::{id::Role, sign::SigningKey};
use prost::Message as _;
use std::time::{Duration, Instant};
use tonic::{Code, Request, Status, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

type Client = ApiBridgeServiceClient<Channel>;

fn channel(world: &World) -> Channel {
    Channel::from_shared(world.address.clone()).unwrap().connect_lazy()
}

pub fn client(world: &World) -> Client {
    Client::new(channel(world))
}

/// Code of gRPC, code of A5 and status of REST.
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String, String) {
    let status = answer.unwrap_err();
    let trailer = |name: &str| status.metadata().get(name).map_or("", |v| v.to_str().unwrap()).to_owned();
    (status.code(), trailer("w4-error-code"), trailer("w4-status"))
}

fn of(code: Code, problem: &str, http: u16) -> (Code, String, String) {
    (code, problem.into(), http.to_string())
}

macro_rules! ask {
    ($client:ident.$method:ident, $message:ident { $($member:ident: $value:expr),* $(,)? }) => {
        $client.$method($message { $($member: $value.into(),)* ..Default::default() }).await
    };
}

macro_rules! told {
    ($($call:tt)*) => { ask!($($call)*).unwrap().into_inner() };
}

/// Components, LCTs, pairings and trust: every method that a client goes through to commission two parts.
#[tokio::test(flavor = "multi_thread")]
async fn two_components_are_paired_over_grpc() {
    let world = World::old(Profile::Legacy, Allow::default()).await;
    let ([pack, _, host], [bonded, _]) = parts(&world).await;
    let mut client = client(&world);

    let accounts = told!(client.get_accounts, GetAccountsRequest {});
    assert_eq!((accounts.count, accounts.accounts[0].name.as_str()), (2, "alice"));
    assert_eq!((accounts.accounts[0].address.len(), accounts.accounts[0].key_type.as_str()), (66, "p256"));

    let data = format!("SN-{PACK}");
    let registered = told!(
        client.register_component,
        RegisterComponentRequest { creator: "alice", component_data: data.clone(), context: "demo" }
    );
    assert_eq!((registered.component_id.as_str(), registered.component_identity.as_str()), (PACK, PACK));
    assert_eq!((registered.status.as_str(), registered.creator.as_str()), ("active", "alice"));
    assert_eq!((registered.component_data.as_str(), registered.context.as_str()), (data.as_str(), "demo"));
    assert!(registered.lct_id.starts_with("lct_") && registered.txhash.len() == 64, "{registered:?}");
    let unknown = ask!(
        client.register_component,
        RegisterComponentRequest { creator: "alice", component_data: "SN-nobody" }
    );
    assert_eq!(refused(unknown), of(Code::NotFound, "W4_ERR_COMPONENT_NOT_FOUND", 404));
    let stranger = ask!(
        client.register_component,
        RegisterComponentRequest { creator: "mallory", component_data: data }
    );
    assert_eq!(refused(stranger), of(Code::PermissionDenied, "W4_ERR_CREATOR_DENIED", 403));

    let found = told!(client.get_component, GetComponentRequest { component_id: PACK });
    assert_eq!((&found.txhash, found.status.as_str()), (&registered.txhash, "active"));
    let nobody = ask!(client.get_component, GetComponentRequest {});
    assert_eq!(refused(nobody), of(Code::InvalidArgument, "W4_ERR_PROTO_FORMAT", 400));
    let identity = told!(client.get_component_identity, GetComponentIdentityRequest { component_id: PACK });
    assert_eq!((identity.identity, identity.verified), (hex::encode(pack.key.public().0), true));
    let verified =
        told!(client.verify_component, VerifyComponentRequest { verifier: "bob", component_id: PACK });
    assert_eq!((verified.verifier.as_str(), verified.status.as_str()), ("bob", "verified"));
    let by_nobody = ask!(client.verify_component, VerifyComponentRequest { component_id: PACK });
    assert_eq!(refused(by_nobody).0, Code::InvalidArgument);

    let create = CreateLctRequest {
        creator: "alice".into(),
        component_a: HOST.into(),
        component_b: PACK.into(),
        context: "demo".into(),
        proxy_id: String::new(),
    };
    let made = client.create_lct(create.clone()).await.unwrap().into_inner();
    assert_eq!((made.status.as_str(), made.context.as_str()), ("active", "demo"));
    assert!(made.lct_key_half.is_empty() && made.device_key_half.is_empty(), "in clear only with a switch");
    let sealed = made.sealed_key_halves.unwrap();
    let halves = [sealed.lct.unwrap(), sealed.device.unwrap()];
    for half in halves.into_iter().flat_map(|pair| [pair.a.unwrap(), pair.b.unwrap()]) {
        assert!(half.to.len() == 16 && half.sealed.len() > 100, "{half:?}");
    }
    assert_eq!(refused(client.create_lct(create).await), of(Code::AlreadyExists, "W4_ERR_LCT_EXISTS", 409));
    let lct = told!(client.get_lct, GetLctRequest { lct_id: made.lct_id.clone() });
    assert!([&lct.component_a_id, &lct.component_b_id].iter().all(|id| [PACK, HOST].contains(&id.as_str())));
    assert_eq!((lct.pairing_status.as_str(), lct.operational_context.as_str()), ("active", "demo"));
    assert_eq!(lct.created_at, made.created_at);
    assert_eq!(refused(ask!(client.get_lct, GetLctRequest { lct_id: "lct_a" })).0, Code::InvalidArgument);
    let suspend = UpdateLctStatusRequest {
        creator: "alice".into(),
        lct_id: made.lct_id.clone(),
        status: "suspended".into(),
        context: String::new(),
    };
    let denied = refused(client.update_lct_status(suspend.clone()).await);
    assert_eq!(denied, of(Code::PermissionDenied, "W4_ERR_LCT_DENIED", 403));
    hand_over(&world, &pack, "alice").await;
    assert_eq!(client.update_lct_status(suspend.clone()).await.unwrap().into_inner().status, "suspended");
    let resume = UpdateLctStatusRequest { status: "active".into(), ..suspend };
    let active = client.update_lct_status(resume).await.unwrap().into_inner();
    assert!(active.status == "active" && active.updated_at > 0);

    let pair = InitiatePairingRequest {
        creator: "alice".into(),
        component_a: HOST.into(),
        component_b: PACK.into(),
        operational_context: "demo".into(),
        proxy_id: "proxy".into(),
        force_immediate: true,
    };
    let challenge = client.initiate_pairing(pair).await.unwrap().into_inner();
    assert_eq!((challenge.status.as_str(), challenge.force_immediate), ("pending", true));
    let id = challenge.challenge_id;
    let status = told!(client.get_pairing_status, GetPairingStatusRequest { challenge_id: id.clone() });
    assert_eq!((status.status.as_str(), status.created_at), ("pending", challenge.created_at));
    gateway_pairs(&world, &host, &pack, &bonded).await;
    let complete = CompletePairingRequest { creator: "alice".into(), challenge_id: id, ..Default::default() };
    let completed = client.complete_pairing(complete.clone()).await.unwrap().into_inner();
    assert_eq!(completed.lct_id, made.lct_id);
    assert!(completed.session_keys.starts_with("pairing_") && completed.txhash.len() == 64);
    assert!(completed.split_key_a.is_empty() && completed.trust_summary.contains("context:"));
    let status =
        told!(client.get_pairing_status, GetPairingStatusRequest { challenge_id: complete.challenge_id });
    assert_eq!(status.status, "completed");
    let lost = ask!(
        client.complete_pairing,
        CompletePairingRequest { creator: "alice", challenge_id: "challenge_a" }
    );
    assert_eq!(refused(lost).0, Code::InvalidArgument);

    let (a, b) = (HOST, PACK);
    let tensor = told!(
        client.create_trust_tensor,
        CreateTrustTensorRequest { creator: "alice", component_a: a, component_b: b }
    );
    assert!(
        tensor.score > 0.0 && tensor.score < 1.0 && tensor.tensor_id.starts_with("tensor_"),
        "{tensor:?}"
    );
    let wish = ask!(
        client.create_trust_tensor,
        CreateTrustTensorRequest { creator: "alice", component_a: a, component_b: b, initial_score: 0.99 }
    );
    let derived = of(Code::PermissionDenied, "W4_ERR_TRUST_DERIVED", 403);
    assert_eq!(refused(wish), derived);
    // What JSON has no number for is not left out, as 0 is.
    for score in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let wish = ask!(
            client.create_trust_tensor,
            CreateTrustTensorRequest {
                creator: "alice",
                component_a: a,
                component_b: b,
                initial_score: score
            }
        );
        let status = wish.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{score}: {status:?}");
        assert!(status.message().contains("initial_score: a finite number"), "{score}: {status:?}");
    }
    let id = tensor.tensor_id;
    let again = told!(client.get_trust_tensor, GetTrustTensorRequest { tensor_id: id.clone() });
    let related =
        told!(client.get_relationship_tensor, GetRelationshipTensorRequest { tensor_id: id.clone() });
    assert_eq!((again.score, related.score), (tensor.score, tensor.score));
    let none = format!("tensor_{}", "a".repeat(26));
    let missing =
        ask!(client.get_relationship_tensor, GetRelationshipTensorRequest { tensor_id: none.clone() });
    assert_eq!(refused(missing).0, Code::NotFound);
    assert_eq!(
        refused(ask!(client.get_trust_tensor, GetTrustTensorRequest { tensor_id: none })).0,
        Code::NotFound
    );
    let calculated = told!(
        client.calculate_relationship_trust,
        CalculateRelationshipTrustRequest { component_a: a, component_b: b, operational_context: "demo" }
    );
    assert_eq!((calculated.tensor_id, calculated.trust_score), (id.clone(), tensor.score));
    let lonely = ask!(
        client.calculate_relationship_trust,
        CalculateRelationshipTrustRequest { component_a: a, component_b: MODULE }
    );
    assert_eq!(refused(lonely).0, Code::NotFound);
    let set = ask!(client.update_trust_score, UpdateTrustScoreRequest { tensor_id: id.clone(), score: 0.9 });
    assert_eq!(refused(set), derived);
    let set = ask!(client.update_tensor_score, UpdateTensorScoreRequest { tensor_id: id, score: 0.9 });
    assert_eq!(refused(set), derived);

    let revoke = RevokePairingRequest {
        creator: "alice".into(),
        lct_id: made.lct_id,
        reason: "demo".into(),
        notify_offline: true,
    };
    let ordered = client.revoke_pairing(revoke).await.unwrap().into_inner();
    assert_eq!((ordered.status.as_str(), ordered.reason.as_str()), ("pending", "demo"), "it is an order");
    let gone =
        ask!(client.revoke_pairing, RevokePairingRequest { creator: "alice", lct_id: "00".repeat(32) });
    assert_eq!(refused(gone), of(Code::NotFound, "W4_ERR_LCT_NOT_FOUND", 404));
}

/// Authorisations, queues and energy; and that a write under a key happens once.
#[tokio::test(flavor = "multi_thread")]
async fn authorizations_queues_and_energy_over_grpc() {
    let world = World::old(Profile::Legacy, Allow::default()).await;
    let ([pack, ..], _) = parts(&world).await;
    hand_over(&world, &pack, "alice").await;
    let mut client = client(&world);

    let grant = CreatePairingAuthorizationRequest {
        component_a: PACK.into(),
        component_b: HOST.into(),
        operational_context: "demo".into(),
        authorization_rules: "trust_score > 0.4".into(),
    };
    let granted = client.create_pairing_authorization(grant.clone()).await.unwrap().into_inner();
    assert!(granted.status == "active" && granted.txhash.len() == 64, "{granted:?}");
    let id = granted.authorization_id;
    let not_his =
        CreatePairingAuthorizationRequest { component_a: HOST.into(), component_b: PACK.into(), ..grant };
    let denied = refused(client.create_pairing_authorization(not_his).await);
    assert_eq!(denied, of(Code::PermissionDenied, "W4_ERR_AUTHORIZATION_DENIED", 403));
    let list =
        told!(client.get_component_authorizations, GetComponentAuthorizationsRequest { component_id: PACK });
    assert_eq!((list.count, list.authorization[0].authorization_id.as_str()), (1, id.as_str()));
    assert_eq!(list.authorization[0].authorization_rules, "trust_score > 0.4");
    let check = told!(
        client.check_pairing_authorization,
        CheckPairingAuthorizationRequest {
            component_a: PACK,
            component_b: HOST,
            operational_context: "demo"
        }
    );
    // A host that did nothing yet is trusted with 0.4, and a basic pairing asks for 0.5.
    assert_eq!((check.status.as_str(), &check.authorization_id), ("not_authorized", &id));
    let open = ask!(
        client.check_pairing_authorization,
        CheckPairingAuthorizationRequest { component_a: PACK, component_b: HOST }
    );
    assert_eq!(refused(open).0, Code::InvalidArgument);
    let rules = "trust_score > 0.5";
    let update = UpdateAuthorizationRequest {
        authorization_id: id.clone(),
        authorization_rules: rules.into(),
        ..Default::default()
    };
    let updated = client.update_authorization(update).await.unwrap().into_inner();
    assert!(updated.status == "active" && updated.updated_at > 0);
    let kept =
        told!(client.update_authorization, UpdateAuthorizationRequest { authorization_id: id.clone() });
    assert_eq!(kept.authorization_id, id);
    let list =
        told!(client.get_component_authorizations, GetComponentAuthorizationsRequest { component_id: PACK });
    assert_eq!(list.authorization[0].authorization_rules, rules, "what is empty leaves the rules");
    let revoke = RevokeAuthorizationRequest { authorization_id: id, reason: "demo".into() };
    let revoked = client.revoke_authorization(revoke.clone()).await.unwrap().into_inner();
    assert_eq!((revoked.status.as_str(), revoked.reason.as_str()), ("revoked", "demo"));
    let again = refused(client.revoke_authorization(revoke).await);
    assert_eq!(again, of(Code::FailedPrecondition, "W4_ERR_AUTHORIZATION_ENDED", 410));
    let nobody = ask!(
        client.get_component_authorizations,
        GetComponentAuthorizationsRequest { component_id: "nobody-1" }
    );
    assert_eq!(refused(nobody), of(Code::NotFound, "W4_ERR_COMPONENT_NOT_FOUND", 404));

    let wish = QueuePairingRequestRequest {
        component_a: HOST.into(),
        component_b: MODULE.into(),
        operational_context: "demo".into(),
        proxy_id: PACK.into(),
    };
    let under = |key: &str, wish: &QueuePairingRequestRequest| {
        let mut request = Request::new(wish.clone());
        request.metadata_mut().insert("idempotency-key", key.parse().unwrap());
        request
    };
    let queued = client.queue_pairing_request(under("k1", &wish)).await.unwrap().into_inner();
    assert!(queued.status == "queued" && queued.created_at > 0, "{queued:?}");
    let same = client.queue_pairing_request(under("k1", &wish)).await.unwrap().into_inner();
    assert_eq!(same, queued, "once");
    let other = QueuePairingRequestRequest { operational_context: "other".into(), ..wish.clone() };
    let taken = refused(client.queue_pairing_request(under("k1", &other)).await);
    assert_eq!(taken, of(Code::FailedPrecondition, "W4_ERR_PROTO_REPLAY", 409));
    let proxy = told!(client.list_proxy_queue, ListProxyQueueRequest { proxy_id: PACK });
    assert_eq!((proxy.count, &proxy.requests[0].request_id), (1, &queued.request_id));
    let list = told!(client.get_queued_requests, GetQueuedRequestsRequest { component_id: HOST });
    assert_eq!((list.count, list.requests[0].component_b.as_str()), (1, MODULE));
    let status =
        told!(client.get_queue_status, GetQueueStatusRequest { request_id: queued.request_id.clone() });
    assert_eq!((status.status.as_str(), &status.request_id), ("queued", &queued.request_id));
    let whole = told!(client.get_queue_status, GetQueueStatusRequest { request_id: HOST });
    assert_eq!(whole.status, "waiting");
    let processed = told!(client.process_offline_queue, ProcessOfflineQueueRequest { component_id: HOST });
    assert!(processed.request_id == HOST && processed.processed_at > 0, "{processed:?}");
    let cancel = CancelRequestRequest { request_id: queued.request_id };
    assert_eq!(client.cancel_request(cancel.clone()).await.unwrap().into_inner().status, "cancelled");
    assert_eq!(refused(client.cancel_request(cancel).await), of(Code::NotFound, "W4_ERR_QUEUE_UNKNOWN", 404));
    for refusal in [
        refused(ask!(client.queue_pairing_request, QueuePairingRequestRequest { component_a: HOST })),
        refused(ask!(client.get_queued_requests, GetQueuedRequestsRequest {})),
        refused(ask!(client.list_proxy_queue, ListProxyQueueRequest {})),
        refused(ask!(client.get_queue_status, GetQueueStatusRequest {})),
        refused(ask!(client.process_offline_queue, ProcessOfflineQueueRequest {})),
        refused(ask!(client.get_energy_balance, GetEnergyBalanceRequest {})),
        refused(ask!(client.get_component_identity, GetComponentIdentityRequest {})),
        refused(ask!(client.get_pairing_status, GetPairingStatusRequest {})),
        refused(ask!(client.initiate_pairing, InitiatePairingRequest {})),
        refused(ask!(client.execute_energy_transfer, ExecuteEnergyTransferRequest { creator: "alice" })),
    ] {
        assert_eq!(refusal, of(Code::InvalidArgument, "W4_ERR_PROTO_FORMAT", 400));
    }

    let balance = told!(client.get_energy_balance, GetEnergyBalanceRequest { component_id: PACK });
    let asked = good(&world, "GET", &format!("/api/v1/energy/balance/{PACK}"), "").await;
    assert_eq!((Some(balance.balance), balance.unit.as_str()), (asked["balance"].as_f64(), "Wh"));
    let operation = CreateEnergyOperationRequest {
        creator: "alice".into(),
        component_a: PACK.into(),
        component_b: MODULE.into(),
        operation_type: "discharge".into(),
        amount: 10.5,
        context: String::new(),
    };
    let measured = refused(client.create_energy_operation(operation.clone()).await);
    assert_eq!(measured, of(Code::PermissionDenied, "W4_ERR_ENERGY_MEASURED", 403));
    let transfer = CreateEnergyOperationRequest { operation_type: "transfer".into(), ..operation };
    let unpaired = refused(client.create_energy_operation(transfer).await);
    assert_eq!(unpaired, of(Code::NotFound, "W4_ERR_PAIRING_NOT_FOUND", 404));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_from_a_cursor_and_as_they_come() {
    let mut world = World::new().await;
    world.register(&world.factory.device("app-0001", Role::App)).await;
    let mut client = client(&world);
    let request = StreamEventsRequest {
        after: "start".into(),
        types: vec!["component_registered".into()],
        component_id: String::new(),
    };
    let event = |told: Option<StreamEventsResponse>| match told.unwrap().item {
        Some(Item::Event(event)) => event,
        other => panic!("{other:?}"),
    };
    let mut stream = client.stream_events(request.clone()).await.unwrap().into_inner();
    let first = event(stream.message().await.unwrap());
    assert_eq!(first.event_type, "component_registered");
    assert!(first.data.contains(r#""component_id":"app-0001""#), "{first:?}");
    world.register(&world.factory.device("pack-0001", Role::Pack)).await;
    let second = event(stream.message().await.unwrap());
    let after = StreamEventsRequest { after: first.id, ..request.clone() };
    let mut resumed = client.stream_events(after).await.unwrap().into_inner();
    assert_eq!(event(resumed.message().await.unwrap()), second);

    let lost = StreamEventsRequest { after: "900-0-0".into(), ..request.clone() };
    let mut lost = client.stream_events(lost).await.unwrap().into_inner();
    match lost.message().await.unwrap().unwrap().item {
        Some(Item::Gap(gap)) => assert_eq!((gap.after.as_str(), gap.resumes_at.as_str()), ("900-0-0", "")),
        other => panic!("{other:?}"),
    }
    let typo = StreamEventsRequest { types: vec!["registered".into()], ..Default::default() };
    assert_eq!(
        refused(client.stream_events(typo).await),
        of(Code::InvalidArgument, "W4_ERR_PROTO_FORMAT", 400)
    );

    // A deadline ends the stream, and the bridge's end does; either is said.
    let mut brief = Request::new(StreamEventsRequest::default());
    brief.metadata_mut().insert("grpc-timeout", "300m".parse().unwrap());
    let began = Instant::now();
    let mut brief = client.stream_events(brief).await.unwrap().into_inner();
    let late = brief.message().await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late:?}");
    assert!((Duration::from_millis(250)..Duration::from_secs(10)).contains(&began.elapsed()));
    let mut wrong = Request::new(StreamEventsRequest::default());
    wrong.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
    assert_eq!(refused(client.stream_events(wrong).await).0, Code::InvalidArgument);

    let mut health = tonic_health::pb::health_client::HealthClient::new(channel(&world));
    let mut watched =
        health.watch(tonic_health::pb::HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status, 1, "serving");
    let began = Instant::now();
    world.stop().await;
    assert!(began.elapsed() < Duration::from_secs(4), "no stream holds the bridge up");
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(watched.message().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn battery_status_is_what_devices_recorded() {
    let world = World::new().await;
    let (_, pack, bonded) = world.commissioned().await;
    let mut client = client(&world);
    let request = StreamBatteryStatusRequest { component_id: "pack-0001".into(), interval_seconds: 1 };
    let mut stream = client.stream_battery_status(request).await.unwrap().into_inner();
    let mut first = 0;
    for _ in 0..2 {
        let mut sent = records(pack.cid, first, 3, world.now_s());
        for record in &mut sent {
            record.values = (0..17).map(|i| 1000 * (record.seq as i32 + i)).collect();
        }
        let (_, body) = batch_body(&sent, bonded.keys[1].signing_key());
        let records = sent.iter().map(|r| Entry::Record(Blob(encoded(r)))).collect();
        let transaction = Blob(world.tx(body).await.bytes);
        world.client.submit_batch(&Batch { transaction, records }).await.unwrap();
        let told = stream.message().await.unwrap().unwrap();
        let last = f64::from(sent[2].seq);
        assert_eq!((told.voltage, told.current, told.temperature), (last + 4.0, last + 5.0, last + 11.0));
        assert_eq!(
            (told.component_id.as_str(), told.timestamp as u64),
            ("pack-0001", sent[2].time_ms / 1000)
        );
        first += 3;
    }
    for (id, interval_seconds, refusal) in [
        ("pack-0404", 0, of(Code::NotFound, "W4_ERR_COMPONENT_NOT_FOUND", 404)),
        ("x", 0, of(Code::InvalidArgument, "W4_ERR_PROTO_FORMAT", 400)),
        ("pack-0001", -1, of(Code::InvalidArgument, "W4_ERR_PROTO_FORMAT", 400)),
        ("pack-0001", 3601, of(Code::InvalidArgument, "W4_ERR_PROTO_FORMAT", 400)),
    ] {
        let request = StreamBatteryStatusRequest { component_id: id.into(), interval_seconds };
        assert_eq!(refused(client.stream_battery_status(request).await), refusal, "{id} {interval_seconds}");
    }
}

/// Names of the methods, as reflection tells them.
async fn reflected(world: &World) -> Vec<String> {
    let mut client = ServerReflectionClient::new(channel(world));
    let ask = |what| ServerReflectionRequest { host: String::new(), message_request: Some(what) };
    let service = "api_bridge.v1.APIBridgeService";
    let asked = [
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol(service.into())),
    ];
    let mut answers = client.server_reflection_info(tokio_stream::iter(asked)).await.unwrap().into_inner();
    let services = match answers.message().await.unwrap().unwrap().message_response {
        Some(MessageResponse::ListServicesResponse(list)) => list.service,
        other => panic!("{other:?}"),
    };
    for name in [service, "grpc.health.v1.Health"] {
        assert!(services.iter().any(|s| s.name == name), "{services:?}");
    }
    let file = match answers.message().await.unwrap().unwrap().message_response {
        Some(MessageResponse::FileDescriptorResponse(mut files)) => files.file_descriptor_proto.remove(0),
        other => panic!("{other:?}"),
    };
    let file = Described::decode(file.as_slice()).unwrap();
    file.services.iter().flat_map(|s| s.methods.iter().map(|m| m.name.clone())).collect()
}

/// The part of `google.protobuf.FileDescriptorProto` that names services and methods.
#[derive(Clone, PartialEq, prost::Message)]
struct Described {
    #[prost(message, repeated, tag = "6")]
    services: Vec<DescribedService>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DescribedService {
    #[prost(message, repeated, tag = "2")]
    methods: Vec<DescribedMethod>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DescribedMethod {
    #[prost(string, tag = "1")]
    name: String,
}

/// A method that is described and not there would be a stub.
#[tokio::test(flavor = "multi_thread")]
async fn every_method_that_reflection_tells_is_there() {
    let world = World::new().await;
    let methods = reflected(&world).await;
    assert_eq!(methods.len(), 34, "{methods:?}");
    let ask = async |path: String| {
        let mut grpc = Grpc::new(channel(&world));
        grpc.ready().await.unwrap();
        let path = PathAndQuery::try_from(path).unwrap();
        grpc.server_streaming(Request::new(()), path, ProstCodec::<(), ()>::default()).await.map(drop)
    };
    for method in methods {
        let code = ask(format!("/api_bridge.v1.APIBridgeService/{method}"))
            .await
            .map_or_else(|s| s.code(), |()| Code::Ok);
        let expected = [Code::Ok, Code::InvalidArgument, Code::PermissionDenied];
        assert!(expected.contains(&code), "{method}: {code:?}");
    }
    for nothing in
        ["api_bridge.v1.APIBridgeService/GetEverything", "api_bridge.v2.APIBridgeService/GetAccounts"]
    {
        assert_eq!(ask(format!("/{nothing}")).await.unwrap_err().code(), Code::Unimplemented, "{nothing}");
    }
    let published = world.send(world.http.get(format!("{}/proto/api_bridge.proto", world.address))).await;
    assert_eq!(published.body, include_bytes!("../proto/api_bridge.proto"));
    assert!(published.header("content-type").unwrap().starts_with("text/plain"));
}

/// What is no message of gRPC, and what REST would refuse before it looks at it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_call_is_refused_as_one() {
    let world = World::new().await;
    let path = format!("{}/api_bridge.v1.APIBridgeService/GetAccounts", world.address);
    let http = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let ask = async |media: &str, body: Vec<u8>| {
        let request = http.post(&path).header("content-type", media).header("te", "trailers").body(body);
        let answer = request.send().await.unwrap();
        let header = |name: &str| answer.headers().get(name).map_or("", |v| v.to_str().unwrap()).to_owned();
        (answer.status().as_u16(), header("grpc-status"), header("content-type"))
    };
    let call = |answer: (u16, String, String)| {
        assert_eq!((answer.0, answer.2.as_str()), (200, "application/grpc"));
        answer.1
    };
    let frame = vec![0; 5];
    assert_eq!(call(ask("application/grpc", frame.clone()).await), "");
    // A page of another origin can have a browser send these without asking anybody.
    for media in
        ["text/plain", "application/x-www-form-urlencoded", "application/json", "application/grpc-web"]
    {
        assert_eq!(ask(media, frame.clone()).await.0, 415, "{media}");
    }
    let packed = [&[1], &frame[1..]].concat();
    let long = [&[0], &70_000_u32.to_be_bytes()[..], &vec![0; 70_000]].concat();
    for (what, body) in
        [("packed", packed), ("cut", vec![0, 0, 0]), ("nonsense", vec![0, 0, 0, 0, 1, 0xFF]), ("long", long)]
    {
        let code = call(ask("application/grpc", body).await);
        assert!(!code.is_empty() && code != "0", "{what}: {code}");
    }
    let strange = http.post(&path).header("content-type", "application/grpc").header("host", "evil.example");
    let strange = strange.body(frame).send().await.unwrap();
    let told =
        ["grpc-status", "w4-error-code", "w4-status"].map(|name| strange.headers()[name].to_str().unwrap());
    assert_eq!(told, ["3", "W4_ERR_PROTO_HOST", "421"]);
    let figures =
        world.http.get(format!("{}/metrics", world.address)).send().await.unwrap().text().await.unwrap();
    assert!(figures.contains("class=\"read\",status=\"415\"} 4"), "{figures}");
}

/// Who has shown nothing yet has the bridge keep no long message, of whatever service (A196).
#[tokio::test(flavor = "multi_thread")]
async fn a_long_message_is_read_by_no_service() {
    let world = World::new().await;
    let http = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let ask = async |path: &str, message: Vec<u8>| {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let body = [&[0], &length[..], &message].concat();
        let request = http.post(format!("{}/{path}", world.address)).body(body);
        let answer = request.header("content-type", "application/grpc").header("te", "trailers");
        let answer = answer.send().await.unwrap();
        let code = answer.headers().get("grpc-status").map_or("", |v| v.to_str().unwrap()).to_owned();
        (code, answer)
    };
    // Member 1 as text: what is asked for in health, a name in reflection.
    let text = |length: usize| {
        let name = "x".repeat(length);
        tonic_health::pb::HealthCheckRequest { service: name }.encode_to_vec()
    };
    for (method, brief) in [
        ("api_bridge.v1.APIBridgeService/GetComponent", "5"),
        ("grpc.health.v1.Health/Check", "5"),
        ("grpc.health.v1.Health/Watch", "5"),
    ] {
        assert_eq!(ask(method, text(10)).await.0, brief, "{method}");
        assert_eq!(ask(method, text(70_000)).await.0, "11", "{method}");
    }
    for version in ["v1", "v1alpha"] {
        // With member 7: which services there are.
        let list = |length: usize| [text(length), vec![0x3A, 0]].concat();
        let path = format!("grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let told = ask(&path, list(10)).await.1.bytes().await.unwrap();
        assert!(told.windows(4).any(|part| part == b"grpc"), "{told:?}");
        let told = ask(&path, list(70_000)).await.1.bytes().await.unwrap();
        assert_eq!(told.len(), 0, "{version}");
    }
}

/// Whatever stays open has one of the places there are, and what it asks ends with it (A196).
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_tell_of_the_bridge_are_bounded() {
    let often = std::num::NonZeroU32::MAX;
    let rate = bridge::access::Rate { per_second: often, burst: often };
    let world = World::behind(Front { rate, ..Front::default() }).await;
    let channels = [channel(&world), channel(&world), channel(&world)];
    let watch = async |channel: &Channel| {
        let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
        health.watch(tonic_health::pb::HealthCheckRequest::default()).await
    };
    let mut open = Vec::new();
    for n in 0..256 {
        open.push(watch(&channels[n / 100]).await.unwrap());
    }
    let full = || of(Code::Unavailable, "W4_ERR_BUSY", 503);
    assert_eq!(refused(watch(&channels[2]).await), full());
    let mut reflection = ServerReflectionClient::new(channels[2].clone());
    let nothing = reflection.server_reflection_info(tokio_stream::empty::<ServerReflectionRequest>()).await;
    assert_eq!(refused(nothing), full());
    drop(open);
    let began = Instant::now();
    while let Err(status) = watch(&channels[2]).await {
        assert!(began.elapsed() < Duration::from_secs(20), "{status:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    // A request that never ends is let go with its answer.
    let (held, let_go) = tokio::sync::oneshot::channel::<()>();
    let never = futures_util::stream::once(async move {
        let _held = held;
        std::future::pending::<ServerReflectionRequest>().await
    });
    let mut request = Request::new(never);
    request.metadata_mut().insert("grpc-timeout", "300m".parse().unwrap());
    let mut answers = reflection.server_reflection_info(request).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap_err().code(), Code::DeadlineExceeded);
    let end = tokio::time::timeout(Duration::from_secs(20), let_go).await;
    assert!(end.expect("the bridge still reads the request").is_err());
}

/// A stream ends with the right of its reader, and says why (A128).
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_may_not_ask_any_more_is_told() {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let users = dir.path().join("users.json");
    let key = SigningKey::from_bytes(&[7; 32]).unwrap();
    let mut file = UserFile::default();
    let mut user = User::new("oscar", UserRole::Operator, None).unwrap();
    let token = user.give_token(&key.public(), u64::MAX, None).unwrap();
    file.add(user).unwrap();
    file.write(&users).unwrap();
    let front = Front { users: Some(users.clone()), ..Front::default() };
    let (port, stop) = served(&world, dir.path(), &front).await;
    let caller = Caller { http: reqwest::Client::new(), port };
    let channel = Channel::from_shared(format!("http://localhost:{port}")).unwrap().connect_lazy();
    let mut request = Request::new(StreamEventsRequest::default());
    let proof = caller.proof("/api_bridge.v1.APIBridgeService/StreamEvents", &token, &key);
    request.metadata_mut().insert(PROOF_HEADER, proof.parse().unwrap());
    request.metadata_mut().insert("authorization", format!("Bearer {}", *token).parse().unwrap());
    let mut stream = Client::new(channel).stream_events(request).await.unwrap().into_inner();
    file.set("oscar", None, Some(true), now_ms() / 1000).unwrap();
    file.write(&users).unwrap();
    let end = tokio::time::timeout(Duration::from_secs(20), stream.message()).await.unwrap();
    assert_eq!(refused(end), of(Code::Unauthenticated, "W4_ERR_ACCESS_REQUIRED", 401));
    stop.send(()).unwrap();
}

/// A call with a token and its proof, as bytes, over TLS: code of gRPC and code of A5 in the head of the answer.
struct Caller {
    http: reqwest::Client,
    port: u16,
}

impl Caller {
    fn proof(&self, path: &str, token: &str, key: &SigningKey) -> String {
        let authority = format!("localhost:{}", self.port);
        let asked = Asked { method: "POST", authority: &authority, path, token };
        let (time_ms, mut nonce) = (now_ms(), [0; 16]);
        getrandom::fill(&mut nonce).unwrap();
        let signature = key.sign_rfc6979(&Proof::digest(&asked, time_ms, &nonce));
        Proof { time_ms, nonce, signature }.to_string()
    }

    async fn ask(&self, path: &str, message: &[u8], shown: Option<(&str, String)>) -> (String, String) {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let body = [&[0], &length[..], message].concat();
        let request = self.http.post(format!("https://localhost:{}{path}", self.port)).body(body);
        let mut request = request.header("content-type", "application/grpc").header("te", "trailers");
        if let Some((token, proof)) = shown {
            request = request.bearer_auth(token).header(PROOF_HEADER, proof);
        }
        let answer = request.send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_2));
        let header = |name: &str| answer.headers().get(name).map_or("", |v| v.to_str().unwrap()).to_owned();
        (header("grpc-status"), header("w4-error-code"))
    }
}

/// What REST refuses is refused: by whom it is asked, by his role, his presence and his scope.
#[tokio::test(flavor = "multi_thread")]
async fn grpc_is_no_other_door() {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let users = dir.path().join("users.json");
    let key = SigningKey::from_bytes(&[7; 32]).unwrap();
    let mut file = UserFile::default();
    let mut tokens = Vec::new();
    for (name, role, components) in [
        ("ann", UserRole::Administrator, None),
        ("oscar", UserRole::Operator, None),
        ("vera", UserRole::Technician, Some(vec!["pack-0001".into()])),
    ] {
        let mut user = User::new(name, role, components).unwrap();
        tokens.push(user.give_token(&key.public(), u64::MAX, None).unwrap());
        file.add(user).unwrap();
    }
    file.write(&users).unwrap();
    let [ann, oscar, vera] = &tokens[..] else { panic!("three tokens") };
    let authority = Authority::open_or_create(&dir.path().join("tls")).unwrap();
    let names = vec!["localhost".to_owned()];
    let tls = Some(Identity::Own { folder: dir.path().join("tls"), names });
    let (port, stop) =
        served(&world, dir.path(), &Front { users: Some(users), tls, ..Front::default() }).await;
    let certificate = reqwest::Certificate::from_pem(authority.certificate().as_bytes()).unwrap();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([certificate]).build().unwrap();
    let caller = Caller { http, port };
    let service = |name: &str| format!("/api_bridge.v1.APIBridgeService/{name}");
    let of = |code: &str, problem: &str| (code.to_owned(), format!("W4_ERR_{problem}"));

    assert_eq!(caller.ask("/grpc.health.v1.Health/Check", &[], None).await, (String::new(), String::new()));
    for path in [
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        &service("GetAccounts"),
        &service("StreamEvents"),
        &service("GetEverything"),
    ] {
        assert_eq!(caller.ask(path, &[], None).await, of("16", "ACCESS_REQUIRED"), "{path}");
    }

    let id = |id: &str| GetComponentRequest { component_id: id.into() }.encode_to_vec();
    let verify = |id: &str| VerifyComponentRequest {
        verifier: "x".into(),
        component_id: id.into(),
        ..Default::default()
    };
    for (token, name, message, answer) in [
        (oscar, "GetComponent", id("pack-0001"), of("5", "COMPONENT_NOT_FOUND")),
        (oscar, "CancelRequest", vec![], of("7", "ACCESS_ROLE")),
        (oscar, "VerifyComponent", verify("pack-0001").encode_to_vec(), of("7", "ACCESS_ROLE")),
        (oscar, "UpdateLCTStatus", vec![], of("7", "ACCESS_ROLE")),
        (oscar, "CreateEnergyOperation", vec![], of("3", "PROTO_FORMAT")),
        (ann, "UpdateLCTStatus", vec![], of("7", "ACCESS_PRESENCE")),
        (ann, "RevokePairing", vec![], of("7", "ACCESS_PRESENCE")),
        (ann, "UpdateAuthorization", vec![], of("7", "ACCESS_PRESENCE")),
        (ann, "GetEverything", vec![], of("7", "ACCESS_PRESENCE")),
        (vera, "GetComponent", id("pack-0001"), of("5", "COMPONENT_NOT_FOUND")),
        (vera, "GetComponent", id("pack-0002"), of("7", "ACCESS_SCOPE")),
        (vera, "StreamBatteryStatus", id("pack-0001"), of("5", "COMPONENT_NOT_FOUND")),
        (vera, "StreamBatteryStatus", id("pack-0002"), of("7", "ACCESS_SCOPE")),
        (vera, "StreamEvents", vec![], of("7", "ACCESS_SCOPE")),
        (vera, "VerifyComponent", verify("pack-0001").encode_to_vec(), of("5", "COMPONENT_NOT_FOUND")),
        (vera, "VerifyComponent", verify("pack-0002").encode_to_vec(), of("7", "ACCESS_SCOPE")),
        (vera, "InitiatePairing", id("pack-0001"), of("7", "ACCESS_SCOPE")),
    ] {
        let path = service(name);
        let shown = Some((token.as_str(), caller.proof(&path, token, &key)));
        assert_eq!(caller.ask(&path, &message, shown).await, answer, "{name}");
    }
    // A proof is of one method, once.
    let proof = caller.proof(&service("GetComponent"), oscar, &key);
    let shown = || Some((oscar.as_str(), proof.clone()));
    assert_eq!(caller.ask(&service("GetAccounts"), &[], shown()).await, of("16", "ACCESS_PROOF"));
    caller.ask(&service("GetComponent"), &id("pack-0001"), shown()).await;
    let again = caller.ask(&service("GetComponent"), &id("pack-0001"), shown()).await;
    assert_eq!(again, of("16", "ACCESS_REPLAY"));
    stop.send(()).unwrap();
}

/// A client of another make, which knows the bridge by reflection alone, and a compiler of another make on what is published.
/// `cargo xtask test --only python` installs both; without them this says "not run", and fails where `CI` is set.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_client_finds_what_is_published() {
    let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/python"));
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    if !python.exists() {
        assert!(
            std::env::var_os("CI").is_none(),
            "no target/python; `cargo xtask test --only python` makes it"
        );
        return println!("not run: no target/python; `cargo xtask test --only python` makes it");
    }
    let world = World::new().await;
    world.register(&world.factory.device("pack-0001", Role::Pack)).await;
    let mut peer = std::process::Command::new(python);
    peer.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/grpc_peer.py"));
    peer.args([world.address.trim_start_matches("http://"), "pack-0001"]);
    let told = tokio::task::spawn_blocking(move || peer.output().unwrap()).await.unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(told.status.success(), "{}{}", said(&told.stdout), said(&told.stderr));
    assert_eq!(said(&told.stdout).trim(), "34 methods");
}
