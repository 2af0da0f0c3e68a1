//! Adam on one flat buffer, in place.

use tch::{Device, Kind, Tensor};

/// Decay of the first and second moment and the term beside the root: torch's defaults, the protocol's values.
const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;

/// On a CPU the seven passes of a step run over pieces of this many elements, whose five arrays stay in the cache: main
/// memory is then read and written once a step instead of once a pass. Below 32,768 elements torch stays on the calling
/// thread, so that the threads meet once a step and not once a pass, which a busy machine makes expensive.
const CPU_PIECE: i64 = (1 << 15) - 64;

/// Pieces that are worth a thread of their own.
const PIECES_A_THREAD: i64 = 4;

/// Adam without weight decay over a flat buffer of parameters and one of their gradients.
pub(crate) struct Adam {
    lr: f64,
    steps: i32,
    lanes: Vec<Lane>,
}

/// The pieces that one thread takes, and room for its intermediate values.
struct Lane {
    pieces: Vec<Piece>,
    root: Tensor,
}

/// One piece of the buffers; every tensor is a view into a flat one.
struct Piece {
    value: Tensor,
    gradient: Tensor,
    first: Tensor,
    second: Tensor,
}

impl Adam {
    /// Optimiser of `values` with `gradients`, both (P) float32, contiguous and on one device; both are kept as views. A step
    /// uses as many threads as torch does now.
    pub(crate) fn new(values: &Tensor, gradients: &Tensor, lr: f64) -> Adam {
        let (length, device) = (values.numel() as i64, values.device());
        let (size, threads) = match device {
            Device::Cpu => (CPU_PIECE.min(length), i64::from(tch::get_num_threads().max(1))),
            _ => (length, 1),
        };
        let zeros = || Tensor::zeros([length], (Kind::Float, device));
        let (first, second) = (zeros(), zeros());
        let piece = |start: i64| {
            let part = |t: &Tensor| t.narrow(0, start, size.min(length - start));
            Piece { value: part(values), gradient: part(gradients), first: part(&first), second: part(&second) }
        };
        let count = (length + size - 1) / size;
        let in_lane = ((count + threads - 1) / threads).max(PIECES_A_THREAD);
        let lane = |from: i64| Lane {
            pieces: (from..count.min(from + in_lane)).map(|index| piece(index * size)).collect(),
            root: Tensor::empty([size], (Kind::Float, device)),
        };
        Adam { lr, steps: 0, lanes: (0..count).step_by(in_lane as usize).map(lane).collect() }
    }

    /// One step with the gradients as they stand in the buffer.
    pub(crate) fn step(&mut self) {
        self.steps += 1;
        let rate = self.lr / (1.0 - BETA1.powi(self.steps));
        // The update is first / (slope * root of second + offset): see `Piece::step`.
        let slope = -((1.0 - BETA2) / (1.0 - BETA2.powi(self.steps))).sqrt() / rate;
        let offset = -EPS / rate;
        let (own, others) = self.lanes.split_first_mut().expect("an optimiser has parameters");
        std::thread::scope(|scope| {
            for lane in others {
                scope.spawn(move || lane.step(slope, offset));
            }
            own.step(slope, offset);
        });
    }
}

impl Lane {
    fn step(&mut self, slope: f64, offset: f64) {
        for piece in &mut self.pieces {
            let mut root = self.root.narrow(0, 0, piece.value.size()[0]);
            piece.step(&mut root, slope, offset);
        }
    }
}

impl Piece {
    /// `second` is kept without the second moment's factor (1 - BETA2), and the factor -rate of the update stands in the
    /// denominator: tch's `addcmul_` and `addcdiv_` take no factor of their own.
    fn step(&mut self, root: &mut Tensor, slope: f64, offset: f64) {
        let _ = self.first.lerp_(&self.gradient, 1.0 - BETA1);
        let _ = self.second.g_mul_scalar_(BETA2);
        let _ = self.second.addcmul_(&self.gradient, &self.gradient);
        let _ = self.second.sqrt_out(root);
        let _ = root.g_mul_scalar_(slope);
        let _ = root.g_add_scalar_(offset);
        let _ = self.value.addcdiv_(&self.first, root);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::nn::{self, OptimizerConfig};

    /// 300,000 elements span several lanes and a short piece; gradients of very different sizes, some zero.
    #[test]
    fn agrees_with_torch() {
        let n = 300_000;
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
