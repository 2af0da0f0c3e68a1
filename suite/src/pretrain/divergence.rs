//! A training whose loss or gradient is no longer finite.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

/// A loss term or gradient that is not finite. Every rank sees the same terms and the same summed gradient,
/// so every rank stops at the same step.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    /// The step, counted from 1. At most one more step was taken before this one was read.
    pub step: u64,
    /// Loss terms of the global batch.
    pub terms: Vec<(&'static str, f64)>,
    /// Norm of the gradient of the global batch.
    pub gradient_norm: f64,
    /// Norm of the parameters before the step.
    pub parameter_norm: f64,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut causes: Vec<String> =
            self.terms_not_finite().map(|(name, value)| format!("loss term `{name}` is {value}")).collect();
        if !self.gradient_norm.is_finite() {
            causes.push(format!("the gradient's norm is {}", self.gradient_norm));
        }
        let (step, norm) = (self.step, self.parameter_norm);
        write!(f, "diverged at step {step}: {} (norm of the parameters {norm:.3e})", causes.join(", "))
    }
}

impl Divergence {
    fn terms_not_finite(&self) -> impl Iterator<Item = &(&'static str, f64)> {
        self.terms.iter().filter(|(_, value)| !value.is_finite())
    }

    /// The report as JSON. Numbers that are not finite become strings.
    pub fn report(&self) -> Value {
        let number = |value: f64| if value.is_finite() { json!(value) } else { json!(value.to_string()) };
        let terms: BTreeMap<&str, Value> =
            self.terms.iter().map(|&(name, value)| (name, number(value))).collect();
        let not_finite: Vec<&str> = self.terms_not_finite().map(|(name, _)| *name).collect();
        json!({
            "step": self.step,
            "not_finite": not_finite,
            "terms": terms,
            "gradient_norm": number(self.gradient_norm),
            "parameter_norm": number(self.parameter_norm),
        })
    }
}
