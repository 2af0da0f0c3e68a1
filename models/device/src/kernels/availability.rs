//! Whether kernels are used.

use std::sync::OnceLock;

use super::driver::Gpu;
use super::nvrtc::Nvrtc;

/// The variable that turns kernels off with 0.
pub const VARIABLE: &str = "EQR_KERNELS";

/// What is done with the note on a kernel that is not used.
static SAY: OnceLock<fn(&str)> = OnceLock::new();

/// Why no kernel is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absence {
    /// `EQR_KERNELS=0`.
    TurnedOff,
    /// What is missing, or does not work.
    Missing(String),
}

/// Uses kernels in this process from now on. Those that turn out to be unusable are not used; each is told to
/// `say` once. Before this, and where it fails, libtorch's operations are used.
///
/// # Errors
/// Why `gpu` has no kernels.
pub fn begin(gpu: usize, say: fn(&str)) -> Result<(), Absence> {
    description(gpu)?;
    let _ = SAY.set(say);
    Ok(())
}

/// What compiles the kernels of `gpu`, such as `NVRTC 13.0 for sm_90`.
///
/// # Errors
/// Why it has no kernels.
pub fn description(gpu: usize) -> Result<String, Absence> {
    if std::env::var_os(VARIABLE).is_some_and(|value| value == "0") {
        return Err(Absence::TurnedOff);
    }
    let compiler = Nvrtc::load().map_err(Absence::Missing)?;
    let gpu = Gpu::new(gpu).map_err(Absence::Missing)?;
    Ok(format!("NVRTC {} for {}", compiler.version(), gpu.architecture()))
}

/// Where to tell that a kernel is not used; `None` if no kernels are wanted.
pub(super) fn begun() -> Option<fn(&str)> {
    SAY.get().copied()
}
