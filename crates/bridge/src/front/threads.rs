//! The threads that serve connections: as many as there are cores, each with what waits and what works for its connections.
//!
//! A connection stays on its thread. So what came for it is seen, answered and sent there: no other thread is woken for a request, and
//! the system is asked for the news of many connections at once.

use std::{
    io,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    task::JoinSet,
};
use tracing::{
    dispatcher::{self, Dispatch},
    subscriber::NoSubscriber,
};

/// Threads for what waits for the disk, of all together and of each at least. Each would have as many as all together by itself, and a disk
/// that stands still would fill them.
const BLOCKING_MAX: usize = 512;
const BLOCKING_OF_ONE: usize = 8;

/// Threads that serve connections until they are ended or dropped.
pub(crate) struct Threads(Vec<Thread>);

struct Thread {
    runtime: Handle,
    /// Connections that it serves.
    connections: Arc<AtomicUsize>,
    /// Ends it when this is dropped.
    end: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Threads {
    /// Starts one for each core.
    pub fn start() -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        (0..cores).map(|_| Thread::start(cores)).collect::<io::Result<_>>().map(Threads)
    }

    /// Serves a connection on the thread that has the fewest.
    pub fn serve(
        &self,
        connections: &mut JoinSet<()>,
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        let fewest = self.0.iter().min_by_key(|thread| thread.connections.load(Ordering::Relaxed));
        let Some(thread) = fewest else { return };
        let one = One::enter(&thread.connections);
        let served = async move {
            let _one = one;
            connection.await;
        };
        connections.spawn_on(served, &thread.runtime);
    }

    /// Ends them, with whatever they still do, and returns when they have ended.
    pub async fn end(self) {
        let ended = tokio::task::spawn_blocking(move || {
            for Thread { end, thread, .. } in self.0 {
                drop(end);
                // A panic in it was reported where it happened.
                let _reported = thread.join();
            }
        });
        let _ended = ended.await;
    }
}

impl Thread {
    /// Starts one of `all`.
    fn start(all: usize) -> io::Result<Self> {
        let blocking = (BLOCKING_MAX / all.max(1)).max(BLOCKING_OF_ONE);
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(blocking).build()?;
        let (handle, (end, ended)) = (runtime.handle().clone(), oneshot::channel());
        let heard = dispatcher::get_default(Dispatch::clone);
        let thread = thread::Builder::new().name("front".into()).spawn(move || {
            // Who hears the thread that starts it hears what is said there.
            let _heard = (!heard.is::<NoSubscriber>()).then(|| dispatcher::set_default(&heard));
            let _dropped = runtime.block_on(ended);
            // What blocks on the disk is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Thread { runtime: handle, connections: Arc::default(), end, thread })
    }
}

/// A connection that is counted.
struct One(Arc<AtomicUsize>);

impl One {
    fn enter(connections: &Arc<AtomicUsize>) -> Self {
        connections.fetch_add(1, Ordering::Relaxed);
        One(connections.clone())
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tokio::sync::mpsc;

    use super::*;

    /// Connections are spread over the threads, also where many of them were there before and have gone; at the end nothing is left.
    #[tokio::test]
    async fn connections_are_spread_and_end_with_their_threads() {
        let threads = Threads((0..3).map(|_| Thread::start(3).unwrap()).collect());
        let mut connections = JoinSet::new();
        for _ in 0..4 {
            threads.serve(&mut connections, async {});
        }
        while connections.join_next().await.is_some() {}
        let (tell, mut told) = mpsc::unbounded_channel();
        for _ in 0..6 {
            let tell = tell.clone();
            threads.serve(&mut connections, async move {
                tell.send(Some(thread::current().id())).unwrap();
                std::future::pending::<()>().await;
            });
        }
        drop(tell);
        let mut on = HashMap::new();
        for _ in 0..6 {
            *on.entry(told.recv().await.unwrap().unwrap()).or_insert(0) += 1;
        }
        assert_eq!(on.values().copied().collect::<Vec<_>>(), [2, 2, 2]);
        threads.end().await;
        assert!(told.recv().await.is_none(), "what they served goes with them");
    }
}
