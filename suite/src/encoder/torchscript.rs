//! A TorchScript module as an encoder: it takes a batch of images and returns features or token maps.

use std::path::Path;

use anyhow::{Result, anyhow, bail, ensure};
use tch::{CModule, Device, IValue, Kind, Tensor};

use crate::suite_file::encoder_options::Pooling;

/// A loaded module, in eval mode.
pub struct TorchScriptModule {
    module: CModule,
    pooling: Pooling,
}

/// What a module returns for a batch, float32.
pub struct ModuleOutput {
    /// (B, D): the features that it returns, or those read from its tokens or its last map.
    pub y: Tensor,
    /// Each (B, D_i, h_i, w_i), in the module's order; empty if it returns only features.
    pub maps: Vec<Tensor>,
}

impl TorchScriptModule {
    /// Loads the module at `path`. `pooling` says how features are read from tokens.
    ///
    /// # Errors
    /// A file that is not TorchScript.
    pub fn load(path: &Path, pooling: Pooling, device: Device) -> Result<TorchScriptModule> {
        let hint = "hint: torch.jit.script(model.eval()).save(..) or torch.jit.trace(model.eval(), \
                    images).save(..) writes TorchScript; a state dict or a pickled model is not TorchScript";
        let mut module = CModule::load_on_device(path, device).map_err(|error| {
            anyhow!("not a TorchScript module: {}\n{hint}", without_frames(&error.to_string()))
        })?;
        module.f_set_eval()?;
        Ok(TorchScriptModule { module, pooling })
    }

    /// Runs images (B, 3, S, S) through the module.
    ///
    /// # Errors
    /// A module that fails, or that returns anything other than features, tokens or token maps.
    pub fn run(&self, images: &Tensor) -> Result<ModuleOutput> {
        let size = images.size();
        let returned =
            self.module.forward_is(&[IValue::Tensor(images.shallow_clone())]).map_err(|error| {
                let hint =
                    "hint: --size sets the side of the images; a traced module may accept only one side";
                anyhow!("the module fails on images {size:?}: {}\n{hint}", without_frames(&error.to_string()))
            })?;
        let expected =
            "expected features (N, D), a token map (N, D, h, w), tokens (N, T, D), or a tuple of maps";
        let tensors = match returned {
            IValue::Tensor(tensor) => return self.read_tensor(&tensor, size[0], expected),
            IValue::TensorList(tensors) => tensors,
            IValue::Tuple(values) | IValue::GenericList(values) => {
                let tensor = |value| match value {
                    IValue::Tensor(tensor) => Ok(tensor),
                    other => Err(anyhow!("the module returns {} in a tuple, {expected}", type_name(&other))),
                };
                values.into_iter().map(tensor).collect::<Result<Vec<_>>>()?
            }
            other => bail!("the module returns {}, {expected}", type_name(&other)),
        };
        ensure!(!tensors.is_empty(), "the module returns an empty tuple, {expected}");
        for tensor in &tensors {
            let shape = tensor.size();
            let is_map = matches!(shape[..], [batch, ..] if batch == size[0] && shape.len() == 4)
                && tensor.numel() > 0;
            ensure!(is_map, "the module returns a tuple with {shape:?} for images {size:?}, {expected}");
        }
        let maps = tensors.iter().map(as_float).collect::<Result<Vec<_>>>()?;
        Ok(ModuleOutput { y: spatial_mean(maps.last().expect("not empty")), maps })
    }

    fn read_tensor(&self, tensor: &Tensor, batch: i64, expected: &str) -> Result<ModuleOutput> {
        let tensor = as_float(tensor)?;
        let shape = tensor.size();
        let fits = tensor.numel() > 0 && shape.first() == Some(&batch);
        match shape.len() {
            2 if fits => Ok(ModuleOutput { y: tensor, maps: Vec::new() }),
            3 if fits => Ok(self.read_tokens(&tensor)),
            4 if fits => Ok(ModuleOutput { y: spatial_mean(&tensor), maps: vec![tensor] }),
            _ => bail!("the module returns {shape:?} for {batch} images, {expected}"),
        }
    }

    /// Reads tokens (B, T, D). A square number of tokens is a map, and one more than a square is a class
    /// token and a map. Any other number gives no map.
    fn read_tokens(&self, tokens: &Tensor) -> ModuleOutput {
        let (batch, count, width) = tokens.size3().expect("tokens are (B, T, D)");
        let root =
            |count: i64| Some((count as f64).sqrt().round() as i64).filter(|root| root * root == count);
        let (side, first) = match (root(count), root(count - 1)) {
            (Some(side), _) => (Some(side), 0),
            (None, side) => (side, 1),
        };
        let patches = tokens.narrow(1, first, count - first);
        let y = match self.pooling {
            Pooling::Cls if first == 1 => tokens.select(1, 0),
            Pooling::Cls | Pooling::Mean => patches.mean_dim([1i64].as_slice(), false, None),
        };
        let map = side.map(|side| patches.transpose(1, 2).reshape([batch, width, side, side]));
        ModuleOutput { y, maps: map.into_iter().collect() }
    }
}

/// (B, D, h, w) -> (B, D)
fn spatial_mean(map: &Tensor) -> Tensor {
    map.mean_dim([2i64, 3].as_slice(), false, None)
}

fn as_float(tensor: &Tensor) -> Result<Tensor> {
    let kind = tensor.kind();
    ensure!(tensor.is_floating_point(), "the module returns a tensor of {kind:?}, expected floats");
    Ok(tensor.to_kind(Kind::Float))
}

fn type_name(value: &IValue) -> &'static str {
    match value {
        IValue::None => "nothing",
        IValue::GenericDict(_) => "a dictionary",
        IValue::String(_) | IValue::StringList(_) => "text",
        IValue::Object(_) => "an object",
        IValue::Tuple(_) | IValue::GenericList(_) => "a tuple within a tuple",
        IValue::Tensor(_) | IValue::TensorList(_) => "tensors",
        _ => "numbers",
    }
}

/// The message of a libtorch error, without its stack of C++ frames.
fn without_frames(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<&str> = lines.take_while(|line| !line.starts_with("Exception raised from")).collect();
    // TorchScript's tracebacks end with the error itself
    match lines.iter().rposition(|line| line.contains("Error: ")) {
        Some(error) if lines.len() > 3 => lines[error..].join(" "),
        _ => lines.into_iter().take(3).collect::<Vec<_>>().join(" "),
    }
}
