//! What the C allocator does with freed memory.

/// Keeps freed memory for the next step: by default glibc gives large blocks back to the kernel at once and every step pays for its
/// pages anew (11% of a training step of the quickstart).
pub(crate) fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in
        [(libc::M_MMAP_THRESHOLD, 1 << 30), (libc::M_TRIM_THRESHOLD, i32::MAX), (libc::M_TOP_PAD, 64 << 20)]
    {
        // SAFETY: sets an integer of the allocator; called before this program starts threads.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Gives what was kept of freed memory back to the kernel: what follows the trainings asks for it in other ways than they did.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the allocator's own function; it touches free memory alone.
    unsafe {
        libc::malloc_trim(0);
    }
}
