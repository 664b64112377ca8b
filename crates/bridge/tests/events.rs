//! The feed of events, its streams, and what becomes of those who are slow, away, or of another origin (A180 to A186).

use crate::common;

use api::event::{Cursor, Event, Events, Query};
use common::{Bonded, Device, World};
use futures_util::{SinkExt, Stream, StreamExt};
use lct::{
    id::Role,
    revocation::{Reason, Subject},
};
use tokio_tungstenite::tungstenite::{self, Message, client::IntoClientRequest};

fn query(after: &str) -> Query {
    Query { after: Some(after.into()), ..Query::default() }
}

async fn all(world: &World, query: &Query) -> Events {
    world.client.events(query).await.unwrap()
}

fn types(events: &[Event]) -> Vec<&str> {
    events.iter().map(|e| e.event_type.as_str()).collect()
}

async fn paired(world: &World) -> (Device, Device, Bonded, String) {
    let (app, pack, bonded) = world.commissioned().await;
    let opened = world.pair(&app, &pack, &bonded).await;
    let request = world.completion(&opened, &bonded);
    let id = opened.pairing_id.to_string();
    world.post(&format!("/pairings/{id}/complete"), &request).await.json::<api::pairing::Completed>();
    (app, pack, bonded, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_tells_what_blocks_hold_and_goes_on_after_a_restart() {
    let mut world = World::new().await;
    let (app, pack, bonded, pairing) = paired(&world).await;
    let whole = all(&world, &query("start")).await;
    let told = types(&whole.events);
    assert_eq!(
        told,
        [
            "component_registered",
            "component_registered",
            "binding_recorded",
            "adp_minted",
            "pairing_completed"
        ]
    );
    assert_eq!((whole.gap.is_none(), whole.more), (true, false));
    assert_eq!(whole.cursor, whole.events.last().map(|e| e.id));

    // Members of the catalogue, and a receipt for what it says.
    let registered = &whole.events[1].data;
    assert_eq!(registered["component_id"], pack.id);
    assert_eq!(registered["component_data"], format!("SN-{}", pack.id));
    assert_eq!(registered["creator"], world.operator.public().to_string());
    let completed = &whole.events[4];
    assert_eq!(completed.data["challenge_id"], pairing);
    assert_eq!(completed.data["component_a"], app.id);
    assert_eq!(completed.data["binding_id"], bonded.id.to_string());
    assert_eq!(
        completed.data["timestamp"].as_u64().map(api::event::rfc3339),
        Some(completed.timestamp.clone())
    );
    let tx = completed.data["tx_hash"].as_str().unwrap().parse().unwrap();
    assert_eq!(world.client.transaction(&tx).await.unwrap().height, Some(completed.id.height));

    // Pages of one, and the same events once more after a restart.
    let mut walked = Vec::new();
    let mut after = "start".to_string();
    loop {
        let page = all(&world, &Query { limit: Some(1), ..query(&after) }).await;
        let more = page.more;
        walked.extend(page.events);
        after = page.cursor.unwrap().to_string();
        if !more {
            break;
        }
    }
    assert_eq!(walked, whole.events);
    world.restart().await;
    assert_eq!(all(&world, &query("start")).await, whole);

    // What comes later is what comes after the cursor.
    assert_eq!(all(&world, &query(&after)).await.events, []);
    world.revoke(Subject::Binding(bonded.id), Reason::Retired).await;
    let news = all(&world, &query(&after)).await;
    assert_eq!(types(&news.events), ["binding_revoked"]);
    assert_eq!(
        (&news.events[0].data["component_a"], &news.events[0].data["component_b"]),
        (&app.id.into(), &pack.id.into())
    );
    assert_eq!(all(&world, &query("now")).await.events, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_gaps_and_bad_queries() {
    let world = World::new().await;
    let (app, _, _) = world.commissioned().await;
    let module = world.factory.device("module-0001", Role::Module);
    world.register(&module).await;
    let of = |types: &str, component: &str| Query {
        types: Some(types.into()).filter(|t: &String| !t.is_empty()),
        component: Some(component.into()).filter(|c: &String| !c.is_empty()),
        ..query("start")
    };
    assert_eq!(types(&all(&world, &of("", "module-0001")).await.events), ["component_registered"]);
    let of_app = all(&world, &of("", &app.cid.to_string())).await;
    assert_eq!(types(&of_app.events), ["component_registered", "binding_recorded"]);
    let bound = all(&world, &of("binding_recorded,binding_revoked", "")).await;
    assert_eq!(bound.events, of_app.events[1..]);
    // The cursor goes past what was not wanted, so that nothing is looked at twice.
    assert_eq!(bound.cursor, all(&world, &query("start")).await.cursor);

    // A cursor of another ledger, or of a time that a restored copy does not know.
    let lost = all(&world, &query("1-7-0")).await;
    let gap = lost.gap.unwrap();
    assert_eq!(gap.after, Some(Cursor { height: 1, transaction: 7, index: 0 }));
    assert_eq!(gap.resumes_at, lost.events.first().map(|e| e.id));
    assert!(!lost.events.is_empty());
    let ahead = all(&world, &query("900-0-0")).await;
    assert_eq!((ahead.gap.unwrap().resumes_at, ahead.events.len()), (None, 0));

    for (query, part) in [
        ("after=later", "after: a cursor is the id of an event"),
        ("after=1-2", "after:"),
        ("limit=0", "limit: 1 to 1000"),
        ("limit=1001", "limit: 1 to 1000"),
        ("types=component_registred", "there is no event `component_registred`"),
        ("types=pairing_initiated", "pairing_completed"),
        ("since=0", "unknown field"),
        ("component=x", "component id"),
    ] {
        let problem = world.get(&format!("/events?{query}")).await.problem();
        assert_eq!((problem.status, problem.code.as_str()), (400, "W4_ERR_PROTO_FORMAT"), "{query}");
        assert!(problem.detail.as_deref().unwrap().contains(part), "{query}: {problem:?}");
    }
    let unknown = world.client.events(&of("", "pack-0404")).await.unwrap_err();
    assert_eq!(unknown.code(), Some("W4_ERR_COMPONENT_NOT_FOUND"));
}

/// The next message of a stream of server-sent events: its fields.
async fn next_sse(
    body: &mut (impl Stream<Item = reqwest::Result<impl AsRef<[u8]>>> + Unpin),
    rest: &mut String,
) -> Vec<(String, String)> {
    loop {
        if let Some((message, after)) = rest.clone().split_once("\n\n") {
            *rest = after.into();
            let fields = message.lines().filter_map(|line| line.split_once(": "));
            return fields.map(|(name, value)| (name.into(), value.into())).collect();
        }
        let chunk = body.next().await.expect("the stream goes on").unwrap();
        rest.push_str(std::str::from_utf8(chunk.as_ref()).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_sent_events_resume_and_end_with_the_bridge() {
    let mut world = World::new().await;
    let app = world.factory.device("app-0001", Role::App);
    world.register(&app).await;
    let get = |path: &str| world.http.get(format!("{}/api/v1/events/stream{path}", world.address));

    let answer = get("?after=start").send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let (mut body, mut rest) = (Box::pin(answer.bytes_stream()), String::new());
    let first = next_sse(&mut body, &mut rest).await;
    let event: Event = serde_json::from_str(&first.iter().find(|(n, _)| n == "data").unwrap().1).unwrap();
    assert_eq!(first[0], ("event".into(), "component_registered".into()));
    assert_eq!(first.iter().find(|(n, _)| n == "id").unwrap().1, event.id.to_string());

    // What happens while nobody listens, and then what happens while somebody does.
    drop(body);
    let pack = world.factory.device("pack-0001", Role::Pack);
    world.register(&pack).await;
    let answer = get("?after=start").header("last-event-id", event.id.to_string()).send().await.unwrap();
    let (mut body, mut rest) = (Box::pin(answer.bytes_stream()), String::new());
    let missed = next_sse(&mut body, &mut rest).await;
    assert!(missed.iter().any(|(_, value)| value.contains("pack-0001")), "{missed:?}");
    world.bind(&app, &pack).await;
    let live = next_sse(&mut body, &mut rest).await;
    assert_eq!(live[0], ("event".into(), "binding_recorded".into()));

    let lost = get("").header("last-event-id", "900-0-0").send().await.unwrap();
    let gap = next_sse(&mut Box::pin(lost.bytes_stream()), &mut String::new()).await;
    assert_eq!(gap[0], ("event".into(), "gap".into()));
    assert!(!gap.iter().any(|(name, _)| name == "id"), "who breaks off here is told again: {gap:?}");

    let bad = get("").header("last-event-id", "x").send().await.unwrap();
    assert_eq!(bad.status(), 400);
    let elsewhere = get("").header("origin", "https://elsewhere.example").send().await.unwrap();
    assert_eq!(elsewhere.status(), 403);
    let problem: api::Problem = elsewhere.json().await.unwrap();
    assert_eq!(problem.code, "W4_ERR_PROTO_ORIGIN");

    world.stop().await;
    while let Some(Ok(_)) = body.next().await {}
    // Also asserts that no stream holds the ledger.
    world.resume().await;
}

async fn open(
    world: &World,
    query: &str,
    origin: Option<&str>,
) -> Result<
    impl Stream<Item = tungstenite::Result<Message>> + SinkExt<Message> + Unpin + use<>,
    tungstenite::Error,
> {
    let address = world.address.trim_start_matches("http://").to_owned();
    let mut request = format!("ws://{address}/api/v1/ws{query}").into_client_request().unwrap();
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", origin.parse().unwrap());
    }
    let stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    tokio_tungstenite::client_async(request, stream).await.map(|(socket, _)| socket)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_carries_events_and_lets_no_other_origin_in() {
    let mut world = World::new().await;
    let app = world.factory.device("app-0001", Role::App);
    world.register(&app).await;
    let mut socket = open(&world, "?after=start&types=component_registered", None).await.ok().unwrap();
    let text = |message: Option<tungstenite::Result<Message>>| match message {
        Some(Ok(Message::Text(text))) => text.to_string(),
        other => panic!("{other:?}"),
    };
    let first: Event = serde_json::from_str(&text(socket.next().await)).unwrap();
    assert_eq!(first.data["component_id"], "app-0001");
    let pack = world.factory.device("pack-0001", Role::Pack);
    world.register(&pack).await;
    let live: Event = serde_json::from_str(&text(socket.next().await)).unwrap();
    assert_eq!(
        (live.event_type.as_str(), &live.data["component_id"]),
        ("component_registered", &"pack-0001".into())
    );

    let mut lost = open(&world, "?after=900-0-0", None).await.ok().unwrap();
    let gap: serde_json::Value = serde_json::from_str(&text(lost.next().await)).unwrap();
    assert_eq!(gap["gap"]["after"], "900-0-0");

    // A page of this bridge may listen, one of another origin may not, nor one that hides where it is from.
    let own = world.address.clone();
    assert!(open(&world, "", Some(&own)).await.is_ok());
    for origin in ["https://elsewhere.example", "http://127.0.0.1:1", "null"] {
        match open(&world, "", Some(origin)).await.err() {
            Some(tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), 403, "{origin}"),
            other => panic!("{origin}: {other:?}"),
        }
    }
    // What it says is chosen by its query; who talks to it is told so.
    let mut talker = open(&world, "", None).await.ok().unwrap();
    talker.send(Message::Text("subscribe".into())).await.ok().unwrap();
    match talker.next().await {
        Some(Ok(Message::Close(Some(frame)))) => assert!(frame.reason.contains("query"), "{frame}"),
        other => panic!("{other:?}"),
    }
    world.stop().await;
    match socket.next().await {
        Some(Ok(Message::Close(Some(frame)))) => assert!(frame.reason.contains("last id"), "{frame}"),
        other => panic!("{other:?}"),
    }
    world.resume().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_nothing_holds_up_nobody_and_misses_nothing() {
    let world = World::new().await;
    // Streams that are never read.
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(open(&world, "?after=start", None).await.ok().unwrap());
    }
    for n in 0..30 {
        let device = world.factory.device(&format!("module-{n:04}"), Role::Module);
        world.register(&device).await;
    }
    let mut last = idle.pop().unwrap();
    for n in 0..30 {
        let Some(Ok(Message::Text(text))) = last.next().await else { panic!("event {n}") };
        let event: Event = serde_json::from_str(&text).unwrap();
        assert_eq!(event.data["component_id"], format!("module-{n:04}"));
    }
    // There is a bound on how many follow.
    let mut refused = 0;
    for _ in 0..260 {
        match open(&world, "", None).await {
            Ok(socket) => idle.push(socket),
            Err(tungstenite::Error::Http(answer)) => {
                assert_eq!(answer.status(), 503);
                refused += 1;
                break;
            }
            Err(e) => panic!("{e}"),
        }
    }
    assert_eq!(refused, 1);
    assert!(world.client.events(&query("now")).await.is_ok(), "pages are still read");
}
