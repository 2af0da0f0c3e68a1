//! Preparing the next batches in a thread while the current one is in use.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

/// An iterator that runs in a separate thread, at most `ahead` items in advance.
///
/// It yields the items of the source in the same order. The thread ends when the source ends or when this is
/// dropped.
pub struct Prefetch<T> {
    items: Receiver<T>,
}

impl<T: Send> Prefetch<T> {
    /// Starts a thread in `scope` that runs `source`.
    pub fn new<'scope>(
        scope: &'scope Scope<'scope, '_>,
        ahead: usize,
        source: impl Iterator<Item = T> + Send + 'scope,
    ) -> Self
    where
        T: 'scope,
    {
        // the item that the thread is preparing counts as one
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
    fn items_come_in_order_and_at_most_ahead_items_are_made() {
        let made = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let source = (0..100).inspect(|_| {
                made.fetch_add(1, Ordering::SeqCst);
            });
            let mut items = Prefetch::new(scope, 2, source);
            for expected in 0..10 {
                assert_eq!(items.next(), Some(expected));
                std::thread::sleep(std::time::Duration::from_millis(2));
                // items taken, items in the channel, and the one item that waits because the channel is full
                assert!(made.load(Ordering::SeqCst) <= expected + 3);
            }
            drop(items);
        });
        assert!(made.load(Ordering::SeqCst) < 15, "dropping ends the thread");
    }
}
