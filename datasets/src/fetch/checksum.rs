//! The checksum of a downloaded file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Number of bytes that are read at a time.
const BUFFER: usize = 1 << 20;

/// The SHA-256 of a file in hexadecimal digits. `at` is called with the number of bytes that were read.
pub(super) fn sha256(path: &Path, at: &dyn Fn(u64)) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    let mut done = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hasher.update(&buffer[..count]);
        done += count as u64;
        at(done);
    }
}
