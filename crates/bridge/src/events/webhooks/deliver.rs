//! Delivering: one event after the other, signed, and what becomes of it (A188, A190).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use api::{
    encoding::Hex,
    event::{Cursor, Events},
    webhook::DeadLetter,
};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Client, redirect};
use serde_json::json;
use sha2::Sha256;
use tokio::task::JoinSet;

use super::{
    super::feed,
    Pace, filter,
    outbox::{DEAD_MAX, Hook},
    place::Public,
    receiver,
};
use crate::{
    Shared,
    refusal::{Refusal, Reply},
};

/// Events of one page.
const PAGE: usize = 64;
/// Longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(3600);
/// Pause after the outbox or the ledger failed.
const BROKEN: Duration = Duration::from_secs(10);

/// How events are sent.
struct Sender {
    client: Client,
    pace: Pace,
}

/// Delivers for as long as the bridge runs. Who drops this ends every delivery where it stands.
pub(crate) async fn run(shared: &Arc<Shared>, pace: Pace) {
    let builder = Client::builder().no_proxy().redirect(redirect::Policy::none()).timeout(pace.answer);
    let client = builder.dns_resolver(Public).build();
    let client = match client {
        Ok(client) => client,
        Err(why) => {
            tracing::error!(%why, "no web hook is served");
            return std::future::pending().await;
        }
    };
    let mut changed = shared.webhooks.changed.subscribe();
    let mut tasks = JoinSet::new();
    let mut running: BTreeMap<Hex<16>, (u64, tokio::task::AbortHandle)> = BTreeMap::new();
    loop {
        changed.borrow_and_update();
        let reader = shared.clone();
        match shared.blocking(move |_| Ok(reader.webhooks.outbox.hooks()?)).await {
            Ok(hooks) => {
                running.retain(|id, (round, task)| {
                    let goes_on = hooks.iter().any(|(other, hook)| other == id && hook.round == *round);
                    if !goes_on {
                        task.abort();
                    }
                    goes_on
                });
                for (id, hook) in hooks.into_iter().filter(|(_, hook)| !hook.suspended) {
                    running.entry(id).or_insert_with(|| {
                        let round = hook.round;
                        (
                            round,
                            tasks.spawn(serve(
                                shared.clone(),
                                Sender { client: client.clone(), pace },
                                id,
                                hook,
                            )),
                        )
                    });
                }
            }
            Err(why) => tracing::error!(why = %why.0, "the web hooks cannot be read"),
        }
        tokio::select! {
            changed = changed.changed() => if changed.is_err() { return },
            // Ended tasks are suspended or gone; what is to run is looked up when an operator changes it.
            Some(_) = tasks.join_next() => {}
        }
    }
}

/// Serves one receiver until it is suspended, removed or set to another place.
async fn serve(shared: Arc<Shared>, sender: Sender, id: Hex<16>, mut hook: Hook) {
    let mut heights = shared.chain.subscribe();
    loop {
        heights.borrow_and_update();
        match catch_up(&shared, &sender, &id, &mut hook).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(why) => {
                tracing::error!(%id, why = %why.0, "a web hook waits");
                tokio::time::sleep(BROKEN).await;
                continue;
            }
        }
        if heights.changed().await.is_err() {
            return;
        }
    }
}

/// Delivers what the feed has; `false` when this task is not to go on.
async fn catch_up(shared: &Arc<Shared>, sender: &Sender, id: &Hex<16>, hook: &mut Hook) -> Reply<bool> {
    loop {
        let wanted = filter(&hook.types, &hook.component).map_err(|e| Refusal::internal(&e))?;
        let at = hook.cursor;
        let page: Events =
            shared.blocking(move |chain| Ok(feed::page(&chain.read()?, at, &wanted, PAGE)?)).await?;
        let mut letters = Vec::new();
        if let Some(gap) = &page.gap {
            let data = serde_json::to_value(gap).map_err(|e| Refusal::internal(&e))?;
            let after = at.map_or_else(|| "start".into(), |id| id.to_string());
            let body = json!({ "event_type": "gap", "data": data }).to_string();
            letters.push((at, format!("gap-{after}"), "gap".to_owned(), body));
        }
        for event in &page.events {
            let body = serde_json::to_string(event).map_err(|e| Refusal::internal(&e))?;
            letters.push((Some(event.id), event.id.to_string(), event.event_type.clone(), body));
        }
        for (place, name, event_type, body) in letters {
            if !deliver(shared, sender, (id, hook), place, [&name, &event_type, &body]).await? {
                return Ok(false);
            }
        }
        // What the filter left out is dealt with as well.
        if hook.cursor != page.cursor {
            hook.cursor = page.cursor;
            if !keep(shared, id, hook, None).await? {
                return Ok(false);
            }
        }
        if !page.more {
            return Ok(true);
        }
    }
}

/// Tries until the receiver took it or it is given up.
async fn deliver(
    shared: &Arc<Shared>,
    sender: &Sender,
    (id, hook): (&Hex<16>, &mut Hook),
    place: Option<Cursor>,
    [name, event_type, body]: [&str; 3],
) -> Reply<bool> {
    let pace = sender.pace;
    loop {
        let now = shared.now_s();
        let sent = send(&sender.client, hook, now, [name, event_type, body]).await;
        let mut dead = None;
        match sent {
            Ok(()) => {
                (hook.cursor, hook.tries) = (place, 0);
                hook.delivered += 1;
                hook.error.clear();
            }
            Err(why) => {
                hook.tries += 1;
                hook.error = why;
                if hook.tries >= pace.tries {
                    tracing::warn!(%id, event = name, why = hook.error, "an event is given up");
                    let (tries, error) = (std::mem::take(&mut hook.tries), hook.error.clone());
                    // A gap is told once more with the next look, if it is still there.
                    dead = place.map(|event| DeadLetter { event, tries, error, at: now });
                    hook.dead += 1;
                    hook.cursor = place;
                    hook.suspended = hook.dead >= DEAD_MAX;
                }
            }
        }
        if !keep(shared, id, hook, dead).await? || hook.suspended {
            return Ok(false);
        }
        if hook.tries == 0 {
            return Ok(true);
        }
        let doubled = pace.pause.saturating_mul(1 << (hook.tries - 1).min(20));
        tokio::time::sleep(doubled.min(PAUSE_MAX)).await;
    }
}

/// Keeps how far a receiver is; `false` when an operator changed it meanwhile.
async fn keep(shared: &Arc<Shared>, id: &Hex<16>, hook: &Hook, dead: Option<DeadLetter>) -> Reply<bool> {
    let (writer, id, hook) = (shared.clone(), *id, hook.clone());
    let put =
        move |_: &node::Chain| Ok(writer.webhooks.outbox.put(&id, &hook, Some(hook.round), dead.as_ref())?);
    shared.blocking(put).await
}

/// Sends one event. A receiver takes it with any 2xx.
async fn send(
    client: &Client,
    hook: &Hook,
    now: u64,
    [name, event_type, body]: [&str; 3],
) -> Result<(), String> {
    // It is looked at again, because the file may be older than what is looked at.
    let url = receiver(&hook.url)?;
    let request = client
        .post(url)
        .header("content-type", "application/json")
        .header("x-event-id", name)
        .header("x-event-type", event_type)
        .header("x-event-timestamp", now)
        .header("x-event-signature", signature(&hook.secret.0.0, now, body));
    let answer = request.body(body.to_owned()).send().await;
    let why = match answer {
        Ok(answer) if answer.status().is_success() => return Ok(()),
        Ok(answer) => format!("status {}", answer.status().as_u16()),
        Err(e) if e.is_timeout() => "no answer in time".into(),
        Err(e) => {
            // Who may only look is not told what the network around this machine is like; the log is.
            let told = if e.is_connect() { "no connection" } else { "no answer" };
            tracing::debug!(event = name, why = api::client::innermost(&e), "a receiver was not reached");
            told.into()
        }
    };
    Err(why)
}

/// `HMAC-SHA256(secret, timestamp "." body)` in hexadecimal.
fn signature(secret: &[u8; 32], timestamp: u64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_other_implementations() {
        // printf '1750000000.{"id":"1-0-0"}' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0b0b..0b
        let expected = "30862248caf05716a3e5d2f3c690d57478f910524e6373a31e112cfc791d438a";
        assert_eq!(signature(&[0x0B; 32], 1_750_000_000, r#"{"id":"1-0-0"}"#), expected);
    }
}
