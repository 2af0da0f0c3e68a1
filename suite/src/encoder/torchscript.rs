//! A TorchScript module as an encoder: it takes a batch of images and returns features, tokens or maps.

use std::path::Path;

use anyhow::{Result, anyhow, bail, ensure};
use tch::{CModule, Device, IValue, Kind, TchError, Tensor};

use crate::encoder::module_layout::layout;
use crate::encoder::readout::as_tokens;
use crate::encoder::representation::Representation;
use crate::run_folder::encoder_description::Known;
use crate::suite_file::encoder_options::{Layout, Readout};

/// A loaded module, in eval mode.
pub struct TorchScriptModule {
    module: CModule,
    /// Which entry of a dictionary is read.
    key: Option<String>,
    /// Type of the images that it takes.
    takes: Kind,
    /// Number of images that it takes at a time, if a trace has fixed it.
    batch: Option<i64>,
    readout: Readout,
    /// Order of the axes of its maps or tokens; `None` for features.
    layout: Option<Layout>,
    kind: ModuleKind,
    /// Whether it returns several maps.
    several: bool,
}

/// What a module returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleKind {
    /// Features (N, D).
    Features,
    /// Tokens, with a class token before those of the map if `class`.
    Tokens {
        /// Whether there is one.
        class: bool,
    },
    /// Maps.
    Maps,
}

/// Numbers of images that are tried if a module refuses four.
const BATCHES: [i64; 7] = [1, 2, 8, 16, 32, 64, 128];

impl TorchScriptModule {
    /// Loads the module at `path`. `key` is the entry that is read if it returns a dictionary.
    ///
    /// # Errors
    /// A file that is not TorchScript.
    pub fn load(path: &Path, key: Option<String>, device: Device) -> Result<TorchScriptModule> {
        let hint = "hint: torch.jit.script(model.eval()).save(..) or torch.jit.trace(model.eval(), \
                    images).save(..) writes TorchScript; a state dict or a pickled model is not TorchScript";
        let mut module = CModule::load_on_device(path, device).map_err(|error| {
            anyhow!("not a TorchScript module: {}\n{hint}", without_frames(&error.to_string()))
        })?;
        module.f_set_eval()?;
        Ok(TorchScriptModule {
            module,
            key,
            takes: Kind::Float,
            batch: None,
            readout: Readout::Mean,
            layout: None,
            kind: ModuleKind::Features,
            several: false,
        })
    }

    /// Learns from the answer to four square `images` what the module takes and returns: their type and
    /// number, and the order of the axes.
    ///
    /// # Errors
    /// A module that fails or returns something else than tensors; a shape that does not show its layout.
    pub fn learn(&mut self, images: &Tensor, given: Option<Layout>) -> Result<Option<Known<Layout>>> {
        self.find_input(images)?;
        let answer = self.answer(images)?;
        let shapes: Vec<Vec<i64>> = answer.iter().map(Tensor::size).collect();
        let larger = || {
            let side = 2 * images.size()[2];
            let images = images.new_zeros([1, 3, side, side], (images.kind(), images.device()));
            Some(self.answer(&images).ok()?.iter().map(Tensor::size).collect())
        };
        let layout = layout(&shapes, given, larger)?;
        self.layout = layout.as_ref().map(|layout| layout.value);
        self.several = shapes.len() > 1;
        self.kind = match self.layout {
            None => ModuleKind::Features,
            Some(Layout::Nchw | Layout::Nhwc) => ModuleKind::Maps,
            Some(order) => {
                ModuleKind::Tokens { class: Tokens::of(&in_order(&answer[0], order)).class.is_some() }
            }
        };
        Ok(layout)
    }

    /// Finds the type and the number of images that the module takes.
    ///
    /// # Errors
    /// That of four float32 images, if no other type or number works.
    fn find_input(&mut self, images: &Tensor) -> Result<()> {
        let Err(first) = self.answer(images) else { return Ok(()) };
        let half = self.forward(images).err().is_some_and(|error| self.cause(&error) == Cause::HalfPrecision);
        let kinds: &[Kind] = if half { &[Kind::BFloat16, Kind::Half] } else { &[Kind::Float] };
        for &takes in kinds {
            for batch in [None].into_iter().chain(BATCHES.map(Some)) {
                (self.takes, self.batch) = (takes, batch);
                if self.answer(images).is_ok() {
                    return Ok(());
                }
            }
        }
        (self.takes, self.batch) = (Kind::Float, None);
        Err(first)
    }

    /// The same module, of which features are read by `readout`.
    pub fn read_by(&mut self, readout: Readout) {
        self.readout = readout;
    }

    /// What it returns.
    pub fn kind(&self) -> ModuleKind {
        self.kind
    }

    /// What features are read from.
    pub fn readout(&self) -> &'static str {
        match (self.kind, self.readout, self.several) {
            (ModuleKind::Features, ..) => "the features that the module returns",
            (ModuleKind::Maps, Readout::Mean, false) => "the mean of the map that the module returns",
            (ModuleKind::Maps, Readout::Mean, true) => "the mean of the last map that the module returns",
            (_, readout, _) => readout.text(),
        }
    }

    /// What of its input is unusual, for the description; empty if nothing is.
    pub fn particulars(&self) -> String {
        let takes = (self.takes != Kind::Float).then(|| format!("takes {:?} images", self.takes));
        let batch = self.batch.map(|batch| format!("traced for batches of {batch}"));
        let parts: Vec<String> = [takes, batch].into_iter().flatten().collect();
        if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
    }

    /// The representation of images (B, 3, S, S).
    ///
    /// # Errors
    /// A module that fails, or that returns anything other than features, tokens or token maps.
    pub fn represent(&self, images: &Tensor) -> Result<Representation> {
        let mut answer = self.answer(images)?;
        let last = answer.pop().expect("not empty");
        let Some(order) = self.layout else { return Ok(Representation { y: last, grid: None }) };
        let last = in_order(&last, order);
        if self.kind == ModuleKind::Maps {
            return self.readout.read(None, &last, Tensor::shallow_clone);
        }
        let tokens = Tokens::of(&last);
        match tokens.map() {
            Some(map) => self.readout.read(tokens.class.as_ref(), &map, Tensor::shallow_clone),
            None => {
                ensure!(
                    self.readout == Readout::Mean,
                    "--readout: {} tokens are no square map\nhint: give --readout mean",
                    last.size()[1]
                );
                Ok(Representation { y: tokens.patches.mean_dim([1i64].as_slice(), false, None), grid: None })
            }
        }
    }

    /// All tokens (B, T, D) of images (B, 3, S, S): a class token first, then those of the last map.
    ///
    /// # Errors
    /// A module that fails or returns features.
    pub fn tokens(&self, images: &Tensor) -> Result<Tensor> {
        let last = self.answer(images)?.pop().expect("not empty");
        match (self.kind, self.layout) {
            (ModuleKind::Maps, Some(order)) => Ok(as_tokens(None, &in_order(&last, order))),
            (ModuleKind::Tokens { .. }, Some(order)) => Ok(in_order(&last, order)),
            _ => bail!(
                "--readout attentive: the module returns features {:?}, and this probe pools tokens\nhint: \
                 give a module that returns tokens (N, T, D) or a map (N, D, h, w)",
                last.size()
            ),
        }
    }

    /// The maps (B, D_i, h_i, w_i) of images (B, 3, S, S), in the module's order.
    ///
    /// # Errors
    /// A module that fails or returns no map.
    pub fn maps(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        let answer = self.answer(images)?;
        let maps: Option<Vec<Tensor>> = match (self.kind, self.layout) {
            (ModuleKind::Maps, Some(order)) => Some(answer.iter().map(|map| in_order(map, order)).collect()),
            (ModuleKind::Tokens { .. }, Some(order)) => {
                Tokens::of(&in_order(&answer[0], order)).map().map(|map| vec![map])
            }
            _ => None,
        };
        maps.ok_or_else(|| {
            anyhow!(
                "the module returns features {:?}, and segmentation reads a token map (N, D, h, w)\nhint: \
                 script a module that returns one, or a tuple of several",
                answer[0].size()
            )
        })
    }

    /// The tensors that the module returns, float32: features, tokens, or any number of maps.
    fn answer(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        let Some(batch) = self.batch else { return self.answer_at_once(images) };
        let count = images.size()[0];
        let pieces: Vec<Vec<Tensor>> = images
            .split(batch, 0)
            .iter()
            .map(|piece| self.answer_at_once(&padded(piece, batch)))
            .collect::<Result<_>>()?;
        let join = |index: usize| {
            let parts: Vec<&Tensor> = pieces.iter().map(|piece| &piece[index]).collect();
            Tensor::cat(&parts, 0).narrow(0, 0, count)
        };
        Ok((0..pieces[0].len()).map(join).collect())
    }

    fn answer_at_once(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        let size = images.size();
        let returned = self.forward(images).map_err(|error| self.failure(&size, &error))?;
        let returned = match returned {
            IValue::GenericDict(entries) => entry(entries, self.key.as_deref())?,
            other => {
                ensure!(self.key.is_none(), "--key: the module returns {}, no dictionary", type_name(&other));
                other
            }
        };
        let tensors = match returned {
            IValue::Tensor(tensor) => {
                let shape = tensor.size();
                let fits =
                    tensor.numel() > 0 && shape.first() == Some(&size[0]) && (2..=4).contains(&shape.len());
                ensure!(fits, "the module returns {shape:?} for {} images, {EXPECTED}", size[0]);
                return Ok(vec![as_float(&tensor)?]);
            }
            IValue::TensorList(tensors) => tensors,
            IValue::Tuple(values) | IValue::GenericList(values) => {
                let tensor = |value| match value {
                    IValue::Tensor(tensor) => Ok(tensor),
                    other => Err(anyhow!("the module returns {} in a tuple, {EXPECTED}", type_name(&other))),
                };
                values.into_iter().map(tensor).collect::<Result<Vec<_>>>()?
            }
            other => bail!("the module returns {}, {EXPECTED}", type_name(&other)),
        };
        ensure!(!tensors.is_empty(), "the module returns an empty tuple, {EXPECTED}");
        for tensor in &tensors {
            let shape = tensor.size();
            let is_map = matches!(shape[..], [batch, ..] if batch == size[0] && shape.len() == 4)
                && tensor.numel() > 0;
            ensure!(is_map, "the module returns a tuple with {shape:?} for images {size:?}, {EXPECTED}");
        }
        tensors.iter().map(as_float).collect()
    }

    fn forward(&self, images: &Tensor) -> std::result::Result<IValue, TchError> {
        self.module.forward_is(&[IValue::Tensor(images.to_kind(self.takes))])
    }

    fn cause(&self, error: &TchError) -> Cause {
        let parameters = self.module.named_parameters().unwrap_or_default();
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

const EXPECTED: &str =
    "expected features (N, D), a token map (N, D, h, w), tokens (N, T, D), or a tuple or dictionary of maps";

/// The entry `key` of a dictionary. Without a key, the only entry, or all entries if they are maps.
fn entry(entries: Vec<(IValue, IValue)>, key: Option<&str>) -> Result<IValue> {
    let text = |key: &IValue| match key {
        IValue::String(text) => text.clone(),
        other => type_name(other).to_owned(),
    };
    let shape = |value: &IValue| match value {
        IValue::Tensor(tensor) => format!("{:?}", tensor.size()),
        other => type_name(other).to_owned(),
    };
    let described = entries.iter().map(|(key, value)| format!("  --key {}: {}", text(key), shape(value)));
    let described = described.collect::<Vec<_>>().join("\n");
    let is_map = |value: &IValue| matches!(value, IValue::Tensor(tensor) if tensor.dim() == 4);
    if let Some(key) = key {
        let found = entries.into_iter().find(|(name, _)| text(name) == key);
        return found.map(|(_, value)| value).ok_or_else(|| {
            anyhow!("--key {key}: the module returns a dictionary without it; it has\n{described}")
        });
    }
    if entries.len() == 1 || entries.iter().all(|(_, value)| is_map(value)) {
        let mut values: Vec<IValue> = entries.into_iter().map(|(_, value)| value).collect();
        return Ok(if values.len() == 1 { values.remove(0) } else { IValue::Tuple(values) });
    }
    bail!(
        "the module returns a dictionary, and --key says which entry is read\n{described}\nhint: give one of these keys"
    )
}

/// Images (b, 3, S, S), followed by zeros up to `batch` images.
fn padded(images: &Tensor, batch: i64) -> Tensor {
    let [count, channels, height, width] = images.size()[..] else { unreachable!("images are (B, 3, S, S)") };
    let rest = images.new_zeros([batch - count, channels, height, width], (images.kind(), images.device()));
    Tensor::cat(&[images, &rest], 0)
}

/// What a module returned, as (B, D, h, w) or (B, T, D).
fn in_order(returned: &Tensor, order: Layout) -> Tensor {
    match order {
        Layout::Nchw | Layout::Ntc => returned.shallow_clone(),
        Layout::Nhwc => returned.permute([0, 3, 1, 2]).contiguous(),
        Layout::Nct => returned.transpose(1, 2),
    }
}

/// Tokens (B, T, D). A square number of tokens is a map, and one more than a square is a class token and a
/// map. Any other number gives no map.
struct Tokens {
    /// (B, D)
    class: Option<Tensor>,
    /// (B, T', D)
    patches: Tensor,
}

impl Tokens {
    fn of(tokens: &Tensor) -> Tokens {
        let count = tokens.size()[1];
        let first = i64::from(side(count).is_none() && side(count - 1).is_some());
        let class = (first == 1).then(|| tokens.select(1, 0));
        Tokens { class, patches: tokens.narrow(1, first, count - first) }
    }

    /// The map (B, D, h, h), if the patches are a square number.
    fn map(&self) -> Option<Tensor> {
        let (batch, count, width) = self.patches.size3().expect("tokens are (B, T, D)");
        let side = side(count)?;
        Some(self.patches.transpose(1, 2).reshape([batch, width, side, side]))
    }
}

/// The root of a square number.
fn side(count: i64) -> Option<i64> {
    Some((count as f64).sqrt().round() as i64).filter(|root| root * root == count && count > 0)
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
