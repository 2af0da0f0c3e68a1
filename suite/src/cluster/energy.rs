//! The energy of the ranks' work, from the counters that this machine shows.
//!
//! Processors (packages and memory, once a node) and GPUs (once a GPU) are added. Where one of them cannot be
//! read, Slurm's counters of the whole nodes, of which both are parts, take their place.

use eqr_models::Collective;
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::cluster::agreement::{gather, on_any_rank};
use crate::cluster::nvml::GpuMeter;
use crate::cluster::powercap::NodeMeter;
use crate::cluster::slurm_energy::StepMeter;

/// Joules in a watt-hour.
const WATT_HOUR: f64 = 3600.0;

/// Energy in watt-hours, by what was counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Energy {
    /// Packages and memory of all nodes of the launch (RAPL), with all that ran on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processors_wh: Option<f64>,
    /// GPUs of all ranks (NVML); they are no part of the processors' energy. `None` for ranks on CPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus_wh: Option<f64>,
    /// Whole nodes of the job, as Slurm counts them; then the other two are `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes_wh: Option<f64>,
    /// Why there is no sum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_available: Option<String>,
}

/// The sum over what was counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TotalEnergy {
    /// In watt-hours.
    pub watt_hours: f64,
    /// What it is of, in words. Energies of different things are not compared.
    pub of: &'static str,
}

/// Counts energy: that of the node on the first rank of a node, that of its GPU on every rank with one.
pub struct EnergyMeter {
    processors: Option<Result<NodeMeter, String>>,
    gpu: Option<Result<GpuMeter, String>>,
    /// On one rank of each step of Slurm, if any of the others cannot be read.
    slurm: Option<Result<StepMeter, String>>,
}

impl EnergyMeter {
    /// Begins to count for ranks of which this one computes on `device`. Every rank must call it.
    pub fn start(ranks: &dyn Collective, device: Device) -> EnergyMeter {
        let is_first = ranks.place_on_node().rank == 0;
        let processors = is_first.then(NodeMeter::start);
        let gpu = match device {
            Device::Cuda(gpu) => Some(GpuMeter::start(gpu)),
            _ => None,
        };
        let is_lacking = matches!(processors, Some(Err(_))) || matches!(gpu, Some(Err(_)));
        let slurm = if on_any_rank(ranks, is_lacking) { StepMeter::start(ranks) } else { None };
        EnergyMeter { processors, gpu, slurm }
    }

    /// The energy since the start, of all ranks. Every rank must call it.
    pub fn energy(&self, ranks: &dyn Collective) -> Energy {
        let own = [
            read(self.processors.as_ref(), |meter| Ok(meter.joules())),
            read(self.gpu.as_ref(), GpuMeter::joules),
            read(self.slurm.as_ref(), StepMeter::joules),
        ];
        Energy::of_ranks(&gather(ranks, &own))
    }
}

/// Joules that a rank has counted, or why it has not; `None` if another rank counts.
type Reading = Option<Result<f64, String>>;

fn read<M>(meter: Option<&Result<M, String>>, joules: impl FnOnce(&M) -> Result<f64, String>) -> Reading {
    meter.map(|meter| meter.as_ref().map_err(Clone::clone).and_then(joules))
}

impl Energy {
    /// An energy that was not counted, and why.
    pub fn not_available(why: &str) -> Energy {
        Energy { not_available: Some(why.to_owned()), ..Energy::default() }
    }

    /// From the readings of the ranks: processors, GPU, nodes by Slurm.
    fn of_ranks(readings: &[[Reading; 3]]) -> Energy {
        let sum = |what: usize| -> Reading {
            let read: Vec<Result<f64, String>> =
                readings.iter().filter_map(|own| own[what].clone()).collect();
            (!read.is_empty()).then(|| {
                Ok(read.into_iter().collect::<Result<Vec<f64>, _>>()?.iter().sum::<f64>() / WATT_HOUR)
            })
        };
        let [processors, gpus, nodes] = [0, 1, 2].map(sum);
        if let Some(Ok(watt_hours)) = nodes {
            return Energy { nodes_wh: Some(watt_hours), ..Energy::default() };
        }
        let causes: Vec<String> = [&processors, &gpus, &nodes]
            .into_iter()
            .flatten()
            .filter_map(|read| read.clone().err())
            .collect();
        Energy {
            processors_wh: processors.and_then(Result::ok),
            gpus_wh: gpus.and_then(Result::ok),
            nodes_wh: None,
            not_available: (!causes.is_empty()).then(|| causes.join("; ")),
        }
    }

    /// The sum over all that belongs to the ranks' work; `None` if a part of it could not be counted.
    pub fn total(&self) -> Option<TotalEnergy> {
        match *self {
            Energy { nodes_wh: Some(watt_hours), .. } => Some(TotalEnergy { watt_hours, of: "nodes" }),
            Energy { not_available: Some(_), .. } => None,
            Energy { processors_wh: Some(processors), gpus_wh: Some(gpus), .. } => {
                Some(TotalEnergy { watt_hours: processors + gpus, of: "processors and GPUs" })
            }
            Energy { processors_wh: Some(watt_hours), .. } => {
                Some(TotalEnergy { watt_hours, of: "processors" })
            }
            Energy { .. } => None,
        }
    }

    /// Watt-hours of a million views, of `views` that were trained on; `None` without a sum.
    pub fn per_million(&self, views: f64) -> Option<f64> {
        Some(self.total()?.watt_hours / views * 1e6)
    }

    /// The energy in words, for `views` trained views.
    pub fn text(&self, views: f64) -> String {
        if let (Some(TotalEnergy { watt_hours, of }), Some(million)) = (self.total(), self.per_million(views))
        {
            return format!("{watt_hours:.2} Wh of the {of}, {million:.1} Wh per million views");
        }
        let parts = [("processors", self.processors_wh), ("GPUs", self.gpus_wh)];
        let parts = parts.into_iter().filter_map(|(of, part)| Some(format!("{:.2} Wh of the {of}; ", part?)));
        let cause = self.not_available.as_deref().unwrap_or("nothing was counted");
        format!("{}energy not available: {cause}", parts.collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joules(joules: f64) -> Reading {
        Some(Ok(joules))
    }

    fn cause(text: &str) -> Reading {
        Some(Err(text.to_owned()))
    }

    #[test]
    fn processors_are_counted_once_a_node_and_gpus_once_a_rank() {
        let cpus = [[joules(3600.0), None, None], [None, None, None], [joules(7200.0), None, None]];
        let energy = Energy::of_ranks(&cpus);
        assert_eq!(energy, Energy { processors_wh: Some(3.0), ..Energy::default() });
        assert_eq!(energy.text(2e6), "3.00 Wh of the processors, 1.5 Wh per million views");
        let gpus = [[joules(3600.0), joules(1800.0), None], [None, joules(5400.0), None]];
        let energy = Energy::of_ranks(&gpus);
        assert_eq!(energy.total(), Some(TotalEnergy { watt_hours: 3.0, of: "processors and GPUs" }));
        assert_eq!(energy.per_million(1.5e6), Some(2.0));
    }

    #[test]
    fn whole_nodes_take_the_place_of_their_parts() {
        let ranks = [[cause("no RAPL"), joules(3600.0), joules(36000.0)], [None, joules(3600.0), None]];
        let energy = Energy::of_ranks(&ranks);
        assert_eq!(energy, Energy { nodes_wh: Some(10.0), ..Energy::default() });
        assert_eq!(energy.total(), Some(TotalEnergy { watt_hours: 10.0, of: "nodes" }));
    }

    #[test]
    fn without_a_part_there_is_no_sum_and_the_cause_is_said() {
        let ranks = [[joules(3600.0), joules(3600.0), cause("no Slurm")], [None, cause("too old"), None]];
        let energy = Energy::of_ranks(&ranks);
        assert_eq!((energy.total(), energy.processors_wh, energy.gpus_wh), (None, Some(1.0), None));
        let text = energy.text(1.0);
        assert_eq!(text, "1.00 Wh of the processors; energy not available: too old; no Slurm");
        let none = Energy::of_ranks(&[[cause("no RAPL"), None, None]]);
        assert_eq!(none, Energy::not_available("no RAPL"));
        assert_eq!(none.text(1.0), "energy not available: no RAPL");
        // as cells of earlier versions have it
        let earlier: Energy = serde_json::from_str(r#"{"processors_wh": 2.5}"#).unwrap();
        assert_eq!(earlier.total(), Some(TotalEnergy { watt_hours: 2.5, of: "processors" }));
    }
}
