//! What the authority says without being asked: its revocation list, its time, policies and orders of operators, fetched
//! from the bridge.

use api::{Client, ClientError, order::Order, policy::Standing};
use lct::clock::TOKEN_LEN;
use std::time::Duration;
use tokio::sync::watch;

/// How often the bridge is asked: a revocation or an order is known within this time.
const LOOK: Duration = Duration::from_secs(1);
/// Looks after which the time is fetched although the list is the same.
const LOOKS_PER_TOKEN: u32 = 60;

/// The authority's last word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
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
        let revocations = client.revocations().await?;
        let token = client.time_token().await?.token.0;
        let renewals = renewals(client, pack).await?;
        let orders = client.orders().await?.orders;
        Ok(Word { number: revocations.number, list: revocations.list.0, token, renewals, orders })
    }
}

async fn renewals(client: &Client, pack: &str) -> Result<Vec<Standing>, ClientError> {
    let all = client.policies(Some(pack)).await?.policies;
    Ok(all.into_iter().filter(|standing| standing.is_open() || standing.due).collect())
}

/// Asks the bridge for its list, its policies and its orders every second and for the time every minute, tells `heard` what is new
/// or still to be done, and ends when nobody listens any more. A bridge that does not answer is asked again.
pub async fn listen(client: Client, pack: String, heard: watch::Sender<Option<Word>>) {
    let mut looks = LOOKS_PER_TOKEN;
    let mut known = 0;
    loop {
        let is_new = client.revocations().await.is_ok_and(|list| list.number != known);
        let is_open = renewals(&client, &pack).await.is_ok_and(|open| !open.is_empty())
            || client.orders().await.is_ok_and(|waiting| !waiting.orders.is_empty());
        if (is_new || is_open || looks >= LOOKS_PER_TOKEN)
            && let Ok(word) = Word::fetch(&client, &pack).await
        {
            (known, looks) = (word.number, 0);
            heard.send_replace(Some(word));
        }
        looks = looks.saturating_add(1);
        tokio::select! {
            () = heard.closed() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}
