//! Work that was taken on and goes on to its end, whoever still waits for it (A126).

use std::{future::Future, sync::Arc};

use api::problem::code;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tracing::Instrument as _;

use crate::refusal::Refusal;

/// How many works are under way at most: who goes away and asks again leaves each of them behind.
const WORKS_MAX: usize = 1024;

/// What was taken on and has not ended.
#[derive(Debug)]
pub(crate) struct Works {
    running: watch::Sender<usize>,
    places: Arc<Semaphore>,
}

impl Default for Works {
    fn default() -> Self {
        Works { running: watch::Sender::new(0), places: Arc::new(Semaphore::new(WORKS_MAX)) }
    }
}

impl Works {
    /// Does `work` in a task of its own and waits for its answer. Who stops waiting stops nothing: `unheard` is then told
    /// what came out. Refused where too much is under way.
    pub async fn run(
        &self,
        work: impl Future<Output = Response> + Send + 'static,
        unheard: impl FnOnce(&Response) + Send + 'static,
    ) -> Response {
        let Ok(permit) = self.places.clone().try_acquire_owned() else {
            let refusal = Refusal::new(503, code::BUSY, "too many changes are under way; try again later");
            return refusal.into_response();
        };
        let place = Place::enter(&self.running, permit);
        let (answer, answered) = oneshot::channel();
        let task = async move {
            let _place = place;
            if let Err(response) = answer.send(work.await) {
                unheard(&response);
            }
        };
        tokio::spawn(task.in_current_span());
        // Nothing comes out of what panicked; that was reported where it happened.
        answered.await.unwrap_or_else(|_| Refusal::internal(&"the request was not ended").into_response())
    }

    /// How many are under way.
    pub fn count(&self) -> usize {
        *self.running.borrow()
    }

    /// Resolves when nothing is under way.
    pub async fn idle(&self) {
        let mut running = self.running.subscribe();
        // The sender lives as long as the bridge.
        let _gone = running.wait_for(|running| *running == 0).await;
    }
}

/// One work under way.
struct Place {
    running: watch::Sender<usize>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn enter(running: &watch::Sender<usize>, permit: OwnedSemaphorePermit) -> Self {
        running.send_modify(|n| *n += 1);
        Place { running: running.clone(), _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.running.send_modify(|n| *n -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn work_goes_on_without_whoever_asked_for_it_and_is_waited_for() {
        let works = Arc::new(Works::default());
        let (go, goes) = oneshot::channel::<()>();
        let (done, told) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (did, heard) = (done.clone(), told.clone());
        let work = async move {
            goes.await.unwrap();
            did.store(true, Ordering::SeqCst);
            "done".into_response()
        };
        let mine = works.clone();
        let asker =
            tokio::spawn(async move { mine.run(work, move |_| heard.store(true, Ordering::SeqCst)).await });
        let mut running = works.running.subscribe();
        running.wait_for(|running| *running == 1).await.unwrap();
        asker.abort();
        assert!(asker.await.unwrap_err().is_cancelled());
        go.send(()).unwrap();
        works.idle().await;
        assert!(done.load(Ordering::SeqCst) && told.load(Ordering::SeqCst));

        let broken = works.run(async { unreachable!("a defect") }, |_| {}).await;
        assert_eq!(broken.status(), 500);
        works.idle().await;
    }

    /// Who asks, goes away and asks again has no more under way than there are places.
    #[tokio::test]
    async fn what_nobody_waits_for_has_a_bound() {
        let works = Works::default();
        let (go, goes) = watch::channel(false);
        for _ in 0..WORKS_MAX {
            let mut goes = goes.clone();
            let work = async move {
                let _gone = goes.wait_for(|go| *go).await.map(|_| ());
                "done".into_response()
            };
            let asked = works.run(work, |_| {});
            assert!(tokio::time::timeout(std::time::Duration::ZERO, asked).await.is_err());
        }
        assert_eq!(works.count(), WORKS_MAX);
        let refused = works.run(async { unreachable!("there is no place") }, |_| {}).await;
        assert_eq!((refused.status().as_u16(), works.count()), (503, WORKS_MAX));
        go.send(true).unwrap();
        works.idle().await;
        let taken = works.run(async { "done".into_response() }, |_| {}).await;
        assert_eq!(taken.status(), 200);
    }
}
