//! Adam on one flat buffer, in place.

use tch::{Device, Kind, Tensor};

/// Decay of the first and second moment and the term beside the root: torch's defaults, the protocol's values.
const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;

/// On a CPU the seven passes of a step run over pieces of this many elements, whose five arrays stay in the cache: main
/// memory is then read and written once a step instead of once a pass.
fn cpu_chunk() -> i64 {
    std::env::var("CHK").map_or(1 << 17, |v| v.parse().unwrap())
}

/// One piece of the buffers; every tensor is a view into a flat one.
struct Chunk {
    value: Tensor,
    gradient: Tensor,
    first: Tensor,
    second: Tensor,
    root: Tensor,
}

/// Adam without weight decay over a flat buffer of parameters and one of their gradients.
pub(crate) struct Adam {
    lr: f64,
    steps: i32,
    chunks: Vec<Chunk>,
}

impl Adam {
    /// Optimiser of `values` with `gradients`, both (P) float32, contiguous and on one device; both are kept as views.
    pub(crate) fn new(values: &Tensor, gradients: &Tensor, lr: f64) -> Adam {
        let length = values.numel() as i64;
        let piece = if values.device() == Device::Cpu { cpu_chunk().min(length) } else { length };
        let zeros = || Tensor::zeros([length], (Kind::Float, values.device()));
        let (first, second) = (zeros(), zeros());
        let root = Tensor::empty([piece], (Kind::Float, values.device()));
        let chunk = |start: i64| {
            let part = |t: &Tensor| t.narrow(0, start, piece.min(length - start));
            let (value, gradient) = (part(values), part(gradients));
            let root = root.narrow(0, 0, piece.min(length - start));
            Chunk { value, gradient, first: part(&first), second: part(&second), root }
        };
        Adam { lr, steps: 0, chunks: (0..length).step_by(piece as usize).map(chunk).collect() }
    }

    /// One step with the gradients as they stand in the buffer.
    pub(crate) fn step(&mut self) {
        self.steps += 1;
        let rate = self.lr / (1.0 - BETA1.powi(self.steps));
        // `second` holds the second moment without its factor (1 - BETA2), which goes into `slope` instead: tch's
        // `addcmul_` and `addcdiv_` take no factor of their own.
        let slope = -((1.0 - BETA2) / (1.0 - BETA2.powi(self.steps))).sqrt() / rate;
        let offset = -EPS / rate;
        for Chunk { value, gradient, first, second, root } in &mut self.chunks {
            let _ = first.lerp_(gradient, 1.0 - BETA1);
            let _ = second.g_mul_scalar_(BETA2);
            let _ = second.addcmul_(gradient, gradient);
            let _ = second.sqrt_out(root);
            let _ = root.g_mul_scalar_(slope);
            let _ = root.g_add_scalar_(offset);
            let _ = value.addcdiv_(first, root);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::nn::{self, OptimizerConfig};

    /// 200,000 elements span several chunks and a short one; gradients of very different sizes, some zero.
    #[test]
    fn agrees_with_torch() {
        let n = 200_000;
        let start = Tensor::arange(n, (Kind::Float, Device::Cpu)).sin();
        let store = nn::VarStore::new(Device::Cpu);
        let theirs = store.root().var_copy("w", &start);
        let mut torch = nn::Adam::default().build(&store, 1e-3).unwrap();
        let ours = start.copy();
        let gradient = Tensor::zeros([n], (Kind::Float, Device::Cpu));
        let mut adam = Adam::new(&ours, &gradient, 1e-3);
        for step in 1..=20 {
            let g = (Tensor::arange(n, (Kind::Float, Device::Cpu)) * f64::from(step)).cos().pow_tensor_scalar(9);
            torch.zero_grad();
            (&theirs * &g).sum(Kind::Float).backward();
            torch.step();
            gradient.shallow_clone().copy_(&g);
            adam.step();
        }
        let worst = (theirs - ours).abs().max().double_value(&[]);
        assert!(worst < 1e-6, "largest difference {worst}");
    }
}
