//! Out of memory: recognises libtorch's message and gives advice. Work may also be tried, to see whether it
//! fits.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How the sentences begin by which libtorch and the libraries below it say that memory has run out.
const BEGINNINGS: [&str; 12] = [
    "DefaultCPUAllocator: can't allocate memory",
    "std::bad_alloc",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    // cuDNN 9's name for it
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    // NCCL's
    "Cuda failure 2 'out of memory'",
    "Cuda failure 'out of memory'",
    "Failed to CUDA malloc",
    "Failed to CUDA calloc",
];

/// Number of pairs in the global batch.
static BATCH: AtomicUsize = AtomicUsize::new(0);

/// Number of pairs that this rank encodes at a time; 0 outside trainings.
static MICRO_BATCH: AtomicUsize = AtomicUsize::new(0);

/// Whether it computes the encoder's blocks again in the backward pass.
static RECOMPUTES: AtomicBool = AtomicBool::new(false);

/// Marks that a training is running, until it is dropped; the advice depends on it.
pub struct RunningTraining;

impl RunningTraining {
    /// Marks the start of a training on batches of `batch` pairs. This rank encodes `micro_batch` pairs at a
    /// time, and may compute the encoder's blocks again in the backward pass.
    pub fn begin(batch: usize, micro_batch: usize, recomputes: bool) -> Self {
        BATCH.store(batch, Ordering::Relaxed);
        MICRO_BATCH.store(micro_batch, Ordering::Relaxed);
        RECOMPUTES.store(recomputes, Ordering::Relaxed);
        RunningTraining
    }
}

impl Drop for RunningTraining {
    fn drop(&mut self) {
        MICRO_BATCH.store(0, Ordering::Relaxed);
    }
}

thread_local! {
    /// Whether this thread does what may not fit in memory.
    static TRIES: Cell<bool> = const { Cell::new(false) };
}

/// Memory ran out.
#[derive(Debug)]
pub struct OutOfMemory {
    /// The allocator's sentence.
    pub allocator: String,
}

/// Does `work`, which may not fit in memory.
///
/// # Errors
/// Memory ran out. What the work had made is freed.
///
/// # Panics
/// Panics if the work panics for another reason.
pub fn attempt<T>(work: impl FnOnce() -> T) -> Result<T, OutOfMemory> {
    TRIES.set(true);
    // what the work has changed is the caller's concern
    let outcome = catch_unwind(AssertUnwindSafe(work));
    TRIES.set(false);
    outcome.map_err(|panic| match allocator_message(text(&*panic)) {
        Some(sentence) => OutOfMemory { allocator: sentence.to_owned() },
        None => resume_unwind(panic),
    })
}

/// Whether a panic only says that what this thread tries does not fit.
pub(super) fn is_failed_try(info: &PanicHookInfo<'_>) -> bool {
    TRIES.get() && allocator_message(text(info.payload())).is_some()
}

/// The message of a panic.
pub(super) fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default()
}

/// The allocator's sentence in the message of a panic, if memory ran out.
pub fn allocator_message(panic: &str) -> Option<&str> {
    let start = BEGINNINGS.iter().find_map(|text| panic.find(text))?;
    // the sentence ends at a line break, plain or escaped, before libtorch's stack trace; or at the closing
    // quote
    let rest = &panic[start..];
    let end =
        ["\n", "\\n", "\")", "\" }"].iter().filter_map(|end| rest.find(end)).min().unwrap_or(rest.len());
    Some(rest[..end].trim_end())
}

/// Advice on how to use less memory.
pub fn hint() -> String {
    let (batch, micro_batch) = (BATCH.load(Ordering::Relaxed), MICRO_BATCH.load(Ordering::Relaxed));
    match smaller_micro_batch(batch, micro_batch) {
        Some(smaller) => format!(
            "hint: {micro_batch} pairs were encoded at a time: try --micro-batch {smaller}, which changes \
             only memory and time; the run continues from its last checkpoint"
        ),
        None => {
            let may_recompute = micro_batch > 0 && !RECOMPUTES.load(Ordering::Relaxed);
            let recompute = if may_recompute { ", and so does train.recompute = true" } else { "" };
            format!(
                "hint: a smaller network, image or batch needs less memory{recompute}; the run continues from \
                 its last checkpoint"
            )
        }
    }
}

/// The largest divisor of `batch` that is at most half of `micro_batch`.
fn smaller_micro_batch(batch: usize, micro_batch: usize) -> Option<usize> {
    (1..=micro_batch / 2).rev().find(|smaller| batch.is_multiple_of(*smaller))
}

#[cfg(test)]
mod tests {
    use super::{allocator_message, attempt, smaller_micro_batch};

    #[test]
    fn a_try_fails_where_memory_runs_out_and_panics_for_anything_else() {
        assert_eq!(attempt(|| 7).unwrap(), 7);
        let refused =
            attempt(|| -> i32 { panic!("Torch(\"CUDA out of memory. Tried to allocate 2 GiB.\")") });
        assert_eq!(refused.unwrap_err().allocator, "CUDA out of memory. Tried to allocate 2 GiB.");
        let other = std::panic::catch_unwind(|| attempt(|| -> i32 { panic!("another reason") }));
        assert_eq!(super::text(&*other.unwrap_err()), "another reason");
    }

    #[test]
    fn the_allocators_sentence_is_found_in_a_panic() {
        let cpu = "called `Result::unwrap()` on an `Err` value: Torch(\"[enforce fail at alloc_cpu.cpp:124] err == 0. \
                   DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes. Error code 12 (Cannot allocate memory)\\n\
                   frame #0: ...\")";
        let sentence = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes. Error code 12 (Cannot allocate memory)";
        assert_eq!(allocator_message(cpu), Some(sentence));
        let gpu = "called `Result::unwrap()` on an `Err` value: Torch(\"CUDA out of memory. Tried to allocate 2.00 GiB.\")";
        assert_eq!(allocator_message(gpu), Some("CUDA out of memory. Tried to allocate 2.00 GiB."));
        let libraries = [
            "CUDA error: out of memory",
            "CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            "CUDNN_STATUS_ALLOC_FAILED",
            "Cuda failure 2 'out of memory'",
            "Failed to CUDA malloc 4194304 bytes",
        ];
        for said in libraries {
            let panic = format!(
                "called `Result::unwrap()` on an `Err` value: Torch(\"{said}\\nCUDA kernel errors\")"
            );
            assert_eq!(allocator_message(&panic), Some(said));
        }
        assert_eq!(allocator_message("index out of bounds: the len is 3 but the index is 7"), None);
    }

    #[test]
    fn the_micro_batch_to_try_divides_the_batch() {
        assert_eq!(smaller_micro_batch(64, 64), Some(32));
        assert_eq!(smaller_micro_batch(64, 22), Some(8));
        assert_eq!(smaller_micro_batch(25, 25), Some(5));
        assert_eq!(smaller_micro_batch(25, 5), Some(1));
        assert_eq!(smaller_micro_batch(64, 1), None);
        assert_eq!(smaller_micro_batch(64, 0), None);
    }
}
