//! Many three-layer networks of one shape, trained together with batched matrix products.
//!
//! The forward and backward passes are written out by hand, so that every large tensor is a buffer that is
//! allocated once. With autograd, each step would allocate gradients as large as the weights, and on a CPU,
//! writing to new memory pages costs about as much as the products. Each product is computed for all networks
//! at once. With blocks of 2 to 10 networks the optimiser would find the gradients in the cache, but on two
//! cores the smaller batched products cost more than this saved.
//!
//! Symbols in the shapes: N training rows, B rows per batch, n networks, D inputs, H hidden units, K outputs
//! (of the widest problem).

use crate::draws::linear_layer;
use eqr_models::adam::{Adam, Buffers};
use tch::{Device, Kind, Tensor};

/// Layer widths of a network, and the learning rate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub input: i64,
    pub hidden: i64,
    /// Outputs of the widest problem. For problems with fewer outputs, the remaining columns stay zero.
    pub output: i64,
    pub lr: f64,
}

impl Sizes {
    /// (inputs, outputs) of the three layers.
    fn layers(&self) -> [(i64, i64); 3] {
        [(self.input, self.hidden), (self.hidden, self.hidden), (self.hidden, self.output)]
    }

    /// Number of parameters of one network.
    fn parameters(&self) -> i64 {
        self.layers().iter().map(|(inputs, outputs)| (inputs + 1) * outputs).sum()
    }
}

/// Inputs, targets and seed of one network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NetworkSpec {
    /// Index of the standardised features.
    pub features: usize,
    /// Index of the targets.
    pub targets: usize,
    /// Number of outputs, at most K.
    pub outputs: i64,
    /// Index of the row order.
    pub order: usize,
    /// Seed of the initial weights.
    pub seed: u64,
}

/// The training split. [`NetworkSpec`] holds indices into it.
pub(crate) struct Training {
    /// Standardised features, (N, D) each, float32 or bfloat16. The products use this kind.
    pub features: Vec<Tensor>,
    /// Targets, padded with zeros to K columns, (N, K) each, float32.
    pub targets: Vec<Tensor>,
}

/// The three layers of all networks as views into a flat buffer: parameters, or their gradients.
struct Layers {
    /// (n, inputs, outputs) each.
    weights: [Tensor; 3],
    /// (n, 1, outputs) each.
    biases: [Tensor; 3],
}

impl Layers {
    fn view(flat: &Tensor, sizes: &Sizes, networks: i64) -> Layers {
        let mut start = 0;
        let mut take = |rows: i64, columns: i64| {
            let length = networks * rows * columns;
            start += length;
            flat.narrow(0, start - length, length).view([networks, rows, columns])
        };
        let weights = sizes.layers().map(|(inputs, outputs)| take(inputs, outputs));
        let biases = sizes.layers().map(|(_, outputs)| take(1, outputs));
        Layers { weights, biases }
    }
}

/// Buffers of one batch size.
struct Batch {
    /// (n, B, D)
    input: Tensor,
    /// Hidden activations and their gradients, (n, B, H).
    hidden: [Tensor; 2],
    hidden_gradients: [Tensor; 2],
    /// (n, B, K)
    output: Tensor,
    /// Targets, then the outputs' gradients, (n, B, K), float32.
    target: Tensor,
}

impl Batch {
    fn new(sizes: &Sizes, networks: i64, rows: i64, kind: (Kind, Device)) -> Batch {
        let empty = |columns: i64| Tensor::empty([networks, rows, columns], kind);
        Batch {
            input: empty(sizes.input),
            hidden: [empty(sizes.hidden), empty(sizes.hidden)],
            hidden_gradients: [empty(sizes.hidden), empty(sizes.hidden)],
            output: empty(sizes.output),
            target: empty(sizes.output).to_kind(Kind::Float),
        }
    }
}

/// Networks that train together.
pub(crate) struct Stack {
    networks: Vec<NetworkSpec>,
    parameters: Layers,
    /// The weights used in the products: the parameters themselves, or their copy in bfloat16.
    compute: Layers,
    gradients: Layers,
    flat: FlatBuffers,
    /// (n, 1, K): 2 / k for the k outputs of a network and 0 for the other columns. Divided by the number of
    /// rows in a batch, it is the factor from the residual to the gradient of the mean squared error.
    factor: Tensor,
    adam: Adam,
    lr: f64,
    /// Buffers for each batch size that occurs.
    batches: Vec<(i64, Batch)>,
}

/// The flat buffers that the layers are views of.
struct FlatBuffers {
    values: Tensor,
    gradients: Tensor,
    /// The values in bfloat16, if the products use bfloat16.
    copy: Option<Tensor>,
}

impl Stack {
    /// New networks for `training`, on its device and in its kind. `rows` lists the batch sizes that will be
    /// used.
    pub(crate) fn new(sizes: Sizes, networks: &[NetworkSpec], rows: &[i64], training: &Training) -> Stack {
        let (kind, device) = (training.features[0].kind(), training.features[0].device());
        let count = networks.len() as i64;
        let zeros = |kind: Kind| Tensor::zeros([count * sizes.parameters()], (kind, device));
        let (values, gradients) = (zeros(Kind::Float), zeros(kind));
        let parameters = Layers::view(&values, &sizes, count);
        for (index, network) in networks.iter().enumerate() {
            draw(&parameters, index as i64, &sizes, network);
        }
        let copy = (kind != Kind::Float).then(|| values.to_kind(kind));
        let share = |k: i64, column: i64| if column < k { 2.0 / k as f32 } else { 0.0 };
        let factor: Vec<f32> = networks
            .iter()
            .flat_map(|n| (0..sizes.output).map(move |column| share(n.outputs, column)))
            .collect();
        Stack {
            networks: networks.to_vec(),
            compute: Layers::view(copy.as_ref().unwrap_or(&values), &sizes, count),
            gradients: Layers::view(&gradients, &sizes, count),
            factor: Tensor::from_slice(&factor).view([count, 1, sizes.output]).to_device(device),
            adam: Adam::folded(&values),
            lr: sizes.lr,
            flat: FlatBuffers { values, gradients, copy },
            batches: rows
                .iter()
                .map(|&rows| (rows, Batch::new(&sizes, count, rows, (kind, device))))
                .collect(),
            parameters,
        }
    }

    /// One training step of every network on the rows given by `order` (orders, B).
    ///
    /// # Panics
    /// Panics if B is not one of the batch sizes given to [`Stack::new`].
    pub(crate) fn step(&mut self, training: &Training, order: &Tensor) {
        self.differentiate(training, order);
        let FlatBuffers { values, gradients, copy } = &mut self.flat;
        self.adam.update_buffers(Buffers { values, gradients, copy: copy.as_mut() }, self.lr);
    }

    /// Outputs (R, K) of one network on standardised features `x` (R, D), float32.
    pub(crate) fn predict(&self, network: usize, x: &Tensor) -> Tensor {
        let Layers { weights, biases } = &self.parameters;
        let own = |t: &Tensor| t.get(network as i64);
        let layer = |x: &Tensor, l: usize| own(&biases[l]).addmm(x, &own(&weights[l]));
        let first = layer(x, 0).relu_();
        layer(&layer(&first, 1).relu_(), 2)
    }

    /// Computes the gradients of the mean squared errors, summed over the networks, on the rows of `order`.
    fn differentiate(&self, training: &Training, order: &Tensor) {
        let rows = order.size()[1];
        let (_, batch) =
            self.batches.iter().find(|(size, _)| *size == rows).expect("a batch size of this stack");
        self.gather(batch, training, order);
        self.forward(batch);
        self.backward(batch);
    }

    /// Copies the rows given by `order` (orders, B) into the batch.
    fn gather(&self, batch: &Batch, training: &Training, order: &Tensor) {
        for (index, network) in self.networks.iter().enumerate() {
            let rows = order.get(network.order as i64);
            let into = |t: &Tensor| t.get(index as i64);
            let _ = training.features[network.features].index_select_out(&into(&batch.input), 0, &rows);
            let _ = training.targets[network.targets].index_select_out(&into(&batch.target), 0, &rows);
        }
    }

    /// Fills `batch.hidden` and `batch.output` from `batch.input`.
    fn forward(&self, batch: &Batch) {
        let Layers { weights, biases } = &self.compute;
        let [first, second] = &batch.hidden;
        let _ = biases[0].baddbmm_out(first, &batch.input, &weights[0]);
        let _ = first.shallow_clone().relu_();
        let _ = biases[1].baddbmm_out(second, first, &weights[1]);
        let _ = second.shallow_clone().relu_();
        let _ = biases[2].baddbmm_out(&batch.output, second, &weights[2]);
    }

    /// Computes the gradients from the forward pass. The gradient of the features is not needed and not
    /// computed.
    fn backward(&self, batch: &Batch) {
        let weights = &self.compute.weights;
        let [first, second] = &batch.hidden;
        let [first_gradient, second_gradient] = &batch.hidden_gradients;
        let mut residual = batch.target.shallow_clone();
        let _ = residual.g_sub_(&batch.output);
        let _ = residual.g_mul_(&(&self.factor / -(batch.target.size()[1] as f64)));
        let residual = residual.to_kind(batch.output.kind());
        self.layer_gradient(2, second, &residual);
        through(&residual, &weights[2], second, second_gradient);
        self.layer_gradient(1, first, second_gradient);
        through(second_gradient, &weights[1], first, first_gradient);
        self.layer_gradient(0, &batch.input, first_gradient);
    }

    /// Computes the gradients of a layer's weights and biases from its input (n, B, in) and the gradient of
    /// its output (n, B, out).
    fn layer_gradient(&self, layer: usize, input: &Tensor, output: &Tensor) {
        let _ = input.transpose(1, 2).bmm_out(&self.gradients.weights[layer], output);
        let _ = output.sum_intlist_out(&self.gradients.biases[layer], &[1i64][..], true, output.kind());
    }
}

/// Writes the initial weights of a network, drawn like those of torch's `Linear`. For one seed they are the
/// same for all problems. Columns beyond the problem's outputs stay zero, because their gradient is zero.
fn draw(parameters: &Layers, index: i64, sizes: &Sizes, network: &NetworkSpec) {
    let widths = [sizes.hidden, sizes.hidden, network.outputs];
    for (layer, ((inputs, _), width)) in sizes.layers().into_iter().zip(widths).enumerate() {
        let device = parameters.weights[layer].device();
        let (weight, bias) = linear_layer(network.seed, layer as u64, inputs, width, device);
        let part = |t: &Tensor| t.get(index).narrow(1, 0, width);
        part(&parameters.weights[layer]).copy_(&weight.tr());
        part(&parameters.biases[layer]).copy_(&bias.unsqueeze(0));
    }
}

/// Writes the gradient of a hidden activation (n, B, H) to `into`, given the gradient of the next layer's
/// output (n, B, out).
fn through(output: &Tensor, weight: &Tensor, activation: &Tensor, into: &Tensor) {
    let _ = output.bmm_out(into, &weight.transpose(1, 2));
    let _ = activation.threshold_backward_grad_input(into, into, 0.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_models::test_device::{test_device, test_tensor};

    const SIZES: Sizes = Sizes { input: 5, hidden: 8, output: 3, lr: 1e-2 };
    const ROWS: i64 = 6;

    fn pattern(size: &[i64], frequency: f64) -> Tensor {
        let count: i64 = size.iter().product();
        (Tensor::arange(count, (Kind::Float, test_device())) * frequency).sin().view(size)
    }

    /// Six networks: three problems with 1, 3 and 2 outputs on two feature sets, with two seeds each.
    fn setting() -> (Vec<NetworkSpec>, Training, Tensor) {
        let network = |targets: usize, order: usize| NetworkSpec {
            features: targets % 2,
            targets,
            outputs: [1, 3, 2][targets],
            order,
            seed: 3 + order as u64,
        };
        let networks = (0..6).map(|g| network(g / 2, g % 2)).collect();
        let features = vec![pattern(&[20, 5], 0.7), pattern(&[20, 5], 1.3)];
        let targets = (0..3).map(|p| pattern(&[20, 3], 0.9 + f64::from(p))).collect();
        let order = test_tensor(&[0i64, 5, 19, 2, 7, 11, 3, 4, 18, 0, 1, 9]).view([2, ROWS]);
        (networks, Training { features, targets }, order)
    }

    fn tensors(layers: &Layers) -> Vec<&Tensor> {
        layers.weights.iter().chain(&layers.biases).collect()
    }

    /// Gradients of the sum of the networks' losses, computed by autograd for each network separately, in the
    /// order of `tensors`.
    fn by_autograd(stack: &Stack, training: &Training, order: &Tensor) -> Vec<Tensor> {
        let leaves: Vec<Tensor> =
            tensors(&stack.parameters).into_iter().map(|t| t.copy().set_requires_grad(true)).collect();
        let mut loss = Tensor::zeros([], (Kind::Float, test_device()));
        for (g, network) in stack.networks.iter().enumerate() {
            let rows = order.get(network.order as i64);
            let layer =
                |x: Tensor, l: usize| x.matmul(&leaves[l].get(g as i64)) + leaves[3 + l].get(g as i64);
            let input = training.features[network.features].index_select(0, &rows);
            let output = layer(layer(layer(input, 0).relu(), 1).relu(), 2);
            let target = training.targets[network.targets].index_select(0, &rows);
            let own = |t: &Tensor| t.narrow(1, 0, network.outputs);
            loss += own(&output).mse_loss(&own(&target), tch::Reduction::Mean);
        }
        Tensor::run_backward(&[loss], &leaves, false, false)
    }

    #[test]
    fn gradients_agree_with_autograd() {
        let (networks, training, order) = setting();
        let stack = Stack::new(SIZES, &networks, &[ROWS], &training);
        stack.differentiate(&training, &order);
        let expected = by_autograd(&stack, &training, &order);
        for (index, (found, expected)) in tensors(&stack.gradients).into_iter().zip(&expected).enumerate() {
            let worst = (found - expected).abs().max().double_value(&[]);
            assert!(expected.abs().max().double_value(&[]) > 1e-3, "tensor {index} has no gradient to check");
            assert!(worst < 1e-6, "tensor {index}: largest difference {worst}");
        }
    }

    #[test]
    fn columns_that_a_problem_lacks_stay_zero() {
        let (networks, training, order) = setting();
        let mut stack = Stack::new(SIZES, &networks, &[ROWS], &training);
        let before = stack.predict(0, &training.features[0]);
        (0..5).for_each(|_| stack.step(&training, &order));
        let after = stack.predict(0, &training.features[0]);
        assert_eq!(after.narrow(1, 1, 2).abs().max().double_value(&[]), 0.0);
        assert!((after - before).abs().max().double_value(&[]) > 1e-3);
    }
}
