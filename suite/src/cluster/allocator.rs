//! How the C allocator treats freed memory.

/// Keeps freed memory for the next step. By default glibc returns large blocks to the kernel at once, and
/// every step has to fault its pages in again (11% of a training step of the quickstart).
pub(crate) fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in
        [(libc::M_MMAP_THRESHOLD, 1 << 30), (libc::M_TRIM_THRESHOLD, i32::MAX), (libc::M_TOP_PAD, 64 << 20)]
    {
        // SAFETY: sets an integer of the allocator; called before this program starts threads.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Returns freed memory to the kernel: the measurements after the trainings allocate blocks of other sizes.
pub fn release_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the allocator's own function; it only touches free memory.
    unsafe {
        libc::malloc_trim(0);
    }
}
