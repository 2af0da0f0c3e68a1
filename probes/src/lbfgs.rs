//! L-BFGS as a state machine. The caller evaluates the objective at a trial point and passes in the result.
//! This allows many minimisations to run in parallel, with their objectives evaluated together. What they
//! decide by is read together, too: to read a number is to wait for the device.
//!
//! With each value the caller passes a positive diagonal that approximates the diagonal of the Hessian. Its
//! inverse H, scaled as usual by s'y / y'Hy, replaces the identity in the two-loop recursion (Nocedal and
//! Wright, algorithm 7.4).

use std::collections::VecDeque;
use tch::{Kind, Tensor};

/// Number of stored pairs.
const MEMORY: usize = 10;
/// Armijo condition: a step must achieve at least this share of the decrease predicted by the slope.
const ARMIJO: f64 = 1e-4;
/// Relative change of the value that may be rounding error. For smaller changes, acceptance depends on the
/// slopes (approximate Wolfe condition of Hager and Zhang).
const ROUNDING: f64 = 1e-6;
/// Number of consecutive steps that may be rejected before the direction is abandoned.
const REFUSALS: usize = 12;
/// Number of products that decide on a trial point.
pub(crate) const PRODUCTS: usize = 4;
/// The search ends after this many consecutive iterations whose expected decrease is too small.
const CALM: usize = 2;

/// State of a minimisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// [`Lbfgs::trial`] must be evaluated next.
    Searching,
    /// The expected decrease, -g'd/2, was too small in two consecutive iterations.
    Converged,
    /// No step along the gradient decreases the value any more, because of rounding.
    Stalled,
}

/// One minimisation.
pub(crate) struct Lbfgs {
    /// Accepted point (P), f64.
    point: Tensor,
    /// Gradient at the accepted point (P), float32, or `None` before the first value.
    gradient: Option<Tensor>,
    value: f64,
    /// Search direction from the accepted point, (P) float32, followed by the slope along it and the trial
    /// step.
    direction: Tensor,
    slope: f64,
    step: f64,
    refusals: usize,
    calm: usize,
    iterations: usize,
    pairs: VecDeque<Pair>,
    state: State,
}

/// A step s and the resulting change y of the gradient, (P) float32 each, with 1 / s'y.
struct Pair {
    s: Tensor,
    y: Tensor,
    inverse: f64,
}

/// What a search is told of its trial point.
pub(crate) struct Found {
    pub value: f64,
    /// [`Lbfgs::products`], read.
    pub products: [f64; PRODUCTS],
    /// (P), float32
    pub gradient: Tensor,
    /// (P), float32: approximates the diagonal of the Hessian.
    pub curvature: Tensor,
    /// An expected decrease up to this is too small to go on.
    pub small: f64,
}

/// Advances searches, and reads the device once for all of them.
pub(crate) fn advance<'a>(searches: impl Iterator<Item = (&'a mut Lbfgs, Found)>) {
    let mut turned: Vec<(&mut Lbfgs, f64, Tensor)> = Vec::new();
    for (search, found) in searches {
        let small = found.small;
        if let Some(slope) = search.update(found) {
            turned.push((search, small, slope));
        }
    }
    if turned.is_empty() {
        return;
    }
    let slopes = Tensor::stack(&turned.iter().map(|(_, _, slope)| slope).collect::<Vec<_>>(), 0);
    let slopes: Vec<f64> = Vec::try_from(slopes).expect("a row of numbers");
    for ((search, small, _), slope) in turned.into_iter().zip(slopes) {
        search.start(slope, small);
    }
}

impl Lbfgs {
    /// A search from `start` (P).
    pub(crate) fn new(start: &Tensor) -> Lbfgs {
        Lbfgs {
            point: start.to_kind(Kind::Double),
            gradient: None,
            value: f64::INFINITY,
            direction: start.to_kind(Kind::Float).zeros_like(),
            slope: 0.0,
            step: 0.0,
            refusals: 0,
            calm: 0,
            iterations: 0,
            pairs: VecDeque::new(),
            state: State::Searching,
        }
    }

    /// The point (P), f64, to evaluate next.
    pub(crate) fn trial(&self) -> Tensor {
        &self.point + &self.direction * self.step
    }

    /// The best point (P), f64.
    pub(crate) fn point(&self) -> &Tensor {
        &self.point
    }

    /// The value at the best point.
    pub(crate) fn value(&self) -> f64 {
        self.value
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Number of accepted steps.
    pub(crate) fn iterations(&self) -> usize {
        self.iterations
    }

    /// With the gradient (P), float32, at [`Lbfgs::trial`]: the slope along the direction there, and the
    /// products s'y, s's and y'y for the step s and the change y of the gradient; (4), f64. Zeros before the
    /// first value.
    pub(crate) fn products(&self, gradient: &Tensor) -> Tensor {
        let Some(previous) = &self.gradient else {
            return Tensor::zeros([PRODUCTS as i64], (Kind::Double, gradient.device()));
        };
        let (s, y) = (&self.direction * self.step, gradient - previous);
        Tensor::stack(&[dot(gradient, &self.direction), dot(&s, &y), dot(&s, &s), dot(&y, &y)], 0)
    }

    /// Takes what was found at [`Lbfgs::trial`]. Returns the slope along the next direction if there is one,
    /// for [`Lbfgs::start`].
    fn update(&mut self, found: Found) -> Option<Tensor> {
        let Found { value, products: [slope, product, ss, yy], gradient, curvature, .. } = found;
        let Some(previous) = &self.gradient else {
            (self.value, self.gradient) = (value, Some(gradient));
            return Some(self.turn(&curvature));
        };
        let (s, y) = (&self.direction * self.step, &gradient - previous);
        if !self.acceptable(value, slope) {
            return self.refuse(value, &curvature);
        }
        if product > 1e-10 * (ss * yy).sqrt() {
            if self.pairs.len() == MEMORY {
                self.pairs.pop_front();
            }
            self.pairs.push_back(Pair { s, y, inverse: 1.0 / product });
        }
        self.point = self.trial();
        (self.value, self.gradient) = (value, Some(gradient));
        self.iterations += 1;
        Some(self.turn(&curvature))
    }

    /// Whether the trial step is good enough; `slope` is that along the direction at its end.
    fn acceptable(&self, value: f64, slope: f64) -> bool {
        let enough = value <= self.value + ARMIJO * self.step * self.slope;
        let level = value <= self.value + ROUNDING * self.value.abs();
        enough || level && slope <= (2.0 * ARMIJO - 1.0) * self.slope
    }

    /// Shortens the step to the minimum of the parabola through both values and the slope, limited to between
    /// a tenth and a half of the step. After too many refusals, turns into the direction of the gradient and
    /// returns the slope along it.
    fn refuse(&mut self, value: f64, curvature: &Tensor) -> Option<Tensor> {
        self.refusals += 1;
        if self.refusals > REFUSALS {
            if self.pairs.is_empty() {
                self.state = State::Stalled;
                return None;
            }
            self.pairs.clear();
            return Some(self.turn(curvature));
        }
        let bend = value - self.value - self.step * self.slope;
        let parabola = -self.slope * self.step / (2.0 * bend);
        let factor = if parabola.is_finite() { parabola.clamp(0.1, 0.5) } else { 0.1 };
        self.step *= factor;
        None
    }

    /// Sets the next direction, -Hg, by the two-loop recursion, and returns the slope along it. Its factors
    /// stay on the device, which would have to be waited for to read each of them.
    fn turn(&mut self, curvature: &Tensor) -> Tensor {
        let gradient = self.gradient.as_ref().expect("set by the first update");
        let mut direction = -gradient;
        let mut shares = Vec::with_capacity(self.pairs.len());
        for Pair { s, y, inverse } in self.pairs.iter().rev() {
            let share = dot(s, &direction) * *inverse;
            direction -= y * &share;
            shares.push(share);
        }
        if let Some(Pair { y, inverse, .. }) = self.pairs.back() {
            direction *= (dot(y, &(y / curvature)) * *inverse).reciprocal();
        }
        direction /= curvature;
        for (Pair { s, y, inverse }, share) in self.pairs.iter().zip(shares.into_iter().rev()) {
            direction += s * (share - dot(y, &direction) * *inverse);
        }
        let slope = dot(gradient, &direction);
        self.direction = direction;
        slope
    }

    /// Starts along the direction, which has this slope.
    fn start(&mut self, slope: f64, small: f64) {
        self.slope = slope;
        (self.step, self.refusals) = (1.0, 0);
        self.calm = if -self.slope / 2.0 <= small { self.calm + 1 } else { 0 };
        if self.calm >= CALM || self.slope == 0.0 {
            self.state = State::Converged;
        }
    }
}

/// A product of two vectors as a number on their device, f64 without dimensions.
fn dot(a: &Tensor, b: &Tensor) -> Tensor {
    a.dot(b).to_kind(Kind::Double)
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_models::test_device::{test_device, test_tensor};

    /// Runs a search to its end with an objective that returns value and gradient. Returns the search and the
    /// number of evaluations.
    fn run(
        start: &Tensor,
        curvature: &Tensor,
        objective: impl Fn(&Tensor) -> (f64, Tensor),
    ) -> (Lbfgs, usize) {
        let mut search = Lbfgs::new(start);
        let mut evaluations = 0;
        while search.state() == State::Searching && evaluations < 2000 {
            let (value, gradient) = objective(&search.trial());
            let gradient = gradient.to_kind(Kind::Float);
            let products: Vec<f64> = Vec::try_from(search.products(&gradient)).unwrap();
            let (products, curvature) = (products.try_into().unwrap(), curvature.shallow_clone());
            let found = Found { value, products, gradient, curvature, small: 1e-9 * value };
            advance(std::iter::once((&mut search, found)));
            evaluations += 1;
        }
        (search, evaluations)
    }

    /// A quadratic with condition number 10^6 and a known minimum is solved in a few steps with its diagonal,
    /// and in more steps without it.
    #[test]
    fn finds_the_minimum_of_a_quadratic() {
        let diagonal = Tensor::arange(30, (Kind::Double, test_device()))
            .multiply_scalar(-0.2 * std::f64::consts::LN_10)
            .exp();
        let minimum = Tensor::arange(30, (Kind::Double, test_device())).sin();
        let objective = |x: &Tensor| {
            let off = x - &minimum;
            let gradient = &off * &diagonal;
            (0.5 * (&off * &gradient).sum(Kind::Double).double_value(&[]) + 1.0, gradient)
        };
        let start = minimum.zeros_like();
        let (search, evaluations) = run(&start, &diagonal.to_kind(Kind::Float), objective);
        assert_eq!(search.state(), State::Converged);
        assert!(evaluations < 8 && search.value() < 1.0 + 1e-8, "{evaluations} {}", search.value());
        let ones = start.to_kind(Kind::Float).ones_like();
        let (search, evaluations) = run(&start, &ones, objective);
        assert!(evaluations < 800 && search.value() < 1.0 + 1e-5, "{evaluations} {}", search.value());
    }

    /// Rosenbrock's function, where steps of 1 are too long. They are rejected and shortened, and the minimum
    /// at (1, 1) is found.
    #[test]
    fn follows_a_curved_valley() {
        let objective = |p: &Tensor| {
            let (x, y) = (p.double_value(&[0]), p.double_value(&[1]));
            let bend = y - x * x;
            let gradient = [-400.0 * x * bend - 2.0 * (1.0 - x), 200.0 * bend];
            (100.0 * bend * bend + (1.0 - x).powi(2) + 1.0, test_tensor(&gradient))
        };
        let start = test_tensor(&[-1.2, 1.0]);
        let (search, _) = run(&start, &test_tensor(&[1.0f32, 1.0]), objective);
        let off = (search.point() - 1.0).abs().max().double_value(&[]);
        assert!(off < 1e-3, "{:?} {off}", search.state());
    }
}
