//! Work that was taken on and goes on to its end, whoever still waits for it (A126).

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use api::problem::code;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use tokio::sync::{Notify, oneshot};

use crate::{access::LOCAL, ops::lines, refusal::Refusal};

/// How many works are under way at most: who goes away and asks again leaves each of them behind.
const WORKS_MAX: usize = 1024;
/// How many of them are one user's, so that he leaves room for others; whoever sits at this machine is alone there.
const WORKS_OF_ONE: usize = 256;

/// What was taken on and has not ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Works(Arc<Under>);

#[derive(Debug, Default)]
struct Under {
    way: Mutex<Running>,
    /// Nothing is under way any more.
    idle: Notify,
}

#[derive(Debug, Default)]
struct Running {
    all: usize,
    /// By name of the user.
    of_each: HashMap<String, usize>,
}

impl Works {
    /// Does the `work` of a user and waits for its answer. Who stops waiting stops nothing: `unheard` is then told what came out.
    /// Refused where too much is under way.
    pub async fn run(
        &self,
        who: &str,
        work: impl Future<Output = Response> + Send + 'static,
        unheard: impl FnOnce(&Response) + Send + 'static,
    ) -> Response {
        let place = match self.enter(who) {
            Ok(place) => place,
            Err(refusal) => return refusal.into_response(),
        };
        let mut work = Box::pin(AssertUnwindSafe(work).catch_unwind().map(|ended| {
            // What panicked was reported where it happened.
            ended.unwrap_or_else(|_| Refusal::internal(&"the request was not ended").into_response())
        }));
        // Most of it waits for nothing, and nobody can stop waiting before: that needs no task.
        if let Poll::Ready(response) = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await {
            return response;
        }
        let (answer, answered) = oneshot::channel();
        let task = async move {
            let _place = place;
            if let Err(response) = answer.send(work.await) {
                unheard(&response);
            }
        };
        match lines::asked() {
            Some(asked) => tokio::spawn(asked.during(task)),
            None => tokio::spawn(task),
        };
        // It ends without an answer where its runtime ends.
        answered.await.unwrap_or_else(|_| Refusal::internal(&"the request was not ended").into_response())
    }

    fn enter(&self, who: &str) -> Result<Place, Refusal> {
        let mut running = self.lock();
        if running.all >= WORKS_MAX {
            let words = "too many changes are under way; try again later";
            return Err(Refusal::new(503, code::BUSY, words));
        }
        let own = running.of_each.entry(who.to_owned()).or_default();
        if *own >= WORKS_OF_ONE && who != LOCAL {
            let words = "too many changes of one user are under way; wait for their answers";
            return Err(Refusal::new(429, code::RATE, words).retry_after(1));
        }
        *own += 1;
        running.all += 1;
        Ok(Place { works: self.clone(), who: who.to_owned() })
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.0.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are under way.
    pub fn count(&self) -> usize {
        self.lock().all
    }

    /// Resolves when nothing is under way.
    pub async fn idle(&self) {
        loop {
            let mut idle = std::pin::pin!(self.0.idle.notified());
            // From here on an end is not missed.
            idle.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// One work under way.
struct Place {
    works: Works,
    who: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut running = self.works.lock();
        if let Some(own) = running.of_each.get_mut(&self.who) {
            *own -= 1;
            if *own == 0 {
                running.of_each.remove(&self.who);
            }
        }
        running.all -= 1;
        let ended = running.all == 0;
        drop(running);
        if ended {
            self.works.0.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn work_goes_on_without_whoever_asked_for_it_and_is_waited_for() {
        let works = Works::default();
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
            tokio::spawn(
                async move { mine.run("ann", work, move |_| heard.store(true, Ordering::SeqCst)).await },
            );
        while works.count() == 0 {
            tokio::task::yield_now().await;
        }
        asker.abort();
        assert!(asker.await.unwrap_err().is_cancelled());
        go.send(()).unwrap();
        works.idle().await;
        assert!(done.load(Ordering::SeqCst) && told.load(Ordering::SeqCst));

        // At once, or after it waited.
        for waits in [false, true] {
            let work = async move {
                if waits {
                    tokio::task::yield_now().await;
                }
                unreachable!("a defect")
            };
            assert_eq!(works.run("ann", work, |_| {}).await.status(), 500);
            works.idle().await;
        }
    }

    /// Who asks, goes away and asks again has no more under way than there are places, and leaves some to others.
    #[tokio::test]
    async fn what_nobody_waits_for_has_a_bound_and_so_has_each_of_his_own() {
        let works = Works::default();
        let (go, goes) = tokio::sync::watch::channel(false);
        let left = async |who: &str| {
            let mut goes = goes.clone();
            let work = async move {
                let _gone = goes.wait_for(|go| *go).await.map(|_| ());
                "done".into_response()
            };
            let asked = works.run(who, work, |_| {});
            match tokio::time::timeout(std::time::Duration::ZERO, asked).await {
                Err(_) => None,
                Ok(refused) => {
                    Some((refused.status().as_u16(), refused.headers().contains_key("retry-after")))
                }
            }
        };
        for _ in 0..WORKS_OF_ONE {
            assert_eq!(left("ann").await, None);
        }
        assert_eq!(left("ann").await, Some((429, true)));
        assert_eq!(left("bob").await, None, "one user's are nobody else's");
        for _ in WORKS_OF_ONE + 1..WORKS_MAX {
            assert_eq!(left(LOCAL).await, None);
        }
        for who in [LOCAL, "bob", "ann"] {
            assert_eq!((left(who).await, works.count()), (Some((503, true)), WORKS_MAX), "{who}");
        }
        go.send(true).unwrap();
        works.idle().await;
        assert!(works.lock().of_each.is_empty());
        let taken = works.run("ann", async { "done".into_response() }, |_| {}).await;
        assert_eq!(taken.status(), 200);
    }
}
