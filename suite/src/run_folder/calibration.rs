//! What a calibration says: planted against measured R2, and from where on a probe tells it from nothing.

use std::fmt;

use eqr_probes::bootstrap::Resampled;

use crate::registry::{Predictor, R2Metric};
use crate::suite_file::plant::{Code, Plant};

/// The probes that are calibrated.
const PREDICTORS: [Predictor; 2] = [Predictor::Linear, Predictor::Mlp];

/// The R2 that a probe reads of planted encoders: per output, mean over the probe's seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Planted {
    /// What is planted.
    pub plant: Plant,
    /// The transformation.
    pub task: String,
    /// The probe.
    pub predictor: Predictor,
    /// What was measured, at least one value: one an encoder.
    values: Vec<f64>,
    /// 95% interval over the test objects of a single encoder; `None` if these are too few.
    interval: Option<(f64, f64)>,
}

/// All readings, each curve from nothing to all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    readings: Vec<Planted>,
}

/// The readings of one probe: of one code and task, ascending in what is planted.
#[derive(Clone, Debug, PartialEq)]
pub struct CalibrationCurve<'a> {
    /// The transformation.
    pub task: &'a str,
    /// How features carry it.
    pub code: Code,
    /// The probe.
    pub predictor: Predictor,
    /// The readings, ascending in what is planted.
    pub readings: Vec<&'a Planted>,
}

/// From where on a probe tells what is planted from nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DetectionLimit {
    /// From this planted R2 on: for it and all larger ones, the 95% interval lies above what the probe reads
    /// of every encoder without the parameters.
    At(f64),
    /// Not even all of it.
    Never,
    /// There are too few test objects for an interval.
    Unknown,
}

fn fold(of: fn(f64, f64) -> f64, values: &[f64]) -> f64 {
    values.iter().copied().reduce(of).expect("at least one encoder was measured")
}

/// Differences in R2 that are rounding errors of features in float32.
const ROUNDING: f64 = 1e-4;

impl fmt::Display for DetectionLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DetectionLimit::At(planted) => write!(f, "{planted}"),
            DetectionLimit::Never => f.write_str("not even 1"),
            DetectionLimit::Unknown => f.write_str("unknown, too few test objects for intervals"),
        }
    }
}

impl Planted {
    /// What the probe attains at best, in closed form; `None` where it has no simple form.
    pub fn attainable(&self) -> Option<f64> {
        self.plant.attainable(&self.task, self.predictor)
    }

    /// What was measured; of several encoders their mean.
    pub fn value(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.values.len() as f64
    }

    /// 95% interval over test objects; of several encoders the range of their values.
    pub fn interval(&self) -> Option<(f64, f64)> {
        if self.values.len() == 1 { self.interval } else { Some((fold(f64::min, &self.values), self.most())) }
    }

    fn most(&self) -> f64 {
        fold(f64::max, &self.values)
    }

    /// Whether the interval holds what is attainable. The interval of a perfect fit is one of rounding
    /// errors.
    pub fn holds_attainable(&self) -> Option<bool> {
        let ((low, high), attainable) = self.interval().zip(self.attainable())?;
        Some((low - ROUNDING..=high + ROUNDING).contains(&attainable))
    }
}

impl Calibration {
    /// The readings of planted encoders on `tasks`. `values` looks up a metric by plant, task and metric: one
    /// value an encoder, the mean over the probe's seeds. `draws` looks up its draws over test objects if the
    /// plant has one encoder. Readings without a value are left out.
    pub fn new(
        tasks: &[String],
        values: impl Fn(Plant, &str, &str) -> Vec<f64>,
        draws: impl Fn(Plant, &str, &str) -> Option<Resampled>,
    ) -> Calibration {
        let mut readings = Vec::new();
        for task in tasks {
            for plant in Plant::all().into_iter().filter(|plant| plant.carries(task)) {
                for predictor in PREDICTORS {
                    let metric = R2Metric { predictor, ..R2Metric::PER_OUTPUT }.to_string();
                    let values = values(plant, task, &metric);
                    if !values.is_empty() {
                        let interval = draws(plant, task, &metric).map(|draws| draws.interval());
                        readings.push(Planted { plant, task: task.clone(), predictor, values, interval });
                    }
                }
            }
        }
        Calibration { readings }
    }

    /// The curves: of a task its codes, of a code its probes.
    pub fn curves(&self) -> Vec<CalibrationCurve<'_>> {
        let mut curves: Vec<CalibrationCurve> = Vec::new();
        for reading in &self.readings {
            let Planted { task, plant: Plant { code, .. }, predictor, .. } = reading;
            let key = (task.as_str(), *code, *predictor);
            match curves.iter_mut().find(|curve| (curve.task, curve.code, curve.predictor) == key) {
                Some(curve) => curve.readings.push(reading),
                None => curves.push(CalibrationCurve {
                    task,
                    code: *code,
                    predictor: *predictor,
                    readings: vec![reading],
                }),
            }
        }
        curves
    }
}

impl CalibrationCurve<'_> {
    /// The most that the probe reads of an encoder without the parameters.
    pub fn most_of_nothing(&self) -> Option<f64> {
        self.readings.iter().find(|reading| reading.plant.is_absent()).map(|absent| absent.most())
    }

    /// From where on the probe tells what is planted from nothing.
    pub fn detection_limit(&self) -> DetectionLimit {
        let Some(nothing) = self.most_of_nothing() else { return DetectionLimit::Unknown };
        let planted = || self.readings.iter().rev().filter(|reading| !reading.plant.is_absent());
        if planted().any(|reading| reading.interval.is_none()) {
            return DetectionLimit::Unknown;
        }
        let is_told = |reading: &&&Planted| reading.interval.is_some_and(|(low, _)| low > nothing);
        let told = planted().take_while(is_told);
        told.last().map_or(DetectionLimit::Never, |reading| DetectionLimit::At(reading.plant.r2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limit of readings whose intervals begin at `lows`. The absent encoders read up to the first.
    fn limit(lows: [f64; 9]) -> DetectionLimit {
        let low = |plant: Plant| lows[Plant::all().iter().position(|other| *other == plant).unwrap()];
        let calibration = Calibration::new(
            &["rotation".to_owned()],
            |plant, _, metric| match (metric, plant.is_absent()) {
                ("r2_per_output", true) => vec![low(plant) - 1.0, low(plant)],
                ("r2_per_output", false) => vec![low(plant) + 0.1],
                _ => vec![],
            },
            |plant, _, _| Resampled::from_values(vec![low(plant); 3]),
        );
        let [curve] = &calibration.curves()[..] else { panic!("{calibration:?}") };
        assert_eq!((curve.task, curve.code, curve.readings.len()), ("rotation", Code::Plain, 9));
        curve.detection_limit()
    }

    /// Planted are 0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8 and 1.
    #[test]
    fn a_limit_has_no_gap_above_it() {
        let told = [0.0, -0.1, -0.1, -0.1, 0.1, 0.2, 0.5, 0.8, 1.0];
        assert_eq!(limit(told), DetectionLimit::At(0.1));
        // what counts are the absent encoders, not zero
        assert_eq!(limit(told.map(|low| low - 5.0)), DetectionLimit::At(0.1));
        let mut gap = told;
        gap[6] = -0.1;
        assert_eq!(limit(gap), DetectionLimit::At(0.8));
        gap[8] = -0.1;
        assert_eq!(limit(gap), DetectionLimit::Never);
    }

    #[test]
    fn without_intervals_nothing_is_said() {
        let calibration = Calibration::new(&["color".to_owned()], |_, _, _| vec![0.5], |_, _, _| None);
        let curves = calibration.curves();
        assert_eq!(curves.len(), 4, "two codes, two probes");
        assert!(curves.iter().all(|curve| curve.detection_limit() == DetectionLimit::Unknown));
        assert_eq!(curves[0].readings[0].holds_attainable(), None);
    }

    #[test]
    fn several_encoders_are_read_by_their_mean_and_range() {
        let calibration =
            Calibration::new(&["color".to_owned()], |_, _, _| vec![0.2, -0.3, 0.1], |_, _, _| None);
        let first = calibration.curves()[0].readings[0].clone();
        assert!(first.value().abs() < 1e-12 && first.interval() == Some((-0.3, 0.2)), "{first:?}");
        assert_eq!(first.holds_attainable(), Some(true));
    }
}
