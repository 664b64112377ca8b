//! Requests over connections of their own, and how long their answers take.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A connection that stays open.
pub struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server takes connections");
        stream.set_nodelay(true).unwrap();
        Connection { stream, answer: Vec::with_capacity(16 << 10) }
    }

    pub async fn many(address: SocketAddr, count: usize) -> Vec<Self> {
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            all.push(Connection::open(address).await);
        }
        all
    }

    /// Asks, and reads the whole answer.
    pub async fn ask(&mut self, request: &[u8]) -> &[u8] {
        self.stream.write_all(request).await.expect("the server reads");
        self.answer.clear();
        let mut whole = usize::MAX;
        while self.answer.len() < whole {
            let n = self.stream.read_buf(&mut self.answer).await.expect("the server answers");
            assert!(n > 0, "the server hung up: {}", String::from_utf8_lossy(request));
            if whole == usize::MAX {
                whole = length(&self.answer).unwrap_or(usize::MAX);
            }
        }
        &self.answer
    }
}

/// Length of an answer, once its header is there.
fn length(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|w| w == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&answer[..head]).expect("a header in ASCII");
    let mut lines = text.split("\r\n");
    let said =
        lines.find_map(|line| line.strip_prefix("content-length: ")).expect("an answer of known length");
    Some(head + 4 + said.parse::<usize>().unwrap())
}

pub fn status(answer: &[u8]) -> u16 {
    std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap()
}

pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\n\r\n").into_bytes()
}

pub fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A signed transaction, submitted.
pub fn submit(tx: &[u8], wait: bool) -> Vec<u8> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let body = format!("{{\"transaction\":\"{}\"}}", STANDARD.encode(tx));
    post(&format!("/api/v1/transactions?wait={}", u8::from(wait)), &body)
}

/// Has each connection ask one thing after the other, all at the same time; tells how long each answer took.
///
/// One that is told to come again does, which counts as part of the time.
pub async fn race(
    connections: Vec<Connection>,
    requests: Vec<Arc<[Vec<u8>]>>,
    times: usize,
) -> (Vec<Connection>, Vec<Duration>) {
    let running: Vec<_> = connections
        .into_iter()
        .zip(requests)
        .map(|(mut connection, requests)| {
            tokio::spawn(async move {
                let mut took = Vec::with_capacity(times * requests.len());
                for request in (0..times).flat_map(|_| requests.iter()) {
                    let began = Instant::now();
                    while status(connection.ask(request).await) == 503 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    let got = status(&connection.answer);
                    assert!(got == 200, "{got}: {}", String::from_utf8_lossy(&connection.answer));
                    took.push(began.elapsed());
                }
                (connection, took)
            })
        })
        .collect();
    let (mut connections, mut all) = (Vec::new(), Vec::new());
    for one in running {
        let (connection, took) = one.await.unwrap();
        connections.push(connection);
        all.extend(took);
    }
    (connections, all)
}

/// What all but `1 - share` of them did not exceed, in milliseconds.
pub fn quantile_ms(took: &mut [Duration], share: f64) -> f64 {
    took.sort_unstable();
    let at = ((took.len() as f64 * share) as usize).min(took.len().saturating_sub(1));
    took.get(at).map_or(f64::NAN, |took| took.as_secs_f64() * 1e3)
}
