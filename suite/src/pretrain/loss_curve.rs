//! Loss terms and norms of every step. They form the loss curve, and a value that is not finite stops the
//! training.

use std::collections::BTreeMap;

use anyhow::Result;
use eqr_models::Arena;
use eqr_models::step::LossTerms;
use tch::Tensor;

use crate::pretrain::divergence::Divergence;
use crate::run_folder::cell::CurvePoint;
use crate::run_folder::curve_sums::CurveSums;

/// Number of points in a loss curve.
const CURVE_POINTS: u64 = 200;

/// Points of the curve from one measurement of the encoder's gradient by term to the next. A measurement
/// costs a backward pass a term, so that 20 of them cost little beside the training.
const POINTS_PER_MEASUREMENT: u64 = 10;

/// Loss terms and norms of one step. They stay on the device until the next step is queued, so that reading
/// them does not stall the device.
pub struct StepReading {
    step: u64,
    names: Vec<&'static str>,
    /// The terms, the norm of the gradient, and the norm of the parameters before the update.
    values: Tensor,
    /// Norm of the encoder's gradient by term, if measured.
    encoder_gradient: Vec<(&'static str, f64)>,
}

impl StepReading {
    /// Takes the reading of step `step`. Must be called after the gradient is computed and before the update.
    /// `encoder_gradient` is empty if it was not measured at this step.
    pub fn new(
        step: u64,
        terms: &LossTerms,
        arena: &Arena,
        encoder_gradient: Vec<(&'static str, f64)>,
    ) -> Self {
        let values = tch::no_grad(|| {
            let norms = [arena.gradient().norm(), arena.master().norm()];
            let values: Vec<Tensor> =
                terms.iter().map(|(_, term)| term.view([] as [i64; 0])).chain(norms).collect();
            Tensor::stack(&values, 0)
        });
        StepReading { step, names: terms.iter().map(|(name, _)| *name).collect(), values, encoder_gradient }
    }
}

/// The loss curve: each point is the mean over the steps since the previous point. Each epoch ends with a
/// point.
pub struct LossCurve {
    steps_per_point: u64,
    sums: CurveSums,
    pending: Option<StepReading>,
}

impl LossCurve {
    /// The curve of a training of `total` steps. For a resumed training, `sums` holds the sums since its last
    /// point.
    pub fn new(total: u64, sums: CurveSums) -> Self {
        LossCurve { steps_per_point: total.div_ceil(CURVE_POINTS).max(1), sums, pending: None }
    }

    /// Whether the encoder's gradient by term is due at step `step` of `total`: at every tenth point of the
    /// curve, and at the last step.
    pub fn encoder_gradient_is_due(&self, step: u64, total: u64) -> bool {
        step.is_multiple_of(self.steps_per_point * POINTS_PER_MEASUREMENT) || step == total
    }

    /// Reads the last step when the training stops. Returns the point that is due and the sums for the next
    /// one.
    ///
    /// # Errors
    /// Same as [`LossCurve::push`].
    pub fn stop(&mut self) -> Result<(Option<CurvePoint>, CurveSums), Divergence> {
        let last = self.pending.take().map(|reading| self.add(&reading, false)).transpose()?;
        Ok((last.flatten(), std::mem::take(&mut self.sums)))
    }

    /// Stores the reading of a step and reads the previous step; at the end of an epoch, reads both. Returns
    /// the points that are due.
    ///
    /// # Errors
    /// The first step with a term or a norm that is not finite.
    pub fn push(&mut self, reading: StepReading, epoch_ends: bool) -> Result<Vec<CurvePoint>, Divergence> {
        let before = self.pending.replace(reading).map(|reading| (reading, false));
        let last = if epoch_ends { self.pending.take().map(|reading| (reading, true)) } else { None };
        let points = before.into_iter().chain(last).map(|(reading, ends)| self.add(&reading, ends));
        Ok(points.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    fn add(&mut self, reading: &StepReading, epoch_ends: bool) -> Result<Option<CurvePoint>, Divergence> {
        let StepReading { step, names, values, .. } = reading;
        let values: Vec<f64> = Vec::try_from(values).expect("a row of numbers");
        let (values, norms) = values.split_at(names.len());
        let terms: Vec<(&'static str, f64)> = names.iter().copied().zip(values.iter().copied()).collect();
        let (gradient_norm, parameter_norm) = (norms[0], norms[1]);
        if !gradient_norm.is_finite() || values.iter().any(|value| !value.is_finite()) {
            return Err(Divergence { step: *step, terms, gradient_norm, parameter_norm });
        }
        for (name, value) in terms {
            *self.sums.terms.entry(name.to_owned()).or_default() += value;
        }
        self.sums.gradient_norms += gradient_norm;
        self.sums.count += 1;
        Ok((step.is_multiple_of(self.steps_per_point) || epoch_ends).then(|| self.point(reading)))
    }

    fn point(&mut self, StepReading { step, encoder_gradient, .. }: &StepReading) -> CurvePoint {
        let CurveSums { terms, gradient_norms, count } = std::mem::take(&mut self.sums);
        let count = count as f64;
        let mut terms: BTreeMap<String, f64> =
            terms.into_iter().map(|(name, sum)| (name, sum / count)).collect();
        terms.insert("loss".into(), terms.values().sum());
        let gradient_norm = Some(gradient_norms / count);
        let encoder_gradient = encoder_gradient.iter().map(|&(name, norm)| (name.to_owned(), norm)).collect();
        CurvePoint { step: *step, terms, gradient_norm, encoder_gradient }
    }
}

#[cfg(test)]
mod tests {
    use eqr_models::init::Init;
    use eqr_models::{Arena, Compute, ParameterGroup, Registry};
    use tch::{Device, Tensor};

    use super::{CurveSums, LossCurve, StepReading};

    fn arena(gradient: f32) -> Arena {
        let mut registry = Registry::default();
        registry.add(ParameterGroup::Global, "a", &[4], Init::Constant(0.5));
        let mut arena = Arena::new(registry, 0, Compute::F32, Device::Cpu);
        arena.store_gradients(ParameterGroup::Global, &[Tensor::from_slice(&[gradient; 4])]);
        arena
    }

    #[test]
    fn points_are_means_and_the_last_step_of_an_epoch_is_read_at_once() {
        let arena = arena(3.0);
        let mut curve = LossCurve::new(400, CurveSums::default());
        let mut points = Vec::new();
        for step in 1..=5 {
            let reading =
                StepReading::new(step, &vec![("mse", Tensor::from(step as f32))], &arena, Vec::new());
            points.extend(curve.push(reading, step == 5).unwrap());
        }
        let steps: Vec<(u64, f64)> = points.iter().map(|point| (point.step, point.terms["mse"])).collect();
        assert_eq!(steps, [(2, 1.5), (4, 3.5), (5, 5.0)]);
        assert_eq!(points[0].gradient_norm, Some(6.0));
    }

    #[test]
    fn a_stop_between_two_points_leaves_the_curve_as_it_is() {
        let arena = arena(3.0);
        let reading =
            |step: u64| StepReading::new(step, &vec![("mse", Tensor::from(step as f32))], &arena, Vec::new());
        let drawn = |stop: Option<u64>| {
            let (mut curve, mut points) = (LossCurve::new(800, CurveSums::default()), Vec::new());
            for step in 1..=8 {
                points.extend(curve.push(reading(step), step == 8).unwrap());
                if stop == Some(step) {
                    let (found, sums) = curve.stop().unwrap();
                    points.extend(found);
                    curve = LossCurve::new(800, sums);
                }
            }
            points
        };
        assert_eq!(drawn(None).iter().map(|point| point.step).collect::<Vec<_>>(), [4, 8]);
        (1..8).for_each(|step| assert_eq!(drawn(Some(step)), drawn(None), "stopped after step {step}"));
    }

    #[test]
    fn a_term_or_a_gradient_that_is_not_finite_is_found_one_step_later_at_most() {
        let good = arena(1.0);
        let mut curve = LossCurve::new(10, CurveSums::default());
        let reading = |step, term: f32, arena: &Arena| {
            StepReading::new(
                step,
                &vec![("a", Tensor::from(1.0f32)), ("b", Tensor::from(term))],
                arena,
                Vec::new(),
            )
        };
        assert!(curve.push(reading(1, 1.0, &good), false).is_ok());
        assert!(curve.push(reading(2, f32::NAN, &good), false).is_ok());
        let found = curve.push(reading(3, 1.0, &good), false).unwrap_err();
        assert_eq!(found.step, 2);
        assert!(found.to_string().contains("loss term `b` is NaN"), "{found}");
        assert_eq!(found.report()["not_finite"], serde_json::json!(["b"]));
        assert_eq!(found.parameter_norm, 1.0);

        let found = LossCurve::new(10, CurveSums::default())
            .push(reading(7, 1.0, &arena(f32::INFINITY)), true)
            .unwrap_err();
        assert!(found.to_string().contains("step 7: the gradient's norm is inf"), "{found}");
    }
}
