//! ONNX models, which ONNX Runtime runs on the CPU.

use std::cell::RefCell;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use half::f16;
use ort::logging::LogLevel;
use ort::session::{Session, SessionOutputs};
use ort::value::{DynValue, Outlet, Tensor as OrtTensor, TensorElementType};
use tch::{Device, Kind, Tensor};

use crate::encoder::module_engine::{Answer, ModuleEngine, ModuleInput};
use crate::encoder::onnx_runtime;

/// A loaded model.
struct OnnxModel {
    session: RefCell<Session>,
    takes: ModuleInput,
    side: Option<usize>,
}

/// Loads the model at `path`, for as many threads as libtorch has.
///
/// # Errors
/// No ONNX Runtime; a file that is no model, or that this ONNX Runtime cannot run; a model that takes
/// anything other than one batch of images (N, 3, S, S) of float32 or float16.
pub fn load(path: &Path) -> Result<Box<dyn ModuleEngine>> {
    let version = onnx_runtime::load()?;
    let threads = usize::try_from(tch::get_num_threads())?;
    let session = session(path, threads).map_err(|error| {
        let reason = reason(&error);
        anyhow!("ONNX Runtime {version} cannot load it: {reason}\n{}", hint(&reason))
    })?;
    let [input] = session.inputs() else {
        let names: Vec<String> = session.inputs().iter().map(described).collect();
        bail!(
            "the model takes {} inputs ({}), expected one, images (N, 3, S, S)",
            names.len(),
            names.join(", ")
        );
    };
    let (takes, side) = images(input)?;
    Ok(Box::new(OnnxModel { session: RefCell::new(session), takes, side }))
}

fn session(path: &Path, threads: usize) -> ort::Result<Session> {
    // errors are returned, and their messages would be printed twice
    let builder = Session::builder()?.with_log_level(LogLevel::Fatal)?.with_intra_threads(threads)?;
    // threads that spin while they wait take the cores of others
    builder.with_intra_op_spinning(false)?.commit_from_file(path)
}

/// What the only input of a model says of the images: their type and number, and their side.
fn images(input: &Outlet) -> Result<(ModuleInput, Option<usize>)> {
    let kind = match input.dtype().tensor_type() {
        Some(TensorElementType::Float32) => Kind::Float,
        Some(TensorElementType::Float16) => Kind::Half,
        _ => bail!(
            "the model takes {}, and eqr-bench gives it normalised images in float32 or float16\nhint: export \
             it without the conversion of its images",
            described(input)
        ),
    };
    let shape: Vec<i64> = input.dtype().tensor_shape().map(|shape| shape.to_vec()).unwrap_or_default();
    // sizes that are not fixed are negative
    let fixed = |size: i64| (size > 0).then_some(size);
    let [batch, channels, height, width] = shape[..] else {
        bail!("the model takes {}, expected images (N, 3, S, S)", described(input));
    };
    ensure!(
        fixed(channels).is_none_or(|channels| channels == 3),
        "the model takes {}, expected images (N, 3, S, S)\nhint: of images (N, S, S, 3), put a transposition \
         before the model and export it again",
        described(input)
    );
    ensure!(
        fixed(height).is_none() || fixed(width).is_none() || height == width,
        "the model takes {}, and eqr-bench has square images",
        described(input)
    );
    let side = fixed(height).or(fixed(width)).map(usize::try_from).transpose()?;
    Ok((ModuleInput { kind, batch: fixed(batch) }, side))
}

/// Name, type and shape of an input; -1 is a size that is not fixed.
fn described(outlet: &Outlet) -> String {
    format!("{} ({})", outlet.name(), outlet.dtype())
}

impl ModuleEngine for OnnxModel {
    fn name(&self) -> &'static str {
        "ONNX model"
    }

    fn declared(&self) -> ModuleInput {
        self.takes
    }

    fn side(&self) -> Option<usize> {
        self.side
    }

    fn kinds(&self, _images: &Tensor) -> Vec<Kind> {
        vec![self.takes.kind]
    }

    fn run(&self, images: &Tensor) -> Result<Answer> {
        let mut session = self.session.borrow_mut();
        let outputs =
            session.run(ort::inputs![as_value(images)?]).map_err(|error| self.failure(images, &error))?;
        Ok(Answer::Named(read(&outputs, images.device())?))
    }
}

impl OnnxModel {
    fn failure(&self, images: &Tensor, error: &ort::Error) -> anyhow::Error {
        let side = self.side.map(|side| format!(" (the model has {side})")).unwrap_or_default();
        anyhow!(
            "the model fails on images {:?}: {}\nhint: --size sets the side of the images{side}; batches of \
             other sizes were tried",
            images.size(),
            reason(error)
        )
    }
}

/// Images (B, 3, S, S) as ONNX Runtime takes them.
fn as_value(images: &Tensor) -> Result<DynValue> {
    let flat = images.to_device(Device::Cpu).flatten(0, -1);
    Ok(match images.kind() {
        Kind::Half => OrtTensor::from_array((images.size(), Vec::<f16>::try_from(flat)?))?.into_dyn(),
        _ => OrtTensor::from_array((images.size(), Vec::<f32>::try_from(flat)?))?.into_dyn(),
    })
}

/// The outputs by name.
fn read(outputs: &SessionOutputs, device: Device) -> Result<Vec<(String, Answer)>> {
    let one = |(name, value): (&str, ort::value::ValueRef<'_>)| {
        let answer = answer(&value).with_context(|| format!("output {name}"))?;
        let answer = match answer {
            Answer::Tensor(tensor) => Answer::Tensor(tensor.to_device(device)),
            other => other,
        };
        Ok((name.to_owned(), answer))
    };
    outputs.iter().map(one).collect()
}

fn answer(value: &DynValue) -> Result<Answer> {
    let tensor = match value.dtype().tensor_type() {
        Some(TensorElementType::Float32) => {
            let (shape, values) = value.try_extract_tensor::<f32>()?;
            Tensor::from_slice(values).view(&shape[..])
        }
        Some(TensorElementType::Float64) => {
            let (shape, values) = value.try_extract_tensor::<f64>()?;
            Tensor::from_slice(values).view(&shape[..])
        }
        Some(TensorElementType::Float16) => {
            let (shape, values) = value.try_extract_tensor::<f16>()?;
            Tensor::from_slice(values).view(&shape[..])
        }
        Some(_) => return Ok(Answer::Other("values that are no floats")),
        None => return Ok(Answer::Other("no tensor")),
    };
    Ok(Answer::Tensor(tensor))
}

/// The message of ONNX Runtime in one line, without where in its sources it was raised.
fn reason(error: &ort::Error) -> String {
    let text = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
    let raised = |text: &str| text.find(".cc:").and_then(|at| text[at..].find(") ").map(|end| at + end + 2));
    match raised(&text) {
        Some(end) if end < text.len() => text[end..].to_owned(),
        _ => text,
    }
}

/// What to do about a model that cannot be loaded.
fn hint(reason: &str) -> &'static str {
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if says(&["Protobuf parsing failed", "ModelProto does not have a graph", "Invalid protobuf"]) {
        return "hint: it is no ONNX model, or its download or copy did not finish";
    }
    if says(&["external", "External", ".data"]) {
        return "hint: the weights are in a file of their own, which must lie beside the model under its name";
    }
    if says(&["opset", "IR version", "not a registered function/op", "NOT_IMPLEMENTED", "not implemented"]) {
        return "hint: a newer ONNX Runtime may have it (pip install --upgrade onnxruntime); operators of other \
                libraries are not loaded: export the model without them, or as TorchScript";
    }
    "hint: onnx.checker.check_model(PATH) in Python says more"
}

#[cfg(test)]
mod tests {
    use super::hint;

    /// ONNX Runtime's own messages.
    #[test]
    fn models_that_do_not_load_have_their_hint() {
        for (reason, says) in [
            ("Load model from a.onnx failed:Protobuf parsing failed.", "no ONNX model"),
            ("Fatal error: my.domain:Fold(-1) is not a registered function/op", "newer ONNX Runtime"),
            ("Unsupported model IR version: 99, max supported IR version: 13", "newer ONNX Runtime"),
            ("model.onnx.data: No such file or directory", "beside the model"),
            ("something else", "onnx.checker"),
        ] {
            assert!(hint(reason).contains(says), "{reason}");
        }
    }
}
