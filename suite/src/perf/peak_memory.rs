//! Peak memory of this process.

use std::fs;

/// Peak memory of this process so far, in bytes (`VmHWM`); `None` if the system does not report it.
pub fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::peak_memory;

    #[test]
    fn a_buffer_that_was_written_stays_in_the_peak() {
        const LARGE: usize = 256 << 20;
        drop(std::hint::black_box(vec![1u8; LARGE]));
        assert!(peak_memory().unwrap() > LARGE as u64);
    }
}
