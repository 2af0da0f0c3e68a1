//! A module of another library as an encoder: it takes a batch of images and returns features, tokens or
//! maps. A [`ModuleEngine`] runs it.

use anyhow::{Result, anyhow, bail, ensure};
use eqr_models::{LayerTokens, Place};
use tch::{Kind, Tensor};

use crate::encoder::module_engine::{Answer, ModuleEngine, ModuleInput};
use crate::encoder::module_layout::layout;
use crate::encoder::readout::as_tokens;
use crate::encoder::representation::Representation;
use crate::run_folder::encoder_description::Known;
use crate::suite_file::encoder_options::{Layout, Readout};

/// A module, and how what it returns is read.
pub struct Module {
    engine: Box<dyn ModuleEngine>,
    /// Which of several named tensors is read.
    key: Option<String>,
    /// What it is given.
    input: ModuleInput,
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

impl Module {
    /// The module that `engine` runs. `key` is what is read if it returns several named tensors.
    pub fn new(engine: Box<dyn ModuleEngine>, key: Option<String>) -> Module {
        Module {
            key,
            input: engine.declared(),
            engine,
            readout: Readout::Mean,
            layout: None,
            kind: ModuleKind::Features,
            several: false,
        }
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
    /// That of what it declares, if nothing else works.
    fn find_input(&mut self, images: &Tensor) -> Result<()> {
        let Err(first) = self.answer(images) else { return Ok(()) };
        for kind in self.engine.kinds(images) {
            for batch in [None].into_iter().chain(BATCHES.map(Some)) {
                self.input = ModuleInput { kind, batch };
                if self.answer(images).is_ok() {
                    return Ok(());
                }
            }
        }
        self.input = self.engine.declared();
        Err(first)
    }

    /// The same module, of which features are read by `readout`.
    pub fn read_by(&mut self, readout: Readout) {
        self.readout = readout;
    }

    /// Whether it returns several maps.
    pub fn has_layers(&self) -> bool {
        self.several
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

    /// What it is, and what of its input is unusual.
    pub fn description(&self) -> String {
        let ModuleInput { kind, batch } = self.input;
        let takes = (kind != Kind::Float).then(|| format!("takes {kind:?} images"));
        let batch = batch.map(|batch| format!("traced for batches of {batch}"));
        let parts: Vec<String> = [takes, batch].into_iter().flatten().collect();
        let name = self.engine.name();
        if parts.is_empty() { name.to_owned() } else { format!("{name} ({})", parts.join(", ")) }
    }

    /// The representation of images (B, 3, S, S).
    ///
    /// # Errors
    /// A module that fails, or that returns anything other than features, tokens or token maps.
    pub fn represent(&self, images: &Tensor) -> Result<Representation> {
        self.read(self.answer(images)?)
    }

    /// The maps before the last one, and the representation, of images (B, 3, S, S).
    ///
    /// # Errors
    /// As [`Module::represent`].
    pub fn layers(&self, images: &Tensor) -> Result<(Vec<LayerTokens>, Representation)> {
        let answer = self.answer(images)?;
        let before = &answer[..answer.len() - 1];
        let layer = |(index, map): (usize, &Tensor)| LayerTokens {
            place: Place::Stage(index + 1),
            class: None,
            map: self.layout.map_or_else(|| map.shallow_clone(), |order| in_order(map, order)),
        };
        Ok((before.iter().enumerate().map(layer).collect(), self.read(answer)?))
    }

    /// The representation that the module's answer is.
    fn read(&self, mut answer: Vec<Tensor>) -> Result<Representation> {
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
        let Some(batch) = self.input.batch else { return self.answer_at_once(images) };
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
        let read = match self.engine.run(&images.to_kind(self.input.kind))? {
            Answer::Named(entries) => entry(entries, self.key.as_deref())?,
            other => {
                ensure!(self.key.is_none(), "--key: the module returns {}, no dictionary", other.name());
                other
            }
        };
        let tensors = match read {
            Answer::Tensor(tensor) => {
                let shape = tensor.size();
                let fits =
                    tensor.numel() > 0 && shape.first() == Some(&size[0]) && (2..=4).contains(&shape.len());
                ensure!(fits, "the module returns {shape:?} for {} images, {EXPECTED}", size[0]);
                return Ok(vec![as_float(&tensor)?]);
            }
            Answer::Tuple(values) => {
                let tensor = |value| match value {
                    Answer::Tensor(tensor) => Ok(tensor),
                    other => Err(anyhow!("the module returns {} in a tuple, {EXPECTED}", other.name())),
                };
                values.into_iter().map(tensor).collect::<Result<Vec<_>>>()?
            }
            other => bail!("the module returns {}, {EXPECTED}", other.name()),
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
}

const EXPECTED: &str =
    "expected features (N, D), a token map (N, D, h, w), tokens (N, T, D), or a tuple or dictionary of maps";

/// The entry `key` of a dictionary. Without a key, the only entry, or all entries if they are maps.
fn entry(entries: Vec<(String, Answer)>, key: Option<&str>) -> Result<Answer> {
    let shape = |value: &Answer| match value {
        Answer::Tensor(tensor) => format!("{:?}", tensor.size()),
        other => other.name().to_owned(),
    };
    let described = entries.iter().map(|(key, value)| format!("  --key {key}: {}", shape(value)));
    let described = described.collect::<Vec<_>>().join("\n");
    let is_map = |value: &Answer| matches!(value, Answer::Tensor(tensor) if tensor.dim() == 4);
    if let Some(key) = key {
        let found = entries.into_iter().find(|(name, _)| name == key);
        return found.map(|(_, value)| value).ok_or_else(|| {
            anyhow!("--key {key}: the module returns nothing of this name; it returns\n{described}")
        });
    }
    if entries.len() == 1 || entries.iter().all(|(_, value)| is_map(value)) {
        let mut values: Vec<Answer> = entries.into_iter().map(|(_, value)| value).collect();
        return Ok(if values.len() == 1 { values.remove(0) } else { Answer::Tuple(values) });
    }
    bail!(
        "the module returns several named tensors, and --key says which one is read\n{described}\nhint: give one \
         of these keys"
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

fn as_float(tensor: &Tensor) -> Result<Tensor> {
    let kind = tensor.kind();
    ensure!(tensor.is_floating_point(), "the module returns a tensor of {kind:?}, expected floats");
    Ok(tensor.to_kind(Kind::Float))
}
