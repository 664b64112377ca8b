//! What whoever runs a bridge sees of it: whether it is ready (A129, A141), and traces (A222).

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use crate::common::World;
use api::{
    gateway::{Bus, Report},
    health::Ready,
};
use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use bridge::{
    Bridge,
    ops::{Watch, traces::Traces},
};
use lct::id::Role;
use prost::Message;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

/// A second bridge on the chain of `world`, as `dress` wants it; what is returned ends it.
async fn serve(
    world: &World,
    dress: impl FnOnce(Bridge) -> Bridge,
) -> (String, tokio::sync::oneshot::Sender<()>, JoinHandle<()>) {
    let dir = world.dir.path().join("second");
    std::fs::create_dir_all(&dir).unwrap();
    let now_ms = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
    let bridge = Bridge::open(bridge::Config {
        chain: world.chain.clone(),
        clock: std::sync::Arc::new(now_ms),
        key: bridge::AuthorityKey::from_bytes(&world.authority_key).unwrap(),
        lineage: None,
        ceremonies: dir.join("ceremonies"),
        revocations: dir.join("revocations"),
        orders: dir.join("orders.json"),
        webhooks: dir.join("webhooks.redb"),
    });
    let bridge = dress(bridge.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let ended =
        tokio::spawn(async move { bridge.serve(listener, async { drop(stopped.await) }).await.unwrap() });
    (url, stop, ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_is_ready_while_its_buses_and_its_disk_are() {
    let world = World::new().await;
    let app = world.factory.device("app-0001", Role::App);
    world.register(&app).await;
    let expected = Watch { gateways: vec!["app-0001".into()], disk_free_mib: 0 };
    let (url, stop, ended) = serve(&world, |bridge| bridge.watching(expected)).await;
    let client = api::Client::new(&url).unwrap();
    let ready = async || {
        let answer = world.http.get(format!("{url}/ready")).send().await.unwrap();
        let status = answer.status().as_u16();
        let ready: Ready = answer.json().await.unwrap();
        assert_eq!(ready.ready, status == 200);
        let bus = ready.checks.into_iter().find(|check| check.name == "bus").unwrap();
        (status, bus.state.or(bus.error).unwrap())
    };
    // Anybody learns that something is wrong, and only who is known what it is.
    let detail = async || {
        let checks = client.health_detailed().await.unwrap().checks;
        checks.into_iter().find(|check| check.name == "bus").unwrap().error.unwrap()
    };
    let wrong = "a gateway that is expected does not report, or hears nothing on its bus";
    assert_eq!(ready().await, (503, wrong.into()));
    assert_eq!(detail().await, "the gateway of app-0001 was not heard since the bridge began");
    client.report_gateway("app-0001", &Report { bus: Bus::Silent }).await.unwrap();
    assert_eq!(ready().await, (503, wrong.into()));
    assert_eq!(detail().await, "the gateway of app-0001 hears nothing on its bus");
    let told = client.report_gateway("app-0001", &Report { bus: Bus::Up }).await.unwrap();
    assert_eq!((ready().await, told.within), ((200, "up".into()), 60));
    let unknown = client.report_gateway("app-0002", &Report { bus: Bus::Up }).await.unwrap_err();
    assert_eq!(unknown.code(), Some("W4_ERR_COMPONENT_NOT_FOUND"));
    let detailed = client.health_detailed().await.unwrap();
    assert_eq!((detailed.gateways.len(), detailed.gateways[0].bus), (1, Some(Bus::Up)));
    assert!(detailed.disk_free_mib.is_some_and(|mib| mib > 0));
    let figures = world.http.get(format!("{url}/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(figures.contains("modbatt_bridge_gateways_up 1\n"), "{figures}");
    stop.send(()).unwrap();
    ended.await.unwrap();

    // No disk has this much.
    let (url, stop, ended) =
        serve(&world, |bridge| bridge.watching(Watch { disk_free_mib: 1 << 40, ..Watch::default() })).await;
    let answer = world.http.get(format!("{url}/ready")).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    let ready: Ready = answer.json().await.unwrap();
    let failing = ready.checks.iter().filter(|check| !check.ok);
    let failing: Vec<_> = failing.map(|check| (check.name.as_str(), check.error.as_deref())).collect();
    let wrong = "the disk cannot be written, or has too little room";
    assert_eq!(failing, [("disk", Some(wrong))], "{ready:?}");
    let detailed = api::Client::new(&url).unwrap().health_detailed().await.unwrap();
    let disk = detailed.checks.iter().find(|check| check.name == "disk").unwrap();
    assert!(disk.error.as_deref().unwrap().contains("MiB are free"), "{disk:?}");
    stop.send(()).unwrap();
    ended.await.unwrap();
}

/// The part of `opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest` that is looked at.
#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<Resources>,
}

#[derive(Clone, PartialEq, Message)]
struct Resources {
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<Scope>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(fixed64, tag = "7")]
    start: u64,
    #[prost(fixed64, tag = "8")]
    end: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
    #[prost(int64, optional, tag = "3")]
    number: Option<i64>,
}

impl Span {
    fn attributes(&self) -> BTreeMap<&str, String> {
        let value = |a: &Attribute| {
            let value = a.value.clone().unwrap_or_default();
            value.text.or(value.number.map(|n| n.to_string())).unwrap_or_default()
        };
        self.attributes.iter().map(|a| (a.key.as_str(), value(a))).collect()
    }
}

/// A collector that keeps what it gets, or refuses all of it.
async fn collector(status: StatusCode) -> (String, mpsc::UnboundedReceiver<Bytes>) {
    let (kept, taken) = mpsc::unbounded_channel();
    let take = async move |State(kept): State<mpsc::UnboundedSender<Bytes>>, body: Bytes| {
        let _over = kept.send(body);
        status
    };
    let router = Router::new().route("/v1/traces", post(take)).with_state(kept);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, taken)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_a_span_of_each_request_and_no_secret() {
    let world = World::new().await;
    let (endpoint, mut taken) = collector(StatusCode::OK).await;
    let (url, stop, ended) =
        serve(&world, |bridge| bridge.with_traces(Traces::start(&endpoint).unwrap())).await;
    let request = world.http.get(format!("{url}/api/v1/components/pack-0001?height=0"));
    let request = request.bearer_auth("secret-token").header("x-request-id", "abc-1");
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let traced = request.header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"));
    assert_eq!(traced.send().await.unwrap().status(), 404);
    let login = r#"{"user":"secret-user","passphrase":"secret-passphrase","key":"00"}"#;
    let login = world
        .http
        .post(format!("{url}/api/v1/sessions"))
        .body(login)
        .header("content-type", "application/json");
    assert_eq!(login.send().await.unwrap().status(), 400);
    let unsampled = world.http.get(format!("{url}/health"));
    let unsampled = unsampled.header("traceparent", format!("00-{trace}-b7ad6b7169203331-00"));
    assert_eq!(unsampled.send().await.unwrap().status(), 200);
    // What is left goes out at the end.
    stop.send(()).unwrap();
    ended.await.unwrap();
    let mut spans = Vec::new();
    while let Ok(body) = taken.try_recv() {
        for secret in ["secret", "pack-0001", "height=0"] {
            assert!(!body.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret}");
        }
        let export = Export::decode(body).unwrap();
        spans.extend(export.resources.into_iter().flat_map(|r| r.scopes).flat_map(|s| s.spans));
    }
    assert_eq!(spans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), ["GET read", "POST public"]);
    let first = spans[0].attributes();
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/api/v1/components/{id}"),
        ("http.response.status_code", "404"),
        ("modbatt.request.id", "abc-1"),
        ("modbatt.request.class", "read"),
        ("modbatt.principal", "loopback"),
    ] {
        assert_eq!(first.get(key).map(String::as_str), Some(value), "{first:?}");
    }
    assert_eq!(
        (hex::encode(&spans[0].trace_id), hex::encode(&spans[0].parent_span_id)),
        (trace.into(), "b7ad6b7169203331".into())
    );
    assert!(spans[0].start > 0 && spans[0].start <= spans[0].end);
    assert!(spans[1].parent_span_id.is_empty() && spans[1].trace_id != spans[0].trace_id);
}

/// A collector that refuses, and one that is not there, cost no request anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_fails_disturbs_no_request() {
    let world = World::new().await;
    let (refuses, mut taken) = collector(StatusCode::BAD_REQUEST).await;
    for endpoint in [refuses, "http://127.0.0.1:9".into()] {
        let (url, stop, ended) =
            serve(&world, |bridge| bridge.with_traces(Traces::start(&endpoint).unwrap())).await;
        for _ in 0..20 {
            assert_eq!(world.http.get(format!("{url}/health")).send().await.unwrap().status(), 200);
        }
        stop.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap().unwrap();
    }
    assert!(taken.try_recv().is_ok(), "it was asked");
}
