//! The energy of the processors, from the counters of Linux's powercap interface (RAPL): packages and memory.
//! GPUs are not counted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eqr_models::Collective;
use serde::{Deserialize, Serialize};

use crate::cluster::agreement::gather;

/// Where Linux shows the counters.
const POWERCAP: &str = "/sys/class/powercap";

/// Another folder with the same layout.
const VARIABLE: &str = "EQR_POWERCAP";

/// Time between two readings. A counter begins again after some 260 kJ, which a processor takes in ten minutes
/// at the least.
const INTERVAL: Duration = Duration::from_secs(10);

/// Joules in a watt-hour.
const WATT_HOUR: f64 = 3600.0;

/// The energy that the processors of all nodes of a launch have taken, with all that ran on them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Energy {
    /// In watt-hours.
    Measured {
        /// Of all nodes.
        processors_wh: f64,
    },
    /// Not measured.
    NotAvailable {
        /// Why not.
        not_available: String,
    },
}

/// Counts the energy of this rank's node, if it is the node's first rank.
pub struct EnergyMeter {
    /// `None` on the other ranks.
    own: Option<Result<NodeMeter, String>>,
}

/// The counters of a node and the thread that reads them.
struct NodeMeter {
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

impl EnergyMeter {
    /// Begins to count. Every rank must call it.
    pub fn start(ranks: &dyn Collective) -> EnergyMeter {
        let folder = std::env::var_os(VARIABLE).map_or_else(|| PathBuf::from(POWERCAP), PathBuf::from);
        let is_first = ranks.place_on_node().rank == 0;
        EnergyMeter { own: is_first.then(|| NodeMeter::start(&folder)) }
    }

    /// The energy since the start, of all nodes. Every rank must call it.
    pub fn energy(&self, ranks: &dyn Collective) -> Energy {
        let own = self.own.as_ref().map(|meter| meter.as_ref().map(NodeMeter::joules).map_err(Clone::clone));
        let nodes: Vec<Option<Result<f64, String>>> = gather(ranks, &own);
        let all: Result<Vec<f64>, String> = nodes.into_iter().flatten().collect();
        match all {
            Ok(joules) => Energy::Measured { processors_wh: joules.iter().sum::<f64>() / WATT_HOUR },
            Err(not_available) => Energy::NotAvailable { not_available },
        }
    }
}

impl Energy {
    /// Whether it is known.
    pub fn is_measured(&self) -> bool {
        matches!(self, Energy::Measured { .. })
    }

    /// The energy in words, for `views` trained views.
    pub fn text(&self, views: f64) -> String {
        match self {
            Energy::Measured { processors_wh } => {
                format!("{processors_wh:.2} Wh, {:.1} Wh per million views", processors_wh / views * 1e6)
            }
            Energy::NotAvailable { not_available } => format!("energy not available: {not_available}"),
        }
    }
}

impl NodeMeter {
    fn start(folder: &Path) -> Result<NodeMeter, String> {
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

    fn joules(&self) -> f64 {
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
        name.starts_with("package") || name.trim() == "dram"
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
        let meter = NodeMeter::start(tree.path()).unwrap();
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
        let missing = NodeMeter::start(folder.path()).err().unwrap();
        assert!(missing.contains("shows no counters of packages"), "{missing}");
        let tree = tree();
        fs::remove_file(tree.path().join("intel-rapl:0/energy_uj")).unwrap();
        let unreadable = NodeMeter::start(tree.path()).err().unwrap();
        assert!(unreadable.contains("intel-rapl:0/energy_uj: "), "{unreadable}");
        let energy = Energy::NotAvailable { not_available: missing };
        assert!(energy.text(1.0).starts_with("energy not available: "));
        assert_eq!(Energy::Measured { processors_wh: 3.0 }.text(2e6), "3.00 Wh, 1.5 Wh per million views");
    }
}
