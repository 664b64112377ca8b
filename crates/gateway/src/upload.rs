//! Empties the outbox: sends what waits, follows it until it is in a block, takes it out.

use crate::{
    outbox::{Job, Outbox, OutboxError, Refusal},
    uplink::{Uplink, UplinkError, Uploaded},
};
use lct::Digest;
use rand_core::CryptoRng;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::watch;

/// Transactions followed at the same time.
const IN_FLIGHT: usize = 48;
/// Pause when there is nothing to do, and the first after a failure.
const IDLE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How the outbox stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Jobs that wait.
    pub waiting: u64,
    /// Jobs that the ledger refused for good; they are kept with their reason.
    pub failed: u64,
    /// Nobody answered in the last round ([`UplinkError::is_away`]).
    pub away: bool,
    /// The last failure to reach the ledger, while it lasts, or else the last refusal.
    pub trouble: Option<String>,
}

/// Runs until `stop` is true and nothing waits, or until the outbox fails.
pub async fn upload<R: CryptoRng + Send>(
    outbox: Arc<Outbox>,
    mut uplink: Uplink<R>,
    progress: watch::Sender<Progress>,
    stop: watch::Receiver<bool>,
) -> Result<(), OutboxError> {
    let mut flying = BTreeMap::new();
    let mut pause = IDLE;
    let mut refusal = None;
    loop {
        let (done, failed, trouble) = round(&outbox, &mut uplink, &mut flying).await?;
        if let Some(Refusal { reason, .. }) = failed.last() {
            refusal = Some(format!("refused: {reason}"));
        }
        let moved = !done.is_empty() || !failed.is_empty();
        let depth = {
            let outbox = outbox.clone();
            blocking(move || {
                outbox.settle(&done, &failed)?;
                outbox.depth()
            })
            .await?
        };
        pause = if trouble.is_some() { (pause * 2).min(LONGEST_PAUSE) } else { IDLE };
        progress.send_replace(Progress {
            waiting: depth.0,
            failed: depth.1,
            away: trouble.as_ref().is_some_and(UplinkError::is_away),
            trouble: trouble.map(|e| e.to_string()).or_else(|| refusal.clone()),
        });
        if *stop.borrow() && depth.0 == 0 {
            return Ok(());
        }
        if !moved {
            tokio::time::sleep(pause).await;
        }
    }
}

type Round = (Vec<u64>, Vec<Refusal>, Option<UplinkError>);

/// Sends new jobs and looks after those under way, until the bridge fails.
async fn round<R: CryptoRng>(
    outbox: &Arc<Outbox>,
    uplink: &mut Uplink<R>,
    flying: &mut BTreeMap<u64, (Digest, Job)>,
) -> Result<Round, OutboxError> {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    let skip: Vec<u64> = flying.keys().copied().collect();
    let room = IN_FLIGHT.saturating_sub(skip.len());
    let jobs: Vec<(u64, Job)> = {
        let outbox = outbox.clone();
        blocking(move || outbox.next(room, &skip)).await?
    };
    for (number, job) in jobs {
        match uplink.upload(&job).await {
            Ok(Uploaded::Accepted(id)) => {
                flying.insert(number, (id, job));
            }
            Ok(Uploaded::AlreadyThere) => done.push(number),
            Ok(Uploaded::Refused(reason)) => failed.push(Refusal { number, reason, key_ended: false }),
            Ok(Uploaded::KeyEnded(reason)) => failed.push(Refusal { number, reason, key_ended: true }),
            Err(e) => return Ok((done, failed, Some(e))),
        }
    }
    while let Some(first) = flying.first_entry() {
        let number = *first.key();
        let (id, job) = first.get();
        match uplink.fate(job, id).await {
            Ok(None) => break,
            Ok(Some(fate)) => {
                first.remove();
                match fate {
                    Uploaded::Accepted(_) | Uploaded::AlreadyThere => done.push(number),
                    Uploaded::Refused(reason) => failed.push(Refusal { number, reason, key_ended: false }),
                    Uploaded::KeyEnded(reason) => failed.push(Refusal { number, reason, key_ended: true }),
                }
            }
            Err(UplinkError::Client(e)) if !e.is_transient() => {
                // The node forgot the transaction (it restarted before a block held it): it is sent again.
                first.remove();
            }
            Err(e) => return Ok((done, failed, Some(e))),
        }
    }
    Ok((done, failed, None))
}

async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, OutboxError> + Send + 'static,
) -> Result<T, OutboxError> {
    match tokio::task::spawn_blocking(f).await {
        Ok(done) => done,
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}
