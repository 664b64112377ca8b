//! Work of a caller spread over all cores.

use std::{panic::resume_unwind, sync::OnceLock, thread};

/// Cores that this program may use; asked for once, because asking reads files.
fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

/// What `f` makes of each item, in order. Each core gets at least `least` items, so that little work stays with the caller.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], least: usize, f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let share = items.len().div_ceil(cores()).max(least).max(1);
    let (own, others) = items.split_at(share.min(items.len()));
    if others.is_empty() {
        return own.iter().map(f).collect();
    }
    let f = &f;
    thread::scope(|scope| {
        let parts: Vec<_> = others
            .chunks(share)
            .map(|part| scope.spawn(move || part.iter().map(f).collect::<Vec<_>>()))
            .collect();
        let mut all = Vec::with_capacity(items.len());
        all.extend(own.iter().map(f));
        for part in parts {
            match part.join() {
                Ok(part) => all.extend(part),
                Err(panic) => resume_unwind(panic),
            }
        }
        all
    })
}

#[cfg(test)]
mod tests {
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
}
