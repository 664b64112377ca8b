//! What the authority says without being asked: who it followed, its revocation list, its time, policies and orders of operators, fetched
//! from the bridge.

use api::{
    Client, ClientError,
    gateway::{Bus, Report},
    order::Order,
    policy::Standing,
    revocation::Revocations,
};
use lct::{clock::TOKEN_LEN, succession::SUCCESSION_LEN};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often the bridge is asked: a revocation or an order is known within this time.
const LOOK: Duration = Duration::from_secs(1);
/// How often the bridge is told how the bus is, also while nothing changes.
const REPORT: Duration = Duration::from_secs(15);
/// Looks after which the time is fetched although the list is the same.
const LOOKS_PER_TOKEN: u32 = 60;

/// The authority's last word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// By which successions the authority came after the one that devices were made for, the oldest first (H166).
    pub successions: Vec<[u8; SUCCESSION_LEN]>,
    /// Number of the revocation list.
    pub number: u32,
    /// The list (H105).
    pub list: Vec<u8>,
    /// The time (H100).
    pub token: [u8; TOKEN_LEN],
    /// Bindings of the pack for which a policy was ordered that is not in force, or a new pairing is due.
    pub renewals: Vec<Standing>,
    /// Orders that wait for whoever has the pack.
    pub orders: Vec<Order>,
}

impl Word {
    /// Asks the bridge; `pack` is the component id of the pack.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn fetch(client: &Client, pack: &str) -> Result<Word, ClientError> {
        Look::take(client, pack).await?.dated(client).await
    }
}

/// What one look at the bridge finds.
struct Look {
    list: Revocations,
    renewals: Vec<Standing>,
    orders: Vec<Order>,
}

impl Look {
    async fn take(client: &Client, pack: &str) -> Result<Look, ClientError> {
        let list = client.revocations().await?;
        let mut renewals = client.policies(Some(pack)).await?.policies;
        renewals.retain(|standing| standing.is_open() || standing.due);
        let orders = client.orders().await?.orders;
        Ok(Look { list, renewals, orders })
    }

    /// True when something waits for the gateway.
    fn is_open(&self) -> bool {
        !self.renewals.is_empty() || !self.orders.is_empty()
    }

    /// With who the authority is, and the time, beside it.
    async fn dated(self, client: &Client) -> Result<Word, ClientError> {
        let successions = client.authority().await?.successions.into_iter().map(|s| s.0).collect();
        let token = client.time_token().await?.token.0;
        let Look { list, renewals, orders } = self;
        Ok(Word { successions, number: list.number, list: list.list.0, token, renewals, orders })
    }
}

/// What the listener hears, and what it says of the bus.
#[derive(Debug)]
pub struct Line {
    /// The authority's last word.
    pub words: watch::Receiver<Option<Word>>,
    /// How the bus is; the bridge is told now and then (A129).
    pub bus: watch::Sender<Bus>,
}

impl Line {
    /// A line, and its other end, for [`listen`].
    pub fn new() -> (Line, Far) {
        let (heard, words) = watch::channel(None);
        let (bus, told) = watch::channel(Bus::Silent);
        (Line { words, bus }, Far { heard, bus: told })
    }
}

/// The other end of a [`Line`].
#[derive(Debug)]
pub struct Far {
    heard: watch::Sender<Option<Word>>,
    bus: watch::Receiver<Bus>,
}

/// The last report of which the bridge said something.
#[derive(Debug, Clone, Copy)]
struct Told {
    at: Instant,
    of: Bus,
    /// Whether it took it.
    taken: bool,
}

impl Told {
    /// Whether the bridge is to be told again. It writes down what it refuses, so that another bus is no reason to have the next
    /// one refused at once.
    fn is_due(self, bus: Bus, now: Instant) -> bool {
        (self.taken && self.of != bus) || now.saturating_duration_since(self.at) >= REPORT
    }
}

/// Asks the bridge for its list, its policies and its orders every second and for the time every minute, tells the line
/// what is new or still to be done, and ends when nobody listens any more. A bridge that does not answer is asked again. In
/// between it is told how the bus of `app` is.
pub async fn listen(client: Client, pack: String, app: String, Far { heard, bus }: Far) {
    let mut told: Option<Told> = None;
    let mut looks = LOOKS_PER_TOKEN;
    let mut known = 0;
    loop {
        if let Ok(look) = Look::take(&client, &pack).await
            && (look.list.number != known || look.is_open() || looks >= LOOKS_PER_TOKEN)
            && let Ok(word) = look.dated(&client).await
        {
            (known, looks) = (word.number, 0);
            heard.send_replace(Some(word));
        }
        looks = looks.saturating_add(1);
        let now = *bus.borrow();
        if told.is_none_or(|told| told.is_due(now, Instant::now())) {
            let taken = match client.report_gateway(&app, &Report { bus: now }).await {
                Ok(_) => Some(true),
                Err(ClientError::Refused(_)) => Some(false),
                // A bridge that was not reached is asked again with the next look.
                Err(_) => None,
            };
            if let Some(taken) = taken {
                told = Some(Told { at: Instant::now(), of: now, taken });
            }
        }
        tokio::select! {
            () = heard.closed() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_was_refused_is_not_repeated_at_every_look() {
        let at = Instant::now();
        for (taken, bus, after, due) in [
            (true, Bus::Up, LOOK, false),
            (true, Bus::Silent, LOOK, true),
            (true, Bus::Up, REPORT, true),
            (false, Bus::Up, LOOK, false),
            (false, Bus::Silent, LOOK, false),
            (false, Bus::Silent, REPORT - LOOK, false),
            (false, Bus::Up, REPORT, true),
        ] {
            let told = Told { at, of: Bus::Up, taken };
            assert_eq!(told.is_due(bus, at + after), due, "taken {taken}, {bus:?} after {after:?}");
        }
    }
}
