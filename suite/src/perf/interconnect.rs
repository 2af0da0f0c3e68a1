//! Named interconnects with their vendors' nominal rates.

use clap::ValueEnum;

use super::scaling::Interconnect;

/// A named interconnect: data-sheet rates per device in one direction, and typical latencies. None was
/// measured here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NamedInterconnect {
    /// 4 A100 per node, NVLink 3, one HDR-200 link per GPU (JUWELS Booster).
    A100Hdr200,
    /// 4 GH200 per node, NVLink 4, one NDR-200 link per GPU (JUPITER).
    Gh200Ndr200,
    /// 8 H100 per node, NVLink 4, one NDR-400 link per GPU.
    H100Ndr400,
    /// One device per node, 100 Gbit/s Ethernet.
    Ethernet100,
    /// The interconnect of the launch's ranks, measured on two or more ranks.
    Measured,
}

impl NamedInterconnect {
    /// Nominal rates; `None` if they are to be measured.
    pub fn nominal(self) -> Option<Interconnect> {
        let (per_node, within, between, latency) = match self {
            NamedInterconnect::A100Hdr200 => (4, 300e9, 25e9, [5e-6, 10e-6]),
            NamedInterconnect::Gh200Ndr200 => (4, 450e9, 25e9, [5e-6, 10e-6]),
            NamedInterconnect::H100Ndr400 => (8, 450e9, 50e9, [5e-6, 10e-6]),
            NamedInterconnect::Ethernet100 => (1, 12.5e9, 12.5e9, [30e-6, 30e-6]),
            NamedInterconnect::Measured => return None,
        };
        Some(Interconnect { per_node, within, between, latency })
    }
}
