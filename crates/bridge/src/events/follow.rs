//! Going on with a page whenever a block came: the same for every kind of stream (A184).

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use api::{
    event::{Event, Gap},
    problem::code,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::feed::{self, Filter, Place};
use crate::{
    Shared,
    refusal::{Refusal, Reply},
};

/// Most streams at the same time.
const STREAMS_MAX: usize = 256;
/// Events of one page of a stream.
const PAGE: usize = 64;
/// Items that wait for a reader.
const WAITING: usize = 16;
/// A reader that takes nothing for so long is let go; it comes back with its cursor.
const STALLED: Duration = Duration::from_secs(30);
/// Pause between two signs of life.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);

/// What a stream carries.
#[derive(Debug)]
pub(crate) enum Item {
    /// Others are missing before what follows.
    Gap(Gap),
    /// The next event.
    Event(Box<Event>),
}

/// The streams that run.
#[derive(Debug)]
pub(crate) struct Streams {
    places: Arc<Semaphore>,
    ended: watch::Sender<bool>,
}

impl Default for Streams {
    fn default() -> Self {
        Streams { places: Arc::new(Semaphore::new(STREAMS_MAX)), ended: watch::Sender::new(false) }
    }
}

impl Streams {
    /// Takes a place; one that is dropped is free again.
    pub fn enter(&self) -> Reply<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().map_err(|_| {
            Refusal::new(503, code::BUSY, "too many streams are open; read pages, or try again later")
        })
    }

    /// Ends every stream, so that none keeps the ledger open.
    pub fn end(&self) {
        self.ended.send_replace(true);
    }

    /// Tells when the streams end.
    pub fn ended(&self) -> watch::Receiver<bool> {
        self.ended.subscribe()
    }
}

/// Follows the feed from a place. The stream ends when its reader drops it or stalls, when the bridge ends, and when the
/// ledger fails.
pub(crate) fn follow(shared: &Arc<Shared>, after: Place, filter: Filter) -> Reply<mpsc::Receiver<Item>> {
    let place = shared.streams.enter()?;
    let (sender, receiver) = mpsc::channel(WAITING);
    // A stream must not keep the ledger open while it waits for a block.
    let (weak, mut ended) = (Arc::downgrade(shared), shared.streams.ended());
    let heights = shared.chain.subscribe();
    tokio::spawn(async move {
        let _place = place;
        tokio::select! {
            done = run(&weak, heights, after, &filter, &sender) => if let Err(why) = done {
                tracing::error!(why = %why.0, "a stream of events ended");
            },
            // An error means that the bridge is gone already.
            () = async { drop(ended.wait_for(|ended| *ended).await) } => {}
        }
    });
    Ok(receiver)
}

async fn run(
    shared: &Weak<Shared>,
    mut heights: watch::Receiver<u64>,
    mut at: Place,
    filter: &Filter,
    reader: &mpsc::Sender<Item>,
) -> Reply<()> {
    loop {
        heights.borrow_and_update();
        loop {
            let Some(shared) = shared.upgrade() else { return Ok(()) };
            let filter = filter.clone();
            let page =
                shared.blocking(move |chain| Ok(feed::page(&chain.read()?, at, &filter, PAGE)?)).await?;
            drop(shared);
            at = page.cursor;
            let gap = page.gap.map(Item::Gap);
            for item in gap.into_iter().chain(page.events.into_iter().map(|e| Item::Event(Box::new(e)))) {
                if reader.send_timeout(item, STALLED).await.is_err() {
                    return Ok(());
                }
            }
            if !page.more {
                break;
            }
        }
        tokio::select! {
            changed = heights.changed() => if changed.is_err() {
                return Ok(());
            },
            () = reader.closed() => return Ok(()),
        }
    }
}
