//! The energy of a node's processors, from the counters of Linux's powercap interface (RAPL): packages and
//! memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Where Linux shows the counters.
const POWERCAP: &str = "/sys/class/powercap";

/// Another folder with the same layout.
const VARIABLE: &str = "EQR_POWERCAP";

/// Time between two readings. A counter begins again after some 260 kJ, which a processor takes in ten
/// minutes at the least.
const INTERVAL: Duration = Duration::from_secs(10);

/// The counters of a node and the thread that reads them.
pub struct NodeMeter {
    counters: Arc<Mutex<Vec<Counter>>>,
    /// Dropped to end the thread.
    _end: Sender<()>,
}

/// A counter of microjoules, which begins again at 0 after `range`.
#[derive(Debug)]
struct Counter {
    file: PathBuf,
    range: u64,
    last: u64,
    total: u64,
}

impl NodeMeter {
    /// Begins to count.
    ///
    /// # Errors
    /// Why the counters cannot be read.
    pub fn start() -> Result<NodeMeter, String> {
        Self::read(&std::env::var_os(VARIABLE).map_or_else(|| PathBuf::from(POWERCAP), PathBuf::from))
    }

    fn read(folder: &Path) -> Result<NodeMeter, String> {
        let counters = Arc::new(Mutex::new(counters(folder)?));
        let (end, ended) = mpsc::channel::<()>();
        let read = Arc::clone(&counters);
        let thread = std::thread::Builder::new().name("energy".to_owned());
        let reading = move || {
            while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                read_all(&read);
            }
        };
        thread.spawn(reading).map_err(|error| error.to_string())?;
        Ok(NodeMeter { counters, _end: end })
    }

    /// The energy since the start, in joules.
    pub fn joules(&self) -> f64 {
        read_all(&self.counters) as f64 / 1e6
    }
}

/// Reads all counters and returns the sum of what they have counted, in microjoules.
fn read_all(counters: &Mutex<Vec<Counter>>) -> u64 {
    let mut counters = counters.lock().unwrap_or_else(PoisonError::into_inner);
    counters.iter_mut().for_each(Counter::advance);
    counters.iter().map(|counter| counter.total).sum()
}

/// The counters of packages, and of memory, which is not part of them.
fn counters(folder: &Path) -> Result<Vec<Counter>, String> {
    let none = || format!("{} shows no counters of packages", folder.display());
    let zones = fs::read_dir(folder).map_err(|_| none())?;
    let mut zones: Vec<PathBuf> = zones.flatten().map(|zone| zone.path()).collect();
    zones.sort();
    let is_counted = |zone: &PathBuf| {
        let name = fs::read_to_string(zone.join("name")).unwrap_or_default();
        // the same packages again, by another way to their counters
        let again =
            zone.file_name().is_some_and(|zone| zone.to_string_lossy().starts_with("intel-rapl-mmio"));
        !again && (name.starts_with("package") || name.trim() == "dram")
    };
    zones.retain(is_counted);
    if zones.is_empty() {
        return Err(none());
    }
    zones.iter().map(|zone| Counter::at(zone)).collect()
}

impl Counter {
    fn at(zone: &Path) -> Result<Counter, String> {
        let (file, range) = (zone.join("energy_uj"), zone.join("max_energy_range_uj"));
        let last = number(&file)?;
        Ok(Counter { last, range: number(&range)?, file, total: 0 })
    }

    /// Adds what was counted since the last reading. A reading that fails adds nothing; the next one does.
    fn advance(&mut self) {
        let Ok(now) = number(&self.file) else { return };
        self.total += if now >= self.last { now - self.last } else { now + self.range - self.last };
        self.last = now;
    }
}

fn number(file: &Path) -> Result<u64, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    text.trim().parse().map_err(|_| format!("{}: {:?} is no number", file.display(), text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A powercap tree of one package with its memory and a part of it, which is not counted again.
    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (zone, name) in
            [("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "core"), ("intel-rapl:0:1", "dram")]
        {
            let zone = folder.path().join(zone);
            fs::create_dir(&zone).unwrap();
            fs::write(zone.join("name"), format!("{name}\n")).unwrap();
            fs::write(zone.join("max_energy_range_uj"), "1000000000\n").unwrap();
            fs::write(zone.join("energy_uj"), "999000000\n").unwrap();
        }
        folder
    }

    fn set(tree: &Path, zone: &str, microjoules: u64) {
        fs::write(tree.join(zone).join("energy_uj"), format!("{microjoules}\n")).unwrap();
    }

    #[test]
    fn packages_and_memory_are_counted_and_counters_begin_again() {
        let tree = tree();
        let meter = NodeMeter::read(tree.path()).unwrap();
        assert_eq!(meter.joules(), 0.0);
        set(tree.path(), "intel-rapl:0", 999_500_000);
        set(tree.path(), "intel-rapl:0:0", 999_400_000);
        set(tree.path(), "intel-rapl:0:1", 999_250_000);
        assert_eq!(meter.joules(), 0.75);
        // 0.5 J to the end of the range, and 2 J after it
        set(tree.path(), "intel-rapl:0", 2_000_000);
        assert_eq!(meter.joules(), 3.25);
    }

    #[test]
    fn a_node_without_counters_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let missing = NodeMeter::read(folder.path()).err().unwrap();
        assert!(missing.contains("shows no counters of packages"), "{missing}");
        let tree = tree();
        fs::remove_file(tree.path().join("intel-rapl:0/energy_uj")).unwrap();
        let unreadable = NodeMeter::read(tree.path()).err().unwrap();
        assert!(unreadable.contains("intel-rapl:0/energy_uj: "), "{unreadable}");
    }
}
