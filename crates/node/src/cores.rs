//! Work of a caller spread over all cores.

use std::{
    panic::resume_unwind,
    sync::OnceLock,
    thread::{self, Builder},
};

/// Cores that this program may use; asked for once, because asking reads files.
fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

/// What `f` makes of each item, in order. Each core gets at least `least` items, so that little work stays with the caller.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], least: usize, f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    map_on(Builder::new, items, least, f)
}

/// The same on threads that `thread` describes. What would have been done by one that the system refuses, the caller does.
fn map_on<T: Sync, R: Send>(
    thread: impl Fn() -> Builder,
    items: &[T],
    least: usize,
    f: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let share = items.len().div_ceil(cores()).max(least).max(1);
    let (own, others) = items.split_at(share.min(items.len()));
    if others.is_empty() {
        return own.iter().map(f).collect();
    }
    let f = &f;
    thread::scope(|scope| {
        let parts: Vec<_> = others
            .chunks(share)
            .map(|part| {
                let work = move || part.iter().map(f).collect::<Vec<_>>();
                thread().spawn_scoped(scope, work).map_err(|_| part)
            })
            .collect();
        let mut all = Vec::with_capacity(items.len());
        all.extend(own.iter().map(f));
        for part in parts {
            match part.map(thread::ScopedJoinHandle::join) {
                Ok(Ok(part)) => all.extend(part),
                Ok(Err(panic)) => resume_unwind(panic),
                Err(part) => all.extend(part.iter().map(f)),
            }
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_once_and_in_order() {
        for n in 0..40 {
            let items: Vec<usize> = (0..n).collect();
            for least in [0, 1, 3, 100] {
                assert_eq!(
                    super::map(&items, least, |i| i * 3),
                    items.iter().map(|i| i * 3).collect::<Vec<_>>()
                );
            }
        }
    }
    #[test]
    fn where_no_thread_is_to_be_had_the_caller_does_it() {
        // No address space has room for such a stack.
        let refused = || Builder::new().stack_size(1 << 60);
        assert!(thread::scope(|scope| refused().spawn_scoped(scope, || ()).is_err()));
        let items: Vec<usize> = (0..40).collect();
        assert_eq!(map_on(refused, &items, 1, |i| i * 3), items.iter().map(|i| i * 3).collect::<Vec<_>>());
    }
}
