//! Making the next batches while the last one is worked on.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

/// What a thread of its own makes, at most `ahead` items before they are asked for.
///
/// The items are those of the iterator, in its order: what overlaps is the time, not the result. The thread ends with the iterator, or
/// when this is dropped.
pub struct Prefetch<T> {
    items: Receiver<T>,
}

impl<T: Send> Prefetch<T> {
    /// Starts to make the items of `source` in a thread of `scope`.
    pub fn new<'scope>(
        scope: &'scope Scope<'scope, '_>,
        ahead: usize,
        source: impl Iterator<Item = T> + Send + 'scope,
    ) -> Self
    where
        T: 'scope,
    {
        // the item being made counts as one
        let (to, items) = sync_channel(ahead.saturating_sub(1));
        scope.spawn(move || {
            for item in source {
                if to.send(item).is_err() {
                    break;
                }
            }
        });
        Prefetch { items }
    }
}

impl<T> Iterator for Prefetch<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.items.recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Prefetch;

    #[test]
    fn items_come_in_order_and_no_more_than_asked_for_are_made() {
        let made = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let source = (0..100).inspect(|_| {
                made.fetch_add(1, Ordering::SeqCst);
            });
            let mut items = Prefetch::new(scope, 2, source);
            for expected in 0..10 {
                assert_eq!(items.next(), Some(expected));
                std::thread::sleep(std::time::Duration::from_millis(2));
                // taken, waiting, and the one that the full channel holds back
                assert!(made.load(Ordering::SeqCst) <= expected + 3);
            }
            drop(items);
        });
        assert!(made.load(Ordering::SeqCst) < 15, "dropping ends the thread");
    }
}
