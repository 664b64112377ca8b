//! Web hooks: events delivered to receivers by HTTP, at least once each and in order (A187 to A190).
//!
//! One task per receiver reads the feed behind its cursor, sends an event, and moves the cursor when the receiver took it. What a
//! receiver does not take is tried again, each time after twice the pause, then noted as a dead letter and passed. An operator
//! sets the cursor back to have it delivered after all.

mod deliver;
mod outbox;
mod place;
pub(super) mod routes;

pub(crate) use deliver::run;
pub use outbox::OutboxError;

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use api::{
    encoding::{Fixed, Hex},
    event::After,
    problem::code,
    webhook::{Action, Letters, ORDER_MAX_S, Order, URL_MAX, Webhook},
};
use lct::{Digest, id::Cid};
use node::Chain;
use rand_core::Rng;
use tokio::sync::watch;

use super::feed::{self, Filter};
use crate::{
    authority::by_operator,
    refusal::{Refusal, Reply},
    routes::component::cid_of,
};
use outbox::{HOOKS_MAX, Hook, HookSecret, Outbox};

/// How failed deliveries are repeated.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Pause after the first failure; each further one is twice as long.
    pub pause: Duration,
    /// How often an event is tried.
    pub tries: u32,
    /// How long a receiver may take to answer.
    pub answer: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { pause: Duration::from_secs(5), tries: 8, answer: Duration::from_secs(10) }
    }
}

/// The web hooks of a bridge.
pub(crate) struct Webhooks {
    outbox: Outbox,
    /// Tells the deliverer that an operator changed something.
    changed: watch::Sender<()>,
    /// Orders are done one after the other: each looks before it writes.
    turn: Mutex<()>,
}

impl Webhooks {
    pub fn open(path: &Path, chain_id: &Digest) -> Result<Self, OutboxError> {
        let outbox = Outbox::open(path, chain_id)?;
        Ok(Webhooks { outbox, changed: watch::Sender::new(()), turn: Mutex::new(()) })
    }

    fn view(&self, id: &Hex<16>, hook: &Hook) -> Reply<Webhook> {
        Ok(Webhook {
            id: *id,
            // A query often holds what lets one in at the receiver.
            url: hook.url.split(['?', '#']).next().unwrap_or_default().into(),
            types: hook.types.clone(),
            component: hook.component.clone(),
            state: if hook.suspended { "suspended" } else { "active" }.into(),
            cursor: hook.cursor,
            delivered: hook.delivered,
            tries: hook.tries,
            error: hook.error.clone(),
            dead: hook.dead,
            secret: None,
        })
    }

    fn list(&self) -> Reply<Vec<Webhook>> {
        self.outbox.hooks()?.iter().map(|(id, hook)| self.view(id, hook)).collect()
    }

    fn letters(&self, id: &Hex<16>) -> Reply<Letters> {
        let hook = self.outbox.hook(id)?.ok_or_else(unknown)?;
        Ok(Letters { webhook: self.view(id, &hook)?, dead_letters: self.outbox.letters(id)? })
    }

    /// Does what an operator orders, at `now` in Unix seconds.
    fn order(&self, chain: &Chain, order: &Order, now: u64) -> Reply<Webhook> {
        let texts = [&order.url, &order.types, &order.component, &order.after];
        if texts.iter().any(|text| text.chars().any(char::is_control)) {
            return Err(Refusal::format("url, types, component, after: without control characters"));
        }
        if !(now..=now + ORDER_MAX_S).contains(&order.expires_at) {
            let ends = format!("expires_at: from the bridge's time {now} to {ORDER_MAX_S} s later");
            return Err(Refusal::format(ends));
        }
        let snapshot = chain.read()?;
        let digest = order.digest(&chain.chain_id());
        let codes = [code::WEBHOOK_DENIED, code::WEBHOOK_PROOF];
        by_operator(&snapshot, &order.key.0, &order.signature.0, &digest, codes)?;
        let of_add = [&order.url, &order.types, &order.component];
        if order.action != Action::Add && of_add.iter().any(|text| !text.is_empty()) {
            return Err(Refusal::format("url, types, component: of `add` only"));
        }
        if order.action == Action::Remove && !order.after.is_empty() {
            return Err(Refusal::format("after: of `add` and `replay` only"));
        }
        let after = match order.after.as_str() {
            "" => After::Now,
            text => text.parse().map_err(|e| Refusal::format(format!("after: {e}")))?,
        };
        // Each write is one transaction, so a panic of another thread leaves nothing half done.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = self.outbox.hook(&order.id)?;
        let done = match order.action {
            Action::Add => {
                if let Some(kept) = kept {
                    if [&kept.url, &kept.types, &kept.component] == of_add {
                        return self.view(&order.id, &kept);
                    }
                    return Err(Refusal::new(409, code::REPLAY, "another web hook has this id"));
                }
                // The order that added it is still good, and would come with the old address.
                if self.outbox.removed(&order.id, now)? {
                    let refusal = Refusal::new(409, code::REPLAY, "the web hook with this id was removed");
                    return Err(refusal.detail("id: draw another one"));
                }
                if self.outbox.hooks()?.len() >= HOOKS_MAX {
                    let refusal =
                        Refusal::new(503, code::BUSY, "there are as many web hooks as this bridge serves");
                    return Err(refusal.detail(format!("{HOOKS_MAX}: remove one")));
                }
                receiver(&order.url).map_err(Refusal::format)?;
                if !order.component.is_empty() {
                    cid_of(&snapshot, &order.component)?;
                }
                filter(&order.types, &order.component).map_err(Refusal::format)?;
                let mut secret = Fixed([0; 32]);
                let round = crate::entropy::with(|rng| {
                    rng.fill_bytes(&mut secret.0);
                    rng.next_u64()
                })?;
                let hook = Hook {
                    url: order.url.clone(),
                    types: order.types.clone(),
                    component: order.component.clone(),
                    secret: HookSecret(secret),
                    cursor: feed::place(&snapshot, after)?,
                    delivered: 0,
                    tries: 0,
                    dead: 0,
                    error: String::new(),
                    suspended: false,
                    round,
                };
                self.outbox.put(&order.id, &hook, None, None)?;
                Webhook { secret: Some(Hex(secret.0)), ..self.view(&order.id, &hook)? }
            }
            Action::Remove => {
                let hook = kept.ok_or_else(unknown)?;
                self.outbox.remove(&order.id, now, now.saturating_add(ORDER_MAX_S))?;
                self.view(&order.id, &hook)?
            }
            Action::Replay => {
                let mut hook = kept.ok_or_else(unknown)?;
                hook.cursor = feed::place(&snapshot, after)?;
                (hook.tries, hook.dead, hook.suspended) = (0, 0, false);
                hook.error.clear();
                hook.round = hook.round.wrapping_add(1);
                self.outbox.reset(&order.id, &hook)?;
                self.view(&order.id, &hook)?
            }
        };
        tracing::info!(creator = order.creator, id = %order.id, action = ?order.action, "web hook");
        self.changed.send_replace(());
        Ok(done)
    }
}

fn unknown() -> Refusal {
    Refusal::new(404, code::WEBHOOK_NOT_FOUND, "there is no such web hook")
}

/// What a hook wants; its component is an id or a cid.
fn filter(types: &str, component: &str) -> Result<Filter, String> {
    let of = |id: &str| id.parse().map_or_else(|_| Cid::of(id), |Hex(cid)| Cid(cid));
    Filter::new(Some(types).filter(|t| !t.is_empty()), Some(component).filter(|c| !c.is_empty()).map(of))
}

/// Checks the address of a receiver: https to the public network, or http to this machine, where nobody listens in
/// between.
fn receiver(url: &str) -> Result<reqwest::Url, String> {
    let parsed = reqwest::Url::parse(url).map_err(|e| format!("url: {e}"))?;
    let loopback = parsed.host_str().is_some_and(api::client::is_loopback);
    match parsed.scheme() {
        _ if url.len() > URL_MAX => Err(format!("url: at most {URL_MAX} bytes")),
        _ if !parsed.username().is_empty() || parsed.password().is_some() => {
            Err("url: without user and password; events are signed".into())
        }
        "https" if !place::named(&parsed) => {
            Err("url: https goes to a public address; http to this machine".into())
        }
        "https" => Ok(parsed),
        "http" if loopback => Ok(parsed),
        "http" => Err("url: http is in clear and stays on this machine; use https".into()),
        _ => Err("url: only https, and http to this machine".into()),
    }
}
