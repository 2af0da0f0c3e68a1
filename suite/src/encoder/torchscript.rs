//! A TorchScript module as an encoder: it takes a batch of images and returns features or token maps.

use std::path::Path;

use anyhow::{Result, anyhow, bail, ensure};
use tch::{CModule, Device, IValue, Kind, Tensor};

use crate::encoder::module_layout::layout;
use crate::run_folder::encoder_description::Known;
use crate::suite_file::encoder_options::{Layout, Pooling};

/// A loaded module, in eval mode.
pub struct TorchScriptModule {
    module: CModule,
    pooling: Pooling,
    /// Order of the axes of its maps or tokens; `None` for features.
    layout: Option<Layout>,
}

/// What a module returns for a batch, float32.
pub struct ModuleOutput {
    /// (B, D): the features that it returns, or those read from its tokens or its last map.
    pub y: Tensor,
    /// Each (B, D_i, h_i, w_i), in the module's order; empty if it returns only features.
    pub maps: Vec<Tensor>,
    /// Whether there are tokens with a class token before those of the map.
    pub class_token: bool,
}

impl TorchScriptModule {
    /// Loads the module at `path`.
    ///
    /// # Errors
    /// A file that is not TorchScript.
    pub fn load(path: &Path, device: Device) -> Result<TorchScriptModule> {
        let hint = "hint: torch.jit.script(model.eval()).save(..) or torch.jit.trace(model.eval(), \
                    images).save(..) writes TorchScript; a state dict or a pickled model is not TorchScript";
        let mut module = CModule::load_on_device(path, device).map_err(|error| {
            anyhow!("not a TorchScript module: {}\n{hint}", without_frames(&error.to_string()))
        })?;
        module.f_set_eval()?;
        Ok(TorchScriptModule { module, pooling: Pooling::default(), layout: None })
    }

    /// The same module; `pooling` says how features are read from tokens.
    pub fn read_by(self, pooling: Pooling) -> TorchScriptModule {
        TorchScriptModule { pooling, ..self }
    }

    /// Finds the order of the axes of what the module returns, by its answer to `images`, square images.
    ///
    /// # Errors
    /// A module that fails or returns something else than tensors; a shape that does not show its layout.
    pub fn find_layout(&mut self, images: &Tensor, given: Option<Layout>) -> Result<Option<Known<Layout>>> {
        let shapes: Vec<Vec<i64>> = self.answer(images)?.iter().map(Tensor::size).collect();
        let larger = || {
            let side = 2 * images.size()[2];
            let images = images.new_zeros([1, 3, side, side], (images.kind(), images.device()));
            Some(self.answer(&images).ok()?.iter().map(Tensor::size).collect())
        };
        let layout = layout(&shapes, given, larger)?;
        self.layout = layout.as_ref().map(|layout| layout.value);
        Ok(layout)
    }

    /// What features are read from.
    pub fn readout(&self, output: &ModuleOutput) -> &'static str {
        let tokens = matches!(self.layout, Some(Layout::Ntc | Layout::Nct));
        match (output.maps.len(), self.pooling) {
            (_, Pooling::Cls) if tokens && output.class_token => Pooling::Cls.readout(),
            _ if tokens => Pooling::Mean.readout(),
            (0, _) => "the features that the module returns",
            (1, _) => "the mean of the map that the module returns",
            _ => "the mean of the last map that the module returns",
        }
    }

    /// Runs images (B, 3, S, S) through the module.
    ///
    /// # Errors
    /// A module that fails, or that returns anything other than features, tokens or token maps.
    pub fn run(&self, images: &Tensor) -> Result<ModuleOutput> {
        let answer = self.answer(images)?;
        Ok(match self.layout {
            None => {
                let y = answer.into_iter().next().expect("not empty");
                ModuleOutput { y, maps: Vec::new(), class_token: false }
            }
            Some(Layout::Nct) => self.read_tokens(&answer[0].transpose(1, 2)),
            Some(Layout::Ntc) => self.read_tokens(&answer[0]),
            Some(Layout::Nhwc) => {
                of_maps(answer.iter().map(|map| map.permute([0, 3, 1, 2]).contiguous()).collect())
            }
            Some(Layout::Nchw) => of_maps(answer),
        })
    }

    /// The tensors that the module returns, float32: features, tokens, or any number of maps.
    fn answer(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        let size = images.size();
        let returned = self
            .module
            .forward_is(&[IValue::Tensor(images.shallow_clone())])
            .map_err(|error| self.failure(&size, &error.to_string()))?;
        let expected =
            "expected features (N, D), a token map (N, D, h, w), tokens (N, T, D), or a tuple of maps";
        let tensors = match returned {
            IValue::Tensor(tensor) => {
                let shape = tensor.size();
                let fits =
                    tensor.numel() > 0 && shape.first() == Some(&size[0]) && (2..=4).contains(&shape.len());
                ensure!(fits, "the module returns {shape:?} for {} images, {expected}", size[0]);
                return Ok(vec![as_float(&tensor)?]);
            }
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
        tensors.iter().map(as_float).collect()
    }

    /// The true reason of a failure, as far as it is known, and what to do.
    fn failure(&self, size: &[i64], error: &str) -> anyhow::Error {
        let short = without_frames(error);
        let parameters = self.module.named_parameters().unwrap_or_default();
        let half = parameters.iter().any(|(_, tensor)| matches!(tensor.kind(), Kind::Half | Kind::BFloat16));
        match Cause::of(error, half) {
            Cause::HalfPrecision => anyhow!(
                "the module computes in half precision, and images are float32: {short}\nhint: save it in float32: \
                 model.float().eval(), then trace or script it again"
            ),
            Cause::Cuda => anyhow!(
                "the module's code moves tensors to a CUDA device, which this process does not use (it has .cuda() or \
                 .to(\"cuda\") inside, or was traced on a GPU)\nhint: trace it again on the CPU: \
                 torch.jit.trace(model.cpu().eval(), images.cpu())"
            ),
            Cause::Other => anyhow!(
                "the module fails on images {size:?}: {short}\nhint: --size sets the side of the images; a traced \
                 module may accept only one side"
            ),
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
        ModuleOutput { y, maps: map.into_iter().collect(), class_token: first == 1 }
    }
}

fn of_maps(maps: Vec<Tensor>) -> ModuleOutput {
    ModuleOutput { y: spatial_mean(maps.last().expect("not empty")), maps, class_token: false }
}

/// Why a module fails.
#[derive(Debug, PartialEq, Eq)]
enum Cause {
    /// Its weights or constants are of half precision.
    HalfPrecision,
    /// Its code names a CUDA device.
    Cuda,
    Other,
}

impl Cause {
    /// The cause that libtorch's message shows. `half` tells that some of the module's parameters are of half
    /// precision.
    fn of(error: &str, half: bool) -> Cause {
        let says = |words: &[&str]| words.iter().any(|word| error.contains(word));
        let differ = says(&[
            "should be the same",
            "same dtype",
            "expected scalar type",
            "expected m1 and m2",
            "not implemented for",
        ]);
        if differ && (half || says(&["Half", "BFloat16"])) {
            return Cause::HalfPrecision;
        }
        let missing = [
            "Cannot initialize CUDA",
            "linked with support for cuda",
            "not compiled with CUDA",
            "No CUDA GPUs",
            "NVIDIA driver",
            "Expected all tensors to be on the same device",
            "from the 'CUDA' backend",
        ];
        if says(&missing) { Cause::Cuda } else { Cause::Other }
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

#[cfg(test)]
mod tests {
    use super::Cause;

    /// libtorch's own messages.
    #[test]
    fn failures_have_their_true_cause() {
        let half = "Input type (float) and bias type (c10::Half) should be the same";
        let mixed = "mat1 and mat2 must have the same dtype, but got Float and BFloat16";
        assert_eq!(
            [half, mixed].map(|error| Cause::of(error, false)),
            [Cause::HalfPrecision, Cause::HalfPrecision]
        );
        assert_eq!(Cause::of("expected scalar type Float", true), Cause::HalfPrecision);
        let cuda = "Cannot initialize CUDA without ATen_cuda library. PyTorch splits its backend into two";
        assert_eq!(Cause::of(cuda, false), Cause::Cuda);
        assert_eq!(Cause::of("PyTorch is not linked with support for cuda devices", false), Cause::Cuda);
        assert_eq!(Cause::of("shape '[-1, 768]' is invalid for input of size 1200", true), Cause::Other);
    }
}
