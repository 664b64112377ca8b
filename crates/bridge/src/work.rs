//! Work that was taken on and goes on to its end, whoever still waits for it (A126).

use std::future::Future;

use axum::response::{IntoResponse, Response};
use tokio::sync::{oneshot, watch};
use tracing::Instrument as _;

use crate::refusal::Refusal;

/// What was taken on and has not ended.
#[derive(Debug)]
pub(crate) struct Works(watch::Sender<usize>);

impl Default for Works {
    fn default() -> Self {
        Works(watch::Sender::new(0))
    }
}

impl Works {
    /// Does `work` in a task of its own and waits for its answer. Who stops waiting stops nothing: `unheard` is then told
    /// what came out.
    pub async fn run(
        &self,
        work: impl Future<Output = Response> + Send + 'static,
        unheard: impl FnOnce(&Response) + Send + 'static,
    ) -> Response {
        let place = Place::enter(&self.0);
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

    /// Resolves when nothing is under way.
    pub async fn idle(&self) {
        let mut running = self.0.subscribe();
        // The sender lives as long as the bridge.
        let _gone = running.wait_for(|running| *running == 0).await;
    }
}

/// One work under way.
struct Place(watch::Sender<usize>);

impl Place {
    fn enter(running: &watch::Sender<usize>) -> Self {
        running.send_modify(|n| *n += 1);
        Place(running.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

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
        let mut running = works.0.subscribe();
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
}
