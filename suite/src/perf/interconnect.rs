//! Interconnects by name, with the nominal rates of their makers.

use clap::ValueEnum;

use super::scaling::Interconnect;

/// An interconnect by its name: rates of the makers' data sheets in one direction for each device, and usual
/// latencies. None was measured here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NamedInterconnect {
    /// 4 A100 a node, NVLink 3, an HDR-200 link a GPU (JUWELS Booster).
    A100Hdr200,
    /// 4 GH200 a node, NVLink 4, an NDR-200 link a GPU (JUPITER).
    Gh200Ndr200,
    /// 8 H100 a node, NVLink 4, an NDR-400 link a GPU.
    H100Ndr400,
    /// One device a node, 100 Gbit/s Ethernet.
    Ethernet100,
    /// That of the launch's ranks, measured on two or more.
    Measured,
}

impl NamedInterconnect {
    /// Nominal rates; none where they are to be measured.
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
