//! A new host takes the pack over from an app whose computer was lost (`spec/api.md`, A95): the operator's order before, and
//! afterwards the revocation of the lost app.

use api::order::{Order, Task};
use api::problem::code;
use lct::id::Cid;
use lct::revocation::{Reason, Subject};

use super::super::data_dir::DataDir;
use super::super::{Failure, order, revoke};
use super::parts::Parts;
use super::say;

/// How long the order may wait, in seconds: for as long as a start may take.
const EXPIRES: u64 = 3_600;

fn failure(e: &api::ClientError) -> Failure {
    Failure::Failed(e.to_string())
}

/// Orders that `app` takes `pack` over, unless that order waits already.
pub async fn order(client: &api::Client, dir: &DataDir, [app, pack]: [&str; 2]) -> Result<(), Failure> {
    let waiting = client.orders().await.map_err(|e| failure(&e))?.orders;
    let same = |o: &Order| (o.task, o.a.as_str(), o.b.as_str()) == (Task::TakeOver, app, pack);
    if !waiting.iter().any(same) {
        let now = client.time_token().await.map_err(|e| failure(&e))?.time;
        let place = order::signed(dir, "demo", (Task::TakeOver, None), [app, pack], now + EXPIRES)?;
        client.place_order(&place).await.map_err(|e| failure(&e))?;
    }
    Ok(())
}

/// The pack has another app: the lost one is revoked.
pub async fn end(client: &api::Client, dir: &DataDir, lost: &str) -> Result<(), Failure> {
    let subject = Subject::Component(Cid::of(lost));
    let request = revoke::signed(dir, "modbatt demo", subject, Reason::Lost)?;
    match client.revoke(&request).await {
        Ok(_) => say(&format!("{lost} is revoked: its computer is lost")),
        // It was never registered: nobody knows it.
        Err(e) if e.code() == Some(code::COMPONENT_NOT_FOUND) => {}
        Err(e) => return Err(failure(&e)),
    }
    Parts::taken_over(dir)
}
