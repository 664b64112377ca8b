//! What the authority says without being asked: its revocation list and its time, fetched from the bridge.

use api::{Client, ClientError};
use lct::clock::TOKEN_LEN;
use std::time::Duration;
use tokio::sync::watch;

/// How often the bridge is asked for its list: a revocation is known within this time.
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
}

impl Word {
    /// Asks the bridge.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn fetch(client: &Client) -> Result<Word, ClientError> {
        let revocations = client.revocations().await?;
        let token = client.time_token().await?.token.0;
        Ok(Word { number: revocations.number, list: revocations.list.0, token })
    }
}

/// Asks the bridge for its list every second and for the time every minute, tells `heard` what is new, and ends when
/// nobody listens any more. A bridge that does not answer is asked again.
pub async fn listen(client: Client, heard: watch::Sender<Option<Word>>) {
    let mut looks = LOOKS_PER_TOKEN;
    let mut known = 0;
    loop {
        let is_new = client.revocations().await.is_ok_and(|list| list.number != known);
        if (is_new || looks >= LOOKS_PER_TOKEN)
            && let Ok(word) = Word::fetch(&client).await
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
