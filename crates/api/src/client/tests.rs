//! What the client refuses before it asks, and what it makes of answers.

use super::*;
use std::{
    io::{Read, Write},
    net::TcpListener,
};

#[test]
fn addresses_that_leave_the_machine_or_are_none_are_refused() {
    for (address, ok) in [
        ("http://127.0.0.1:8080", true),
        ("http://127.3.2.1:8080/", true),
        ("http://[::1]:8080", true),
        ("http://localhost:1", true),
        ("https://127.0.0.1:8080", false),
        ("ftp://127.0.0.1:8080", false),
        ("http://10.0.0.1:8080", false),
        ("http://localhost.example.org", false),
        ("http://127.0.0.1.example.org", false),
        ("http://user@127.0.0.1", false),
        ("http://127.0.0.1:8080/api/v1", false),
        ("127.0.0.1:8080", false),
        ("", false),
    ] {
        let result = Client::new(address);
        assert_eq!(result.is_ok(), ok, "{address}");
        if let Err(e) = result {
            assert!(matches!(e, ClientError::Address { .. }), "{address}: {e}");
        }
    }
}

#[test]
fn path_segments_are_escaped() {
    let client = Client::new("http://127.0.0.1:9").unwrap();
    assert_eq!(client.url(&["components", "a/../b?c"]).path(), "/api/v1/components/a%2F..%2Fb%3Fc");
}

/// Answers one request with `answer` and closes.
async fn against(answer: &[u8]) -> ClientError {
    let answer = answer.to_vec();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).unwrap();
        // A client that has seen enough hangs up.
        let _ = stream.write_all(&answer);
    });
    let error = Client::new(&address).unwrap().health().await.unwrap_err();
    server.join().unwrap();
    error
}

#[tokio::test]
async fn failures_are_told_apart() {
    let refused = against(
        b"HTTP/1.1 503 x\r\nconnection: close\r\n\r\n{\"error\":\"later\",\"code\":\"W4_ERR_BUSY\",\"status\":503}",
    )
    .await;
    assert_eq!(refused.code(), Some("W4_ERR_BUSY"), "{refused:?}");
    assert!(refused.is_transient());
    for answer in [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".as_slice(),
        b"HTTP/1.1 500 x\r\ncontent-length: 4\r\n\r\noops",
        b"HTTP/1.1 302 x\r\nlocation: http://10.0.0.1/\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"status\":",
    ] {
        let error = against(answer).await;
        assert!(matches!(error, ClientError::Malformed { .. }), "{}: {error:?}", answer.escape_ascii());
        assert!(!error.is_transient());
    }
    let endless = [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &[b'x'; ANSWER_MAX + 1]].concat();
    assert!(against(&endless).await.to_string().contains("longer than"));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = Client::new(&format!("http://127.0.0.1:{port}")).unwrap().health().await.unwrap_err();
    assert!(matches!(nobody, ClientError::Unreachable { .. }), "{nobody}");
}
