//! The file of a module, and the engine that runs it.

use std::path::Path;

use anyhow::{Result, bail};
use tch::Device;

use crate::encoder::file_format::FileFormat;
use crate::encoder::module_engine::ModuleEngine;
use crate::encoder::onnx;
use crate::encoder::torchscript::TorchScriptModule;

/// Loads the engine of the module at `path`.
///
/// # Errors
/// A file that is no module, or that its engine refuses.
pub(super) fn load(path: &Path, device: Device) -> Result<Box<dyn ModuleEngine>> {
    match FileFormat::detect(path)? {
        FileFormat::TorchScript => Ok(Box::new(TorchScriptModule::load(path, device)?)),
        FileFormat::Onnx => onnx::load(path),
        _ => bail!("weights without a module"),
    }
}
