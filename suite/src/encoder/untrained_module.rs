//! The floor of a module: the same module with random weights, which its author writes beside it. This
//! program cannot build a module anew.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tch::{Device, Kind, Tensor};

use crate::encoder::file_format::untrained_module;
use crate::encoder::module::Module;
use crate::encoder::module_file::load;
use crate::suite_file::encoder_options::{EncoderOptions, Layout, Readout};

/// A file of random weights, and how the trained module is read.
pub(super) struct UntrainedModule {
    path: PathBuf,
    key: Option<String>,
    layout: Option<Layout>,
    readout: Readout,
}

impl UntrainedModule {
    /// The file beside the module at `path`, if there is one. It is read as the module is.
    pub(super) fn beside(path: &Path, options: &EncoderOptions, readout: Readout) -> Option<UntrainedModule> {
        let path = untrained_module(path)?;
        Some(UntrainedModule { path, key: options.key.clone(), layout: options.layout, readout })
    }

    /// The module, for images of `side` pixels.
    ///
    /// # Errors
    /// A file that is no module; one that fails or returns something unsupported.
    pub(super) fn open(&self, side: usize, device: Device) -> Result<Module> {
        let open = || {
            let images = Tensor::zeros([4, 3, side as i64, side as i64], (Kind::Float, device));
            let mut module = Module::new(load(&self.path, device)?, self.key.clone());
            tch::no_grad(|| module.learn(&images, self.layout))?;
            module.read_by(self.readout);
            Ok::<_, anyhow::Error>(module)
        };
        open().with_context(|| self.path.display().to_string())
    }
}
