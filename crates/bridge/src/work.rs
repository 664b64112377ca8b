//! Work that was taken on and goes on to its end, whoever still waits for it (A126).

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use api::problem::code;
use axum::response::{IntoResponse, Response};
use tokio::sync::{oneshot, watch};

use crate::{access::LOCAL, ops::lines, refusal::Refusal};

/// How many works are under way at most: who goes away and asks again leaves each of them behind.
const WORKS_MAX: usize = 1024;
/// How many of them are one user's, so that he leaves room for others; whoever sits at this machine is alone there.
const WORKS_OF_ONE: usize = 256;

/// What was taken on and has not ended.
#[derive(Debug, Clone)]
pub(crate) struct Works {
    running: watch::Sender<usize>,
    /// By name of the user.
    of_each: Arc<Mutex<HashMap<String, usize>>>,
}

impl Default for Works {
    fn default() -> Self {
        Works { running: watch::Sender::new(0), of_each: Arc::default() }
    }
}

impl Works {
    /// Does the `work` of a user in a task of its own and waits for its answer. Who stops waiting stops nothing: `unheard` is
    /// then told what came out. Refused where too much is under way.
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
        // Nothing comes out of what panicked; that was reported where it happened.
        answered.await.unwrap_or_else(|_| Refusal::internal(&"the request was not ended").into_response())
    }

    fn enter(&self, who: &str) -> Result<Place, Refusal> {
        let mut of_each = self.lock();
        if *self.running.borrow() >= WORKS_MAX {
            let words = "too many changes are under way; try again later";
            return Err(Refusal::new(503, code::BUSY, words));
        }
        let own = of_each.entry(who.to_owned()).or_default();
        if *own >= WORKS_OF_ONE && who != LOCAL {
            let words = "too many changes of one user are under way; wait for their answers";
            return Err(Refusal::new(429, code::RATE, words).retry_after(1));
        }
        *own += 1;
        self.running.send_modify(|n| *n += 1);
        Ok(Place { works: self.clone(), who: who.to_owned() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.of_each.lock().unwrap_or_else(PoisonError::into_inner)
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
    works: Works,
    who: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut of_each = self.works.lock();
        if let Some(own) = of_each.get_mut(&self.who) {
            *own -= 1;
            if *own == 0 {
                of_each.remove(&self.who);
            }
        }
        self.works.running.send_modify(|n| *n -= 1);
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
            tokio::spawn(
                async move { mine.run("ann", work, move |_| heard.store(true, Ordering::SeqCst)).await },
            );
        let mut running = works.running.subscribe();
        running.wait_for(|running| *running == 1).await.unwrap();
        asker.abort();
        assert!(asker.await.unwrap_err().is_cancelled());
        go.send(()).unwrap();
        works.idle().await;
        assert!(done.load(Ordering::SeqCst) && told.load(Ordering::SeqCst));

        let broken = works.run("ann", async { unreachable!("a defect") }, |_| {}).await;
        assert_eq!(broken.status(), 500);
        works.idle().await;
    }

    /// Who asks, goes away and asks again has no more under way than there are places, and leaves some to others.
    #[tokio::test]
    async fn what_nobody_waits_for_has_a_bound_and_so_has_each_of_his_own() {
        let works = Works::default();
        let (go, goes) = watch::channel(false);
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
        assert!(works.lock().is_empty());
        let taken = works.run("ann", async { "done".into_response() }, |_| {}).await;
        assert_eq!(taken.status(), 200);
    }
}
