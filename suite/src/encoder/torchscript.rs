//! TorchScript modules, which libtorch runs.

use std::path::Path;

use anyhow::{Result, anyhow};
use tch::{CModule, Device, IValue, Kind, TchError, Tensor};

use crate::encoder::module_engine::{Answer, ModuleEngine, ModuleInput};

/// A loaded module, in eval mode.
pub struct TorchScriptModule(CModule);

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
        Ok(TorchScriptModule(module))
    }

    fn forward(&self, images: &Tensor) -> std::result::Result<IValue, TchError> {
        self.0.forward_is(&[IValue::Tensor(images.shallow_clone())])
    }

    fn cause(&self, error: &TchError) -> Cause {
        let parameters = self.0.named_parameters().unwrap_or_default();
        let half = parameters.iter().any(|(_, tensor)| matches!(tensor.kind(), Kind::Half | Kind::BFloat16));
        Cause::of(&error.to_string(), half)
    }

    /// The true reason of a failure, as far as it is known, and what to do.
    fn failure(&self, size: &[i64], error: &TchError) -> anyhow::Error {
        let short = without_frames(&error.to_string());
        match self.cause(error) {
            Cause::HalfPrecision => anyhow!(
                "the module computes partly in half precision, and takes images neither in float32 nor in \
                 bfloat16 or float16: {short}\nhint: save it in float32: model.float().eval(), then trace or script it again"
            ),
            Cause::Cuda => anyhow!(
                "the module's code moves tensors to a CUDA device, which this process does not use (it has \
                 .cuda() or .to(\"cuda\") inside, or was traced on a GPU)\nhint: trace it again on the CPU: \
                 torch.jit.trace(model.cpu().eval(), images.cpu())"
            ),
            Cause::Other => anyhow!(
                "the module fails on images {size:?}: {short}\nhint: --size sets the side of the images; a \
                 traced module may accept only one side (batches of another size were tried)"
            ),
        }
    }
}

impl ModuleEngine for TorchScriptModule {
    fn name(&self) -> &'static str {
        "TorchScript module"
    }

    fn declared(&self) -> ModuleInput {
        ModuleInput { kind: Kind::Float, batch: None }
    }

    fn kinds(&self, images: &Tensor) -> Vec<Kind> {
        let half = self.forward(images).err().is_some_and(|error| self.cause(&error) == Cause::HalfPrecision);
        if half { vec![Kind::BFloat16, Kind::Half] } else { vec![Kind::Float] }
    }

    fn run(&self, images: &Tensor) -> Result<Answer> {
        self.forward(images).map(Answer::from).map_err(|error| self.failure(&images.size(), &error))
    }
}

impl From<IValue> for Answer {
    fn from(value: IValue) -> Answer {
        match value {
            IValue::Tensor(tensor) => Answer::Tensor(tensor),
            IValue::TensorList(tensors) => Answer::Tuple(tensors.into_iter().map(Answer::Tensor).collect()),
            IValue::Tuple(values) | IValue::GenericList(values) => {
                Answer::Tuple(values.into_iter().map(Answer::from).collect())
            }
            IValue::GenericDict(entries) => {
                let name = |key| match key {
                    IValue::String(text) => text,
                    other => Answer::from(other).name().to_owned(),
                };
                let named = |(key, value)| (name(key), Answer::from(value));
                Answer::Named(entries.into_iter().map(named).collect())
            }
            IValue::None => Answer::Other("nothing"),
            IValue::String(_) | IValue::StringList(_) => Answer::Other("text"),
            IValue::Object(_) => Answer::Other("an object"),
            _ => Answer::Other("numbers"),
        }
    }
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
