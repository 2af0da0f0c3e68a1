//! In place of ONNX models, in a build without the feature `onnx`.

use std::path::Path;

use anyhow::{Result, bail};

use crate::encoder::module_engine::ModuleEngine;

/// Refuses the model.
///
/// # Errors
/// Always.
pub fn load(_path: &Path) -> Result<Box<dyn ModuleEngine>> {
    bail!(
        "it is an ONNX model, and this build has no ONNX\nhint: build eqr-bench with `--features onnx`, or write \
         the encoder as TorchScript with scripts/export_encoder.py"
    )
}
