//! Items that are worked on one after the other, with their progress.

use super::Progress;

/// An iterator that shows how many of its items are done.
pub struct Counted<I> {
    items: I,
    progress: Progress,
    /// Number of items that were given out.
    given: u64,
    all: u64,
}

/// The items, while the progress of the task called `label` is shown.
pub fn counted<I: ExactSizeIterator>(label: &str, items: I) -> Counted<I> {
    let all = items.len() as u64;
    Counted { items, progress: Progress::new(label), given: 0, all }
}

impl<I: Iterator> Iterator for Counted<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        // who asks for the next item has done the one before
        self.progress.at(self.given, self.all);
        self.given += 1;
        self.items.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_given_out_once() {
        assert_eq!(Vec::from_iter(counted("items", [3, 1, 2].into_iter())), [3, 1, 2]);
    }
}
