//! What strangers do to the logs, and what gateways say again and again: nothing (A143).

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use crate::{
    common::World,
    front::{now_ms, served},
};
use api::{
    Client,
    client::{Access, Credential},
    gateway::{Bus, Report},
};
use bridge::{
    Front,
    access::{
        Rate, Role,
        users::{User, UserFile},
    },
    ops::logs::{Logs, Retention},
};
use lct::sign::SigningKey;
use serde_json::Value;

/// What the log of this name holds.
fn lines(folder: &Path, name: &str) -> Vec<Value> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(name));
    let text: String = named.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    assert!(text.lines().all(|line| line.len() < 1_000), "what strangers choose is cut: {text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Four logs, which hear this thread until what is returned is dropped, and their folder.
fn logged(dir: &Path) -> (PathBuf, impl Sized) {
    let keep = Retention { days: 9, mib: 1 };
    let folder = dir.join("logs");
    let logs = Logs { folder: folder.clone(), audit: keep, security: keep, operation: keep, debug: keep };
    let (subscriber, open) = logs.open().unwrap();
    // Dropped in this order: what is heard is written when the logs close.
    (folder, (tracing::subscriber::set_default(subscriber), open))
}

/// A file of users with one, and his token.
fn with_a_user(dir: &Path, name: &str, role: Role) -> (PathBuf, Credential) {
    let key = SigningKey::from_bytes(&[7; 32]).unwrap();
    let mut user = User::new(name, role, None).unwrap();
    let token = user.give_token(&key.public(), now_ms() / 1000 + 600, None).unwrap().to_string();
    let (path, mut file) = (dir.join("users.json"), UserFile::default());
    file.add(user).unwrap();
    file.write(&path).unwrap();
    (path, Credential { token, key })
}

// One thread, so that what its bridge says is heard here and nowhere else.
#[tokio::test]
async fn a_flood_of_refusals_leaves_the_logs_to_those_who_are_known() {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let (folder, logged) = logged(dir.path());
    let (users, credential) = with_a_user(dir.path(), "bob", Role::Viewer);
    let rate = Rate { per_second: NonZeroU32::MIN, burst: NonZeroU32::MIN.saturating_add(99) };
    let front = Front { users: Some(users), rate, ..Front::default() };
    let (port, stop) = served(&world, dir.path(), &front).await;
    let url = format!("http://127.0.0.1:{port}");
    let long = reqwest::Method::from_bytes(&[b'X'; 8 << 10]).unwrap();
    let mut statuses = Vec::new();
    for n in 0..300_u32 {
        let path = format!("{url}/api/v1/transactions");
        let request = match n % 4 {
            0 => world.http.request(long.clone(), path),
            1 => world.http.post(path).bearer_auth("mb1_unknown"),
            2 => world.http.post(path).header("host", "elsewhere"),
            _ => world.http.delete(path),
        };
        statuses.push(request.send().await.unwrap().status().as_u16());
    }
    assert!([401, 421, 429].iter().all(|status| statuses.contains(status)), "{statuses:?}");
    let bob = Client::with_access(&url, &Access::default()).unwrap().as_user(credential);
    assert!(bob.submit(&[0], false).await.is_err());
    drop(stop);
    drop(logged);

    let audit = lines(&folder, "audit.");
    assert_eq!(audit.len(), 1, "{audit:?}");
    assert_eq!((&audit[0]["who"], &audit[0]["status"]), (&"bob".into(), &403.into()));
    let security = lines(&folder, "security.");
    let strangers =
        security.iter().filter(|line| line["message"] == "refused to nobody who is known").count();
    assert_eq!(strangers, 4, "{security:?}");
    assert_eq!(security.iter().filter(|line| line["who"] == "bob").count(), 1, "{security:?}");
    assert!(security.len() <= 6, "{security:?}");
}

/// A gateway reports every few seconds, for years: the audits keep what somebody did, and what it was refused.
#[tokio::test]
async fn reports_of_gateways_push_nothing_out_of_the_audits() {
    let world = World::new().await;
    world.register(&world.factory.device("app-0001", lct::id::Role::App)).await;
    let dir = tempfile::tempdir().unwrap();
    let (folder, logged) = logged(dir.path());
    let (users, credential) = with_a_user(dir.path(), "gateway", Role::Operator);
    let front = Front { users: Some(users), ..Front::default() };
    let (port, stop) = served(&world, dir.path(), &front).await;
    let url = format!("http://127.0.0.1:{port}");
    let gateway = Client::with_access(&url, &Access::default()).unwrap();
    let gateway = gateway.as_user(credential);
    for bus in [Bus::Up, Bus::Silent, Bus::Up] {
        gateway.report_gateway("app-0001", &Report { bus }).await.unwrap();
    }
    gateway.report_gateway("app-0002", &Report { bus: Bus::Up }).await.unwrap_err();
    drop(stop);
    drop(logged);

    let audit = lines(&folder, "audit.");
    assert_eq!(audit.len(), 1, "{audit:?}");
    assert_eq!((&audit[0]["who"], &audit[0]["status"]), (&"gateway".into(), &404.into()));
}
