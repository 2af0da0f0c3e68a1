//! Out of memory: libtorch's word for it, and what to try.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Pairs of the global batch, and those of them that this rank encodes at a time; 0 outside trainings.
static BATCH: AtomicUsize = AtomicUsize::new(0);

static AT_A_TIME: AtomicUsize = AtomicUsize::new(0);

/// A training is under way, until this is dropped.
pub struct Encoding;

impl Encoding {
    /// A training on batches of `batch` pairs, of which this rank encodes `at_a_time` at a time.
    pub fn begin(batch: usize, at_a_time: usize) -> Self {
        BATCH.store(batch, Ordering::Relaxed);
        AT_A_TIME.store(at_a_time, Ordering::Relaxed);
        Encoding
    }
}

impl Drop for Encoding {
    fn drop(&mut self) {
        AT_A_TIME.store(0, Ordering::Relaxed);
    }
}

/// What an allocator says in the message of a panic, where it is one of memory that ran out.
pub fn shortage(panic: &str) -> Option<&str> {
    let says = ["DefaultCPUAllocator: can't allocate memory", "CUDA out of memory", "std::bad_alloc"];
    let from = says.iter().find_map(|text| panic.find(text))?;
    // what follows is where libtorch raised it: a new line, or what is left of one in a quoted message
    let said = &panic[from..];
    let end = ["\n", "\\n", "\")", "\" }"].iter().filter_map(|end| said.find(end)).min().unwrap_or(said.len());
    Some(said[..end].trim_end())
}

/// What takes less memory than what was tried.
pub fn hint() -> String {
    let (batch, at_a_time) = (BATCH.load(Ordering::Relaxed), AT_A_TIME.load(Ordering::Relaxed));
    match smaller(batch, at_a_time) {
        Some(fewer) => format!(
            "hint: {at_a_time} pairs were encoded at a time: try --micro-batch {fewer}, which changes memory and time alone; the run \
             goes on from its last checkpoint"
        ),
        None => {
            "hint: a smaller network, image or batch takes less; the run goes on from its last checkpoint".to_owned()
        }
    }
}

/// The largest divisor of `batch` that is at most half of `at_a_time`.
fn smaller(batch: usize, at_a_time: usize) -> Option<usize> {
    (1..=at_a_time / 2).rev().find(|fewer| batch.is_multiple_of(*fewer))
}

#[cfg(test)]
mod tests {
    use super::{shortage, smaller};

    #[test]
    fn the_allocators_words_are_found_in_a_panic() {
        let cpu = "called `Result::unwrap()` on an `Err` value: Torch(\"[enforce fail at alloc_cpu.cpp:124] err == 0. \
                   DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes. Error code 12 (Cannot allocate memory)\\n\
                   frame #0: ...\")";
        let said = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes. Error code 12 (Cannot allocate memory)";
        assert_eq!(shortage(cpu), Some(said));
        let gpu =
            "called `Result::unwrap()` on an `Err` value: Torch(\"CUDA out of memory. Tried to allocate 2.00 GiB.\")";
        assert_eq!(shortage(gpu), Some("CUDA out of memory. Tried to allocate 2.00 GiB."));
        assert_eq!(shortage("index out of bounds: the len is 3 but the index is 7"), None);
    }

    #[test]
    fn the_micro_batch_to_try_divides_the_batch() {
        assert_eq!(smaller(64, 64), Some(32));
        assert_eq!(smaller(64, 22), Some(8));
        assert_eq!(smaller(25, 25), Some(5));
        assert_eq!(smaller(25, 5), Some(1));
        assert_eq!(smaller(64, 1), None);
        assert_eq!(smaller(64, 0), None);
    }
}
