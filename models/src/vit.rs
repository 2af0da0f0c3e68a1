//! Vision Transformer encoder (Dosovitskiy et al. 2021) with timm's parameter names, and the split of its
//! output into an invariant and an equivariant half (Garrido et al. 2023; protocol section 1).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Tensor, no_grad};

use crate::arena::Arena;
use crate::error::{Error, Result};
use crate::init::Init;
use crate::layer_tokens::{LayerTokens, Place};
use crate::layers::{Block, BlockForm, LayerNorm, Linear, Residual};
use crate::registry::{Mark, Param, ParameterGroup, Registry};

/// The tokens that the two halves of y are computed from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pool {
    /// Invariant half from the CLS token, equivariant half from the mean over patch tokens.
    #[default]
    Split,
    /// Both halves from the mean over patch tokens.
    Mean,
    /// Both halves from the CLS token.
    Cls,
}

/// Initialisation of the learned position embedding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PositionInit {
    /// Normal with standard deviation 0.02, as in timm.
    #[default]
    Timm,
    /// Sine-cosine, as in MAE and MoCo v3. A short training run then does not have to learn the geometry of
    /// the token map first.
    Sincos,
}

/// Encoder sizes: timm's `vit_tiny`, `vit_small` and `vit_base`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Size {
    Tiny,
    Small,
    Base,
}

impl Size {
    /// Width, depth and heads.
    pub fn shape(self) -> [i64; 3] {
        match self {
            Size::Tiny => [192, 12, 3],
            Size::Small => [384, 12, 6],
            Size::Base => [768, 12, 12],
        }
    }
}

/// Shape of an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VitConfig {
    /// Side of the (square) image in pixels.
    pub image: i64,
    /// Side of a patch in pixels.
    pub patch: i64,
    /// Width of a token.
    pub dim: i64,
    /// Number of blocks.
    pub depth: i64,
    /// Attention heads.
    pub heads: i64,
    /// Length of the representation y. Half of it is the invariant part.
    pub out: i64,
    /// The tokens that the two halves of y are computed from.
    #[serde(default)]
    pub pool: Pool,
    /// Initialisation of the position embedding.
    #[serde(default)]
    pub positions: PositionInit,
}

impl VitConfig {
    /// Side of the token map.
    pub fn grid(&self) -> i64 {
        self.image / self.patch
    }

    /// Length of one half of y.
    pub fn half(&self) -> i64 {
        self.out / 2
    }

    /// Checks that the values are in range and consistent.
    ///
    /// # Errors
    /// Fails if a value is out of range or two values are inconsistent, and names them.
    pub fn validate(&self) -> Result<()> {
        let wrong = |text: String| Err(Error::Invalid(text));
        for (name, value) in
            [("image", self.image), ("patch", self.patch), ("dim", self.dim), ("depth", self.depth)]
        {
            if value < 1 {
                return wrong(format!("model.{name} = {value}: must be at least 1"));
            }
        }
        if self.image % self.patch != 0 {
            return wrong(format!(
                "model.patch = {} does not divide the image side {}",
                self.patch, self.image
            ));
        }
        if self.grid() < 2 {
            return wrong(format!(
                "model.patch = {} leaves {} token(s) per side: the grid readout needs at least 2",
                self.patch,
                self.grid()
            ));
        }
        if self.heads < 1 || self.dim % self.heads != 0 {
            return wrong(format!("model.heads = {} does not divide model.dim = {}", self.heads, self.dim));
        }
        if self.positions == PositionInit::Sincos && self.dim % 4 != 0 {
            return wrong(format!("model.dim = {}: sine-cosine positions need a multiple of 4", self.dim));
        }
        if self.out < 2 || self.out % 2 != 0 {
            return wrong(format!(
                "model.out = {}: must be even and at least 2, because half of it is the invariant part",
                self.out
            ));
        }
        Ok(())
    }

    /// Floating-point operations (multiplications and additions) in the matrix products of one forward pass
    /// on one image.
    pub fn forward_flops(&self) -> f64 {
        let tokens = (self.grid() * self.grid() + 1) as f64;
        let dim = self.dim as f64;
        let patches = (tokens - 1.0) * dim * (3 * self.patch * self.patch) as f64;
        let head = tokens * dim * self.half() as f64;
        2.0 * (patches + self.depth as f64 * block_products(tokens, dim) + head)
    }
}

/// Multiply-adds in one transformer block: four projections, an MLP with ratio 4, and the two attention
/// products.
pub fn block_products(tokens: f64, dim: f64) -> f64 {
    12.0 * tokens * dim * dim + 2.0 * tokens * tokens * dim
}

/// timm's initialisation of Linear weights (`trunc_normal_`, std 0.02).
fn timm_init(_fan_in: i64, _fan_out: i64) -> Init {
    Init::Normal(0.02)
}

/// The encoder's output for B images.
pub struct Encoded {
    /// (B, out): the representation, invariant half first.
    pub y: Tensor,
    /// (B, T, out/2): the equivariant half of every patch token.
    pub tokens: Tensor,
}

impl Encoded {
    /// Rows `from .. from + len`.
    pub fn narrow(&self, from: i64, len: i64) -> Self {
        Encoded { y: self.y.narrow(0, from, len), tokens: self.tokens.narrow(0, from, len) }
    }

    /// The rows shifted down by `shift`; the last ones come first.
    pub fn rolled(&self, shift: i64) -> Self {
        Encoded { y: self.y.roll([shift], [0]), tokens: self.tokens.roll([shift], [0]) }
    }

    /// y followed by the four quadrant means of the equivariant token map: (B, out + 4 * out/2).
    pub fn grid_readout(&self) -> Tensor {
        Tensor::cat(&[&self.y, &grid_means(&self.tokens)], 1)
    }
}

/// Quadrant means of the map of patch tokens (B, T, D): (B, 4 D).
pub fn grid_means(tokens: &Tensor) -> Tensor {
    let map = as_map(tokens);
    map.adaptive_avg_pool2d([2, 2]).reshape([map.size()[0], 4 * map.size()[1]])
}

/// Patch tokens (B, T, D) of a square map, reshaped to (B, D, sqrt(T), sqrt(T)).
fn as_map(tokens: &Tensor) -> Tensor {
    let (batch, count, width) = tokens.size3().expect("tokens are (B, T, D)");
    let side = (count as f64).sqrt() as i64;
    tokens.transpose(1, 2).reshape([batch, width, side, side])
}

/// Where the autograd graph of a forward pass is cut. By default it is not cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cutting {
    /// Number of segments of the blocks. The layers after the blocks are one more segment.
    pub segments: usize,
    /// Whether blocks keep their inputs only. The graph is then cut at every block.
    pub recompute: bool,
}

/// A cut in the autograd graph of a forward pass.
pub struct GraphCut {
    /// What lies below the cut, down to the next one.
    pub below: Below,
    /// (B, 1+T, dim): the leaf from which the graph above starts.
    pub above: Tensor,
    /// Parameters registered before this mark belong to the part below the cut.
    pub mark: Mark,
    /// Whether this is also a cut between two segments.
    pub ends_segment: bool,
}

/// The part of a forward pass below a cut. Its output has the values of the leaf above the cut.
pub enum Below {
    /// (B, 1+T, dim): the output, with its graph.
    Graph(Tensor),
    /// A block that has no graph.
    Block {
        /// Its number, from 0.
        block: usize,
        /// (B, 1+T, dim): its input, the leaf of the next cut below.
        input: Tensor,
    },
}

/// The encoder: image -> y.
#[derive(Clone, Debug)]
pub struct Vit {
    config: VitConfig,
    patch_weight: Param,
    patch_bias: Param,
    cls: Param,
    positions: Param,
    blocks: Vec<Block>,
    /// The mark before the first parameter of each block, and after those of the last.
    marks: Vec<Mark>,
    norm: LayerNorm,
    out: Linear,
    /// The mark after the last parameter.
    end: Mark,
}

impl Vit {
    /// Registers the parameters under timm's names, and the output layer as `out`.
    ///
    /// # Errors
    /// Same as [`VitConfig::validate`].
    pub fn new(reg: &mut Registry, config: VitConfig) -> Result<Self> {
        Self::of_form(reg, config, BlockForm::default())
    }

    /// Like [`Vit::new`], with blocks of another form than timm's.
    ///
    /// # Errors
    /// Same as [`VitConfig::validate`].
    pub fn of_form(reg: &mut Registry, config: VitConfig, form: BlockForm) -> Result<Self> {
        config.validate()?;
        let group = ParameterGroup::PerSample;
        let VitConfig { patch, dim, heads, out, .. } = config;
        let fan_in = 3 * patch * patch;
        let cls = reg.add(group, "cls_token", &[1, 1, dim], Init::Normal(1e-6));
        let tokens = config.grid() * config.grid() + 1;
        let start = match config.positions {
            PositionInit::Timm => Init::Normal(0.02),
            PositionInit::Sincos => Init::SinCos { grid: config.grid(), dim },
        };
        let positions = reg.add(group, "pos_embed", &[1, tokens, dim], start);
        let (patch_weight, patch_bias) = reg.scope("patch_embed.proj", |reg| {
            (
                reg.add(group, "weight", &[dim, 3, patch, patch], Init::linear(fan_in)),
                reg.add(group, "bias", &[dim], Init::linear(fan_in)),
            )
        });
        let block = |reg: &mut Registry, i| {
            reg.scope(format!("blocks.{i}"), |reg| Block::of_form(reg, dim, heads, form, timm_init))
        };
        let (mut blocks, mut marks) = (Vec::new(), vec![reg.mark()]);
        for i in 0..config.depth {
            blocks.push(block(reg, i));
            marks.push(reg.mark());
        }
        let norm = LayerNorm::with_eps(reg, group, "norm", dim, form.eps);
        let out = Linear::new(reg, group, "out", dim, out, Init::linear(dim));
        let end = reg.mark();
        Ok(Vit { config, patch_weight, patch_bias, cls, positions, blocks, marks, norm, out, end })
    }

    /// The mark after the encoder's parameters. They are registered before those of the method.
    pub(crate) fn end(&self) -> Mark {
        self.end
    }

    /// Shape of this encoder.
    pub fn config(&self) -> &VitConfig {
        &self.config
    }

    /// Normalised images (B, 3, image, image) in the arena's compute type -> y and tokens.
    pub fn forward(&self, p: &Arena, images: &Tensor) -> Encoded {
        self.read(p, &self.tokens(p, images))
    }

    /// Like [`Vit::forward`], but cuts the graph. The cuts are returned in forward order.
    pub fn forward_in_pieces(
        &self,
        p: &Arena,
        images: &Tensor,
        cutting: Cutting,
    ) -> (Encoded, Vec<GraphCut>) {
        let (x, cuts) = self.pass(p, images, cutting);
        (self.read(p, &x), cuts)
    }

    /// The output (B, 1+T, dim) of what lies below a cut, with its graph down to the next cut.
    pub fn output_below(&self, p: &Arena, below: Below) -> Tensor {
        match below {
            Below::Graph(output) => output,
            Below::Block { block, input } => self.blocks[block].forward(p, &Residual::new(&input)).tokens(),
        }
    }

    /// Tokens after the final normalisation (B, 1+T, dim) -> y and tokens.
    fn read(&self, p: &Arena, x: &Tensor) -> Encoded {
        let cls = x.select(1, 0); // (B, dim)
        let patches = x.narrow(1, 1, x.size()[1] - 1); // (B, T, dim)
        let half = self.config.half();
        let tokens = self.out.forward_rows(p, &patches, half, half); // (B, T, half)
        let invariant = |x: &Tensor| self.out.forward_rows(p, x, 0, half); // (B, half)
        let mean = || tokens.mean_dim([1i64].as_slice(), false, None);
        let y = match self.config.pool {
            Pool::Split => Tensor::cat(&[invariant(&cls), mean()], 1),
            Pool::Mean => {
                Tensor::cat(&[invariant(&patches.mean_dim([1i64].as_slice(), false, None)), mean()], 1)
            }
            Pool::Cls => self.out.forward(p, &cls),
        };
        Encoded { y, tokens }
    }

    /// Normalised images (B, 3, image, image) in the arena's compute type -> tokens after the final
    /// normalisation (B, 1+T, dim), the class token first: timm's `forward_features`.
    pub fn tokens(&self, p: &Arena, images: &Tensor) -> Tensor {
        self.pass(p, images, Cutting::default()).0
    }

    /// Numbers (from 1) of the last block in each quarter of the depth: 3, 6, 9 and 12 for 12 blocks.
    pub fn quarters(&self) -> Vec<usize> {
        let depth = self.blocks.len();
        let mut ends: Vec<usize> = (1..=4).map(|quarter| (depth * quarter).div_ceil(4)).collect();
        ends.dedup();
        ends
    }

    /// Normalised images (B, 3, image, image) -> maps (B, dim, grid, grid) of the patch tokens after the
    /// blocks numbered `after` (from 1, ascending).
    pub fn maps(&self, p: &Arena, images: &Tensor, after: &[usize]) -> Vec<Tensor> {
        let mut x = self.embed(p, images);
        let mut maps = Vec::with_capacity(after.len());
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(p, &Residual::new(&x)).tokens();
            if after.contains(&(i + 1)) {
                maps.push(as_map(&x.narrow(1, 1, x.size()[1] - 1)));
            }
        }
        maps
    }

    /// Normalised images (B, 3, image, image) -> the tokens after the embedding and after every block, and
    /// what [`Vit::forward`] returns.
    pub fn layers(&self, p: &Arena, images: &Tensor) -> (Vec<LayerTokens>, Encoded) {
        let tokens = |place, x: &Tensor| LayerTokens {
            place,
            class: Some(x.select(1, 0)),
            map: as_map(&x.narrow(1, 1, x.size()[1] - 1)),
        };
        let mut x = self.embed(p, images);
        let mut layers = vec![tokens(Place::Embedding, &x)];
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(p, &Residual::new(&x)).tokens();
            layers.push(tokens(Place::Block(i + 1), &x));
        }
        (layers, self.read(p, &self.norm.forward(p, &x)))
    }

    /// Like [`Vit::tokens`], with the graph cut. Segments have `depth / segments` blocks.
    fn pass(&self, p: &Arena, images: &Tensor, cutting: Cutting) -> (Tensor, Vec<GraphCut>) {
        let Cutting { segments, recompute } = cutting;
        let depth = self.blocks.len();
        let ends: Vec<usize> = (1..=segments).map(|i| depth * i / segments).collect();
        let mut cuts = Vec::new();
        // cuts before block `next`; returns the block's input
        let mut cut = |output: &Tensor, below: Below, next: usize| {
            let above = output.detach().set_requires_grad(true);
            let ends_segment = ends.contains(&next);
            cuts.push(GraphCut { below, above: above.shallow_clone(), mark: self.marks[next], ends_segment });
            above
        };
        let embedded = self.embed(p, images);
        let mut x = Residual::new(&match recompute {
            true => cut(&embedded, Below::Graph(embedded.shallow_clone()), 0),
            false => embedded,
        });
        for (block, layer) in self.blocks.iter().enumerate() {
            if recompute {
                let input = x.tokens();
                let output = no_grad(|| layer.forward(p, &x).tokens());
                x = Residual::new(&cut(&output, Below::Block { block, input }, block + 1));
                continue;
            }
            x = layer.forward(p, &x);
            if ends.contains(&(block + 1)) {
                let output = x.tokens();
                x = Residual::new(&cut(&output, Below::Graph(output.shallow_clone()), block + 1));
            }
        }
        let [_, normed] = x.normalised(p, &self.norm);
        (normed, cuts)
    }

    /// Normalised images (B, 3, image, image) -> the first block's input (B, 1+T, dim).
    fn embed(&self, p: &Arena, images: &Tensor) -> Tensor {
        let batch = images.size()[0];
        let dim = self.config.dim;
        let weight = p.get(self.patch_weight).view([dim, -1]);
        let patches = patchify(images, self.config.patch).linear(&weight, Some(p.get(self.patch_bias)));
        let cls = p.get(self.cls).expand([batch, 1, dim], false);
        Tensor::cat(&[cls, patches], 1) + p.get(self.positions)
    }
}

/// (B, 3, H, W) -> (B, H/p * W/p, 3 p p). The values of a patch are ordered channels first, as in a
/// convolution weight.
pub fn patchify(images: &Tensor, patch: i64) -> Tensor {
    let (batch, channels, height, width) = images.size4().expect("images are (B, 3, H, W)");
    let (rows, columns) = (height / patch, width / patch);
    images.reshape([batch, channels, rows, patch, columns, patch]).permute([0, 2, 4, 1, 3, 5]).reshape([
        batch,
        rows * columns,
        channels * patch * patch,
    ])
}

/// The inverse of [`patchify`]: (B, T, 3 p p) -> (B, 3, H, W) with H = W = sqrt(T) p.
pub fn unpatchify(patches: &Tensor, patch: i64) -> Tensor {
    let (batch, tokens, _) = patches.size3().expect("patches are (B, T, 3 p p)");
    let grid = (tokens as f64).sqrt() as i64;
    patches.reshape([batch, grid, grid, 3, patch, patch]).permute([0, 3, 1, 4, 2, 5]).reshape([
        batch,
        3,
        grid * patch,
        grid * patch,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_device::test_device::test_device;
    use tch::Kind;

    const CONFIG: VitConfig = VitConfig {
        image: 16,
        patch: 8,
        dim: 24,
        depth: 6,
        heads: 2,
        out: 16,
        pool: Pool::Split,
        positions: PositionInit::Sincos,
    };

    #[test]
    fn values_that_do_not_fit_are_named() {
        assert!(CONFIG.validate().is_ok());
        let wrong = [
            (VitConfig { depth: 0, ..CONFIG }, "model.depth = 0"),
            (VitConfig { patch: 5, ..CONFIG }, "model.patch = 5 does not divide"),
            (VitConfig { patch: 16, ..CONFIG }, "leaves 1 token"),
            (VitConfig { heads: 5, ..CONFIG }, "model.heads = 5"),
            (VitConfig { dim: 6, ..CONFIG }, "multiple of 4"),
            (VitConfig { out: 15, ..CONFIG }, "model.out = 15"),
        ];
        for (config, says) in wrong {
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn patches_are_rows_of_pixels_and_back() {
        let images = Tensor::arange(2 * 3 * 4 * 4, (Kind::Float, test_device())).view([2, 3, 4, 4]);
        let patches = patchify(&images, 2);
        assert_eq!(patches.size(), [2, 4, 12]);
        // second patch of the first image (upper right), channel by channel
        let expected = [2.0, 3.0, 6.0, 7.0, 18.0, 19.0, 22.0, 23.0, 34.0, 35.0, 38.0, 39.0];
        assert_eq!(Vec::<f64>::try_from(patches.get(0).get(1)).unwrap(), expected);
        assert!(unpatchify(&patches, 2).equal(&images));
    }

    #[test]
    fn a_pass_is_cut_into_segments_without_changing_it() {
        let mut registry = Registry::default();
        let vit = Vit::new(&mut registry, CONFIG).unwrap();
        assert_eq!(vit.quarters(), [2, 3, 5, 6]);
        let arena = Arena::new(registry, 1, crate::Compute::F64, test_device());
        let images =
            (Tensor::arange(2 * 3 * 16 * 16, (Kind::Double, test_device())) * 0.7).sin().view([2, 3, 16, 16]);
        let whole = vit.forward(&arena, &images);
        for (recompute, blocks) in [(false, vec![2, 4, 6]), (true, vec![0, 1, 2, 3, 4, 5, 6])] {
            let (pieces, cuts) = vit.forward_in_pieces(&arena, &images, Cutting { segments: 3, recompute });
            assert!(whole.y.equal(&pieces.y) && whole.tokens.equal(&pieces.tokens));
            let marks: Vec<_> = cuts.iter().map(|cut| cut.mark).collect();
            assert_eq!(marks, blocks.iter().map(|&block| vit.marks[block]).collect::<Vec<_>>());
            let ends = cuts.iter().filter(|cut| cut.ends_segment).map(|cut| cut.mark);
            assert_eq!(ends.collect::<Vec<_>>(), [2, 4, 6].map(|block| vit.marks[block]));
            for GraphCut { below, above, .. } in cuts {
                assert!(vit.output_below(&arena, below).equal(&above));
            }
        }
        assert_eq!(whole.grid_readout().size(), [2, 16 + 4 * 8]);
        assert_eq!(vit.maps(&arena, &images, &[2, 6])[1].size(), [2, 24, 2, 2]);
    }

    #[test]
    fn layers_are_seen_in_the_pass_that_makes_y() {
        let mut registry = Registry::default();
        let vit = Vit::new(&mut registry, CONFIG).unwrap();
        let arena = Arena::new(registry, 1, crate::Compute::F64, test_device());
        let images =
            (Tensor::arange(2 * 3 * 16 * 16, (Kind::Double, test_device())) * 0.7).sin().view([2, 3, 16, 16]);
        let (layers, encoded) = vit.layers(&arena, &images);
        assert!(encoded.y.equal(&vit.forward(&arena, &images).y));
        let names: Vec<String> = layers.iter().map(|layer| layer.place.to_string()).collect();
        assert_eq!(names, ["embedding", "block 1", "block 2", "block 3", "block 4", "block 5", "block 6"]);
        let maps = vit.maps(&arena, &images, &[2, 6]);
        assert!(layers[2].map.equal(&maps[0]) && layers[6].map.equal(&maps[1]));
        // before any block, no class token knows its image
        let class = layers[0].class.as_ref().unwrap();
        assert!(class.get(0).equal(&class.get(1)));
    }
}
