//! Work of a caller spread over all cores.

use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder, prelude::*};

/// The threads that help callers; `None` where the system refuses them, or there is one core only. They stay, because a new one costs as much as what it
/// would take over.
fn helpers() -> Option<&'static ThreadPool> {
    static HELPERS: OnceLock<Option<ThreadPool>> = OnceLock::new();
    HELPERS.get_or_init(|| pool(ThreadPoolBuilder::new())).as_ref()
}

fn pool(threads: ThreadPoolBuilder) -> Option<ThreadPool> {
    let name = |i| format!("helper-{i}");
    threads.thread_name(name).build().ok().filter(|pool| pool.current_num_threads() > 1)
}

/// What `f` makes of each item, in order. A thread gets at least `least` items, so that little work stays with the caller.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], least: usize, f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    // Not before there is work for them, so that a program with little to do has none.
    let helpers = (items.len() > least).then(helpers).flatten();
    map_on(helpers, items, least, f)
}

fn map_on<T: Sync, R: Send>(
    helpers: Option<&ThreadPool>,
    items: &[T],
    least: usize,
    f: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    match helpers {
        Some(helpers) => helpers.install(|| items.par_iter().with_min_len(least).map(&f).collect()),
        None => items.iter().map(f).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_once_and_in_order() {
        let two = pool(ThreadPoolBuilder::new().num_threads(2));
        assert!(two.is_some());
        for n in 0..40 {
            let items: Vec<usize> = (0..n).collect();
            for least in [0, 1, 3, 100] {
                let expected: Vec<_> = items.iter().map(|i| i * 3).collect();
                assert_eq!(map(&items, least, |i| i * 3), expected);
                assert_eq!(map_on(two.as_ref(), &items, least, |i| i * 3), expected);
            }
        }
    }

    #[test]
    fn where_no_thread_is_to_be_had_the_caller_does_it() {
        // No address space has room for such a stack.
        let refused = pool(ThreadPoolBuilder::new().num_threads(2).stack_size(1 << 60));
        assert!(refused.is_none());
        let items: Vec<usize> = (0..40).collect();
        assert_eq!(
            map_on(refused.as_ref(), &items, 1, |i| i * 3),
            items.iter().map(|i| i * 3).collect::<Vec<_>>()
        );
    }
}
