//! Bad input below the routes: headers that mean two things, and clients that take their time (A8, A137, A144 to A146).

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use crate::common::{World, panics, talk};

use bridge::{Front, front::Patience};
use socket2::{Domain, Socket, Type};

/// No answer comes later than this, or the test fails.
const HANGS: Duration = Duration::from_secs(20);

/// The statuses of the answers in what a connection gave back.
fn statuses(text: &str) -> Vec<&str> {
    text.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_mean_two_things() {
    panics();
    let world = World::new().await;
    let address = world.address.trim_start_matches("http://").to_owned();
    let run = move || {
        let post =
            "POST /api/v1/transactions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
        let end = "connection: close\r\n";
        // What a proxy that reads the message otherwise would have let pass.
        let hidden = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let cases = [
            // Lengths.
            (format!("{post}content-length: 2\r\ncontent-length: 2, 3\r\n\r\n{{}}{hidden}"), &["400"][..]),
            (format!("{post}content-length: +2\r\n\r\n{{}}{hidden}"), &["400"]),
            (format!("{post}content-length: 0x2\r\n\r\n{{}}{hidden}"), &["400"]),
            (format!("{post}content-length: 2 2\r\n\r\n{{}}{hidden}"), &["400"]),
            (format!("{post}content-length: 18446744073709551618\r\n\r\n{{}}{hidden}"), &["400"]),
            (format!("{post}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}"), &["400"]),
            (format!("{post}transfer-encoding: \u{b}chunked\r\n\r\n0\r\n\r\n{hidden}"), &["400"]),
            (format!("{post}transfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n{{}}"), &["400"]),
            (format!("{post}transfer-encoding: chunked\r\n\r\n2\n{{}}\n0\n\n{hidden}"), &["400"]),
            (format!("{post}transfer-encoding: chunked\r\n\r\n2\r\n{{}}XX0\r\n\r\n{hidden}"), &["400"]),
            // The header and its lines.
            (format!("GET /health HTTP/1.1\r\nhost: localhost\r\nx: a\r\n b\r\n{end}\r\n"), &["400"]),
            (format!("GET /health HTTP/1.1\r\nhost: localhost\r\n\tx: a\r\n{end}\r\n"), &["400"]),
            (format!("GET /health HTTP/1.1\r\nhost: localhost\rx: a\r\n{end}\r\n"), &["400"]),
            (format!("GET /health HTTP/1.1\r\nhost: localhost\r\n: a\r\n{end}\r\n"), &["400"]),
            (format!("GET /health HTTP/1.1\r\nhost: localhost\r\nx\u{e9}: a\r\n{end}\r\n"), &["400"]),
            (format!("GET /health HTTP/1.1\r\nhost: localhost\r\ncontent length: 0\r\n{end}\r\n"), &["400"]),
            (format!("GET  /health HTTP/1.1\r\nhost: localhost\r\n{end}\r\n"), &["400"]),
            (format!("GET /heal th HTTP/1.1\r\nhost: localhost\r\n{end}\r\n"), &["400"]),
            (format!("GET /health HTTP/3.7\r\nhost: localhost\r\n{end}\r\n"), &["400"]),
            // Lines that end with a line feed alone hold one request, as everybody reads them.
            (format!("GET /health HTTP/1.1\nhost: localhost\n{}\n", end.replace('\r', "")), &["200"]),
            // Whom it is for.
            (format!("GET /health HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n{end}\r\n"), &["421"]),
            (format!("GET /health HTTP/1.1\r\nhost: evil.example\r\nhost: localhost\r\n{end}\r\n"), &["421"]),
            (format!("GET /health HTTP/1.1\r\n{end}\r\n"), &["421"]),
            (format!("GET /health HTTP/1.1\r\nhost: localhost@evil.example\r\n{end}\r\n"), &["421"]),
            (format!("GET /health HTTP/1.1\r\nhost: localhost, evil.example\r\n{end}\r\n"), &["421"]),
            (format!("GET http://evil.example/health HTTP/1.1\r\nhost: localhost\r\n{end}\r\n"), &["421"]),
            (format!("GET http://localhost/health HTTP/1.1\r\nhost: evil.example\r\n{end}\r\n"), &["421"]),
            (format!("GET http://localhost/health HTTP/1.1\r\nhost: localhost\r\n{end}\r\n"), &["200"]),
            (format!("CONNECT localhost:443 HTTP/1.1\r\nhost: localhost:443\r\n{end}\r\n"), &["404"]),
            (format!("OPTIONS * HTTP/1.1\r\nhost: localhost\r\n{end}\r\n"), &["404"]),
            // Two that were sent as two are two.
            (format!("{post}content-length: 2\r\n\r\n{{}}{hidden}"), &["400", "200"]),
            // Larger than anything is: said beforehand, and never ending.
            (format!("{post}content-length: 10000000000\r\n\r\n"), &["413"]),
        ];
        let count = cases.len();
        for (request, expected) in cases {
            let answer = talk(&address, &[request.as_bytes()]);
            assert_eq!(statuses(&answer), expected, "{request:?}: {answer}");
            assert!(expected.len() == 2 || !answer.contains("modbatt_bridge"), "{request:?}: {answer}");
        }
        for path in ["transactions", "telemetry/batches"] {
            let mut endless = TcpStream::connect(&address).unwrap();
            endless.set_read_timeout(Some(HANGS)).unwrap();
            let head = post.replace("transactions", path);
            endless.write_all(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes()).unwrap();
            let mut reading = endless.try_clone().unwrap();
            let reader = std::thread::spawn(move || {
                let mut answer = [0; 4096];
                let n = reading.read(&mut answer).unwrap();
                String::from_utf8_lossy(&answer[..n]).into_owned()
            });
            let chunk = format!("1000\r\n{}\r\n", "[".repeat(0x1000));
            while !reader.is_finished() {
                if endless.write_all(chunk.as_bytes()).is_err() {
                    break;
                }
            }
            let answer = reader.join().unwrap();
            assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("W4_ERR_PROTO_SIZE"), "{answer}");
        }
        println!("{} requests on the wire", count + 2);
    };
    tokio::task::spawn_blocking(run).await.unwrap();
    assert_eq!(panics(), Vec::<String>::new());
}

/// A client that is slow in one of the ways there are; each is ended by the bridge, and nobody else waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_take_their_time() {
    panics();
    let ms = Duration::from_millis;
    let patience = Patience { header: ms(300), request: ms(600), reader: ms(600), ..Patience::default() };
    let world = World::behind(Front { patience, ..Front::default() }).await;
    let address = world.address.trim_start_matches("http://").to_owned();
    let drop_by_drop = |head: &'static str, drop: &'static str, address: String| {
        move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(HANGS)).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            let mut writing = stream.try_clone().unwrap();
            let writer = std::thread::spawn(move || {
                // Until the bridge has had enough.
                while writing.write_all(drop.as_bytes()).is_ok() {
                    std::thread::sleep(ms(20));
                }
            });
            let mut answer = Vec::new();
            let _reset = stream.read_to_end(&mut answer);
            let _gone = stream.shutdown(Shutdown::Both);
            writer.join().unwrap();
            String::from_utf8(answer).unwrap()
        }
    };
    let post = "POST /api/v1/transactions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 60000\r\n\r\n{";
    let keyed = "POST /api/v1/transactions HTTP/1.1\r\nhost: localhost\r\nidempotency-key: k\r\ncontent-type: application/json\r\ncontent-length: 60000\r\n\r\n{";
    let chunked = "POST /api/v1/telemetry/batches HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut slow = Vec::new();
    for (what, head, drop, status) in [
        ("a header byte by byte", "GET /health HTTP/1.1\r\nx: ", "y", None),
        ("headers without end", "GET /health HTTP/1.1\r\nhost: localhost\r\n", "x", None),
        ("a body byte by byte", post, " ", Some("408")),
        ("a body byte by byte under a key", keyed, " ", Some("408")),
        ("a body in chunks of one byte", chunked, "1\r\n \r\n", Some("408")),
    ] {
        let task = tokio::task::spawn_blocking(drop_by_drop(head, drop, address.clone()));
        slow.push((what, status, task));
    }
    for (what, head, status) in [
        ("nothing at all", "", None),
        ("nothing after an answer", "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n", Some("200")),
    ] {
        let address = address.clone();
        slow.push((what, status, tokio::task::spawn_blocking(move || talk(&address, &[head.as_bytes()]))));
    }
    let reader = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_write_timeout(Some(HANGS)).unwrap();
        let request = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(20);
        // Asks for more and more and reads nothing; the bridge lets go of it, which makes a write fail.
        loop {
            if let Err(e) = stream.write_all(request.as_bytes()) {
                return e.kind();
            }
            std::thread::sleep(ms(5));
        }
    });
    let mut served = 0;
    while !reader.is_finished() || slow.iter().any(|(_, _, task)| !task.is_finished()) {
        assert_eq!(world.get("/health").await.status, 200);
        served += 1;
    }
    assert!(served > 3, "{served}");
    for (what, status, task) in slow {
        let answer = task.await.unwrap();
        assert_eq!(statuses(&answer), status.into_iter().collect::<Vec<_>>(), "{what}: {answer}");
        assert!(status != Some("408") || answer.contains("\"code\":\"W4_ERR_PROTO_TIMEOUT\""), "{answer}");
    }
    let end = reader.await.unwrap();
    assert!(!matches!(end, std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut), "it hangs: {end}");
    println!("{served} requests of others were served meanwhile");
    assert_eq!(panics(), Vec::<String>::new());
}

/// Whoever takes little, and goes on to, is not taken for one who takes nothing (A144).
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_slowly_has_its_answers() {
    let patience = Patience { reader: Duration::from_secs(1), ..Patience::default() };
    let world = World::behind(Front { patience, ..Front::default() }).await;
    let address: SocketAddr = world.address.trim_start_matches("http://").parse().unwrap();
    let page = world.send(world.http.get(format!("{}/openapi.json", world.address))).await;
    assert_eq!(page.status, 200);
    let asked = (8 << 20) / page.body.len();
    let reader = move || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(64 << 10).unwrap();
        socket.connect(&address.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(HANGS)).unwrap();
        let request = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(asked);
        stream.write_all(request.as_bytes()).unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        // 400 kB a second, and then all that is left.
        let (began, mut answers, mut part) = (Instant::now(), Vec::new(), [0; 20_000]);
        while began.elapsed() < Duration::from_secs(4) {
            stream.read_exact(&mut part).unwrap();
            answers.extend_from_slice(&part);
            std::thread::sleep(Duration::from_millis(50));
        }
        let end = stream.read_to_end(&mut answers);
        (end.map(drop).map_err(|e| e.kind()), String::from_utf8(answers).unwrap())
    };
    let (end, answers) = tokio::task::spawn_blocking(reader).await.unwrap();
    assert_eq!((end, statuses(&answers)), (Ok(()), vec!["200"; asked + 1]));
}

/// A client that gives an answer no room, and its connection signs of life, does not keep the bridge from its end (A138).
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_a_window_does_not_hold_up_the_end() {
    let mut world = World::new().await;
    let http =
        reqwest::Client::builder().no_proxy().http2_prior_knowledge().http2_initial_stream_window_size(0);
    let answer = http.build().unwrap().get(format!("{}/health", world.address)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let began = Instant::now();
    world.stop().await;
    assert!(began.elapsed() < HANGS, "{:?}", began.elapsed());
    drop(answer);
}
