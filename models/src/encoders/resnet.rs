//! Residual networks (He et al. 2016) with torchvision's parameter names: ResNet-18, 34, 50, 101 and 152, the
//! wide ones and ResNeXt. As in torchvision, the 3 x 3 convolution of a block has its stride. Batch
//! normalisation uses its running statistics.

use tch::Tensor;

use super::parameters::Parameters;
use crate::error::Result;

/// 7 x 7 convolution, max pooling, four stages of blocks.
pub struct ResNet {
    first: Convolution,
    stages: Vec<Vec<Block>>,
}

/// A convolution without bias, and the batch normalisation after it.
struct Convolution {
    weight: Tensor,
    norm: BatchNorm,
    stride: i64,
    groups: i64,
}

struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
}

/// relu(shortcut + convolutions). There are two convolutions, or three with a bottleneck.
struct Block {
    convolutions: Vec<Convolution>,
    shortcut: Option<Convolution>,
}

impl ResNet {
    /// Builds the encoder from parameters with torchvision's names.
    ///
    /// # Errors
    /// Parameters that are missing, have another shape or do not belong to such an encoder, one line each.
    pub(super) fn read(mut p: Parameters) -> Result<ResNet> {
        let width = p.shape("conv1.weight").first().copied().unwrap_or(64);
        let first = Convolution::take(&mut p, ["conv1", "bn1"], [width, 3, 7], 2);
        let mut channels = width;
        let mut stages = Vec::new();
        for stage in 1..=4 {
            let name = format!("layer{stage}");
            let count = p.count(&format!("{name}."));
            if count == 0 {
                p.problem(format!("{name}.0: missing, expected at least one block"));
            }
            let mut blocks = Vec::new();
            for index in 0..count {
                let stride = if stage > 1 && index == 0 { 2 } else { 1 };
                let block = Block::take(&mut p, &format!("{name}.{index}"), channels, stride);
                channels = block.channels();
                blocks.push(block);
            }
            stages.push(blocks);
        }
        p.finish()?;
        Ok(ResNet { first, stages })
    }

    /// Images (B, 3, S, S) -> (B, D, S / 32, S / 32)
    pub(super) fn last_map(&self, images: &Tensor) -> Tensor {
        self.maps(images).pop().expect("four stages")
    }

    /// The maps after each stage.
    pub(super) fn maps(&self, images: &Tensor) -> Vec<Tensor> {
        let x = self.first.forward(images).relu();
        let mut x = x.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false);
        let mut maps = Vec::new();
        for stage in &self.stages {
            for block in stage {
                x = block.forward(&x);
            }
            maps.push(x.shallow_clone());
        }
        maps
    }
}

impl Convolution {
    /// `names` are those of the convolution and of its normalisation. The shape is that of the outputs, the
    /// inputs and the kernel's side; a weight of fewer inputs has groups.
    fn take(p: &mut Parameters, names: [&str; 2], shape: [i64; 3], stride: i64) -> Convolution {
        let [outputs, inputs, side] = shape;
        let name = format!("{}.weight", names[0]);
        let of_group =
            p.shape(&name).get(1).copied().filter(|&of| of > 0 && inputs % of == 0).unwrap_or(inputs);
        Convolution {
            weight: p.take(&name, &[outputs, of_group, side, side]),
            norm: BatchNorm::take(p, names[1], outputs),
            stride,
            groups: inputs / of_group,
        }
    }

    /// Convolution, padded so that a stride of 1 keeps the side, and normalisation.
    fn forward(&self, x: &Tensor) -> Tensor {
        let padding = self.weight.size()[2] / 2;
        let x = x.conv2d(
            &self.weight,
            None::<&Tensor>,
            [self.stride, self.stride],
            [padding, padding],
            [1, 1],
            self.groups,
        );
        self.norm.forward(&x)
    }
}

impl BatchNorm {
    fn take(p: &mut Parameters, name: &str, channels: i64) -> BatchNorm {
        let mut take = |part: &str| p.take(&format!("{name}.{part}"), &[channels]);
        BatchNorm {
            weight: take("weight"),
            bias: take("bias"),
            mean: take("running_mean"),
            variance: take("running_var"),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let BatchNorm { weight, bias, mean, variance } = self;
        x.batch_norm(Some(weight), Some(bias), Some(mean), Some(variance), false, 0.0, 1e-5, true)
    }
}

impl Block {
    fn take(p: &mut Parameters, name: &str, inputs: i64, stride: i64) -> Block {
        let outputs = |p: &Parameters, conv: &str| {
            p.shape(&format!("{name}.{conv}.weight")).first().copied().unwrap_or(inputs)
        };
        let take = |p: &mut Parameters, [conv, norm]: [&str; 2], shape, stride| {
            Convolution::take(p, [&format!("{name}.{conv}"), &format!("{name}.{norm}")], shape, stride)
        };
        let (first, second) = (outputs(p, "conv1"), outputs(p, "conv2"));
        let (convolutions, out) = if p.has(&format!("{name}.conv3.weight")) {
            let third = outputs(p, "conv3");
            let convolutions = vec![
                take(p, ["conv1", "bn1"], [first, inputs, 1], 1),
                take(p, ["conv2", "bn2"], [second, first, 3], stride),
                take(p, ["conv3", "bn3"], [third, second, 1], 1),
            ];
            (convolutions, third)
        } else {
            let convolutions = vec![
                take(p, ["conv1", "bn1"], [first, inputs, 3], stride),
                take(p, ["conv2", "bn2"], [second, first, 3], 1),
            ];
            (convolutions, second)
        };
        let changes = stride != 1 || out != inputs;
        let shortcut = changes.then(|| take(p, ["downsample.0", "downsample.1"], [out, inputs, 1], stride));
        Block { convolutions, shortcut }
    }

    fn channels(&self) -> i64 {
        self.convolutions.last().expect("two or three").weight.size()[0]
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let (last, before) = self.convolutions.split_last().expect("two or three");
        let inner = before.iter().fold(x.shallow_clone(), |x, convolution| convolution.forward(&x).relu());
        let shortcut = self.shortcut.as_ref().map_or(x.shallow_clone(), |shortcut| shortcut.forward(x));
        (last.forward(&inner) + shortcut).relu()
    }
}
