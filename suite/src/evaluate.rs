//! A probe cell: features of a frozen encoder once, then probes on them (protocol section 4).

use anyhow::Result;
use eqr_datasets::draw::{Purpose, rng};
use eqr_datasets::transforms::{Draws, Transform};
use eqr_datasets::{Kind, Pack, view_pairs};
use eqr_models::methods::ReconstructionPair;
use eqr_models::vit::Encoded;
use eqr_probes::classify::{LabelledFeatures, classify};
use eqr_probes::geometry::{Invariance, effective_rank};
use eqr_probes::mlp::{Fit, Problem, fit, permuted};
use eqr_probes::quaternion;
use eqr_probes::r2::{R2, constant_predictor};
use eqr_probes::ridge;
use rand::seq::SliceRandom;
use tch::Tensor;

use crate::config::{Part, Suite, Transforms};
use crate::pairs::{PairSource, render_parameters, tasks};
use crate::plan::Entry;
use crate::retrieval;
use crate::store::{Better, Metric};
use crate::train::Network;

/// Seeds of the evaluation's pairs: the same pairs for every method and pretraining seed, so that seeds pair.
const TRAIN_PAIRS_SEED: u64 = 0x7e57_0001;
const TEST_PAIRS_SEED: u64 = 0x7e57_0002;

/// Augmentation draws an image of a photograph set (protocol section 4).
const DRAWS: u64 = 2;

/// Images that are encoded at a time.
pub(crate) const ENCODE: usize = 256;

/// Test pairs that the reconstruction errors are taken over, at most.
const RECONSTRUCTED: usize = 512;

/// Suffix of metrics of pairs that differ by all transforms at once.
const COMBINED: &str = "_combined";

/// Test pairs that representations are compared on, at most.
const COMPARED: usize = 2048;

/// A split with what the probes need of it.
pub struct Evaluation<'a> {
    /// The suite.
    pub suite: &'a Suite,
    /// The data set.
    pub pack: &'a Pack,
    /// Training split.
    pub train: &'a PairSource,
    /// Test split.
    pub test: &'a PairSource,
}

/// How much of the evaluation is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Every metric, all probe seeds.
    Full,
    /// Regression probes with one seed: a point of the curve of R2 against steps.
    CurvePoint,
}

/// A measured value before it knows its cell.
pub struct Value {
    pub(crate) task: String,
    pub(crate) metric: String,
    pub(crate) eval_seed: Option<u64>,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
}

impl Value {
    /// As a row of `metrics.csv`.
    pub fn metric(self, suite: &Suite, dataset: &str, entry: &Entry, cell: &str) -> Metric {
        Metric {
            suite: suite.name.clone(),
            table: suite.table.map_or("-".to_owned(), |table| table.to_string()),
            dataset: dataset.to_owned(),
            task: self.task,
            method: entry.row.to_string(),
            metric: self.metric,
            pretrain_seed: entry.seed,
            eval_seed: self.eval_seed,
            value: self.value,
            unit: self.unit.to_owned(),
            better: self.better,
            cell: cell.to_owned(),
        }
    }
}

/// What a representation is read as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Readout {
    /// y, or a half of it.
    Y(Part),
    /// y and the quadrant means of the equivariant token map.
    Grid,
}

impl Readout {
    fn suffix(self) -> &'static str {
        match self {
            Readout::Y(Part::All) => "",
            Readout::Y(Part::Inv) => "_inv",
            Readout::Y(Part::Equi) => "_equi",
            Readout::Grid => "_grid",
        }
    }
}

/// Features of both views of pairs and what lies between the views.
struct Regression {
    task: String,
    /// [`COMBINED`] where the pairs differ by all transforms at once.
    suffix: &'static str,
    train: PairFeatures,
    test: PairFeatures,
}

struct PairFeatures {
    /// (N, 2 out)
    y: Tensor,
    /// (N, 6 out)
    grid: Tensor,
    /// (N, k)
    target: Tensor,
}

impl PairFeatures {
    /// (N, columns of both views)
    fn read(&self, readout: Readout) -> Tensor {
        let half = self.y.size()[1] / 4;
        let halves =
            |from: i64| Tensor::cat(&[self.y.narrow(1, from, half), self.y.narrow(1, 2 * half + from, half)], 1);
        match readout {
            Readout::Y(Part::All) => self.y.shallow_clone(),
            Readout::Y(Part::Inv) => halves(0),
            Readout::Y(Part::Equi) => halves(half),
            Readout::Grid => self.grid.shallow_clone(),
        }
    }
}

impl Evaluation<'_> {
    /// All values of a frozen encoder.
    ///
    /// # Errors
    /// Features that are not finite, and what the probes refuse.
    pub fn run(&self, network: &Network, extent: Extent) -> Result<Vec<Value>> {
        tch::no_grad(|| {
            let mut values = self.regressions(network, extent)?;
            if extent == Extent::Full {
                values.extend(self.geometry(network)?);
                values.extend(self.classification(network)?);
                values.extend(self.reconstruction(network)?);
                values.extend(retrieval::values(network, self.train, self.test)?);
            }
            Ok(values)
        })
    }

    fn regressions(&self, network: &Network, extent: Extent) -> Result<Vec<Value>> {
        let sets = match self.pack.kind {
            Kind::Renders => self.render_sets(network)?,
            Kind::Photographs => self.photo_sets(network, extent)?,
        };
        let seeds: Vec<u64> = match extent {
            Extent::Full => (0..self.suite.probe.seeds).collect(),
            Extent::CurvePoint => vec![0],
        };
        let mut values = Vec::new();
        let parts = self.suite.probe.parts.iter().map(|&part| Readout::Y(part));
        for readout in parts.chain([Readout::Grid]) {
            let asked = sets.iter().flat_map(|set| Asked::of(set, readout)).collect::<Vec<_>>();
            let problems: Vec<Problem> = asked.iter().map(Asked::problem).collect();
            let fits = fit(&problems, &seeds, &self.suite.probe.regression)?;
            for ((asked, problem), fits) in asked.iter().zip(&problems).zip(fits) {
                let of_seeds = seeds.iter().zip(&fits);
                values.extend(of_seeds.flat_map(|(&seed, fit)| asked.values("", Some(seed), &fit.train, &fit.test)));
                if extent == Extent::Full {
                    let linear = ridge::fit(problem)?;
                    values.extend(asked.values("_linear", None, &linear.train, &linear.test));
                }
            }
        }
        for set in &sets {
            let constant = constant_predictor(&set.train.target, &set.test.target)?;
            values.extend(
                constant.pooled.map(|r2| value(&set.task, format!("r2_pooled_constant{}", set.suffix), None, r2)),
            );
        }
        if extent == Extent::Full {
            values.extend(self.shuffled(&sets)?);
            if sets.iter().any(|set| set.suffix == COMBINED) {
                values.extend(self.exact_map()?);
            }
        }
        Ok(values)
    }

    /// The ceiling of pairs that differ by all transforms at once: R2 of the best guess from their affine maps.
    fn exact_map(&self) -> Result<Vec<Value>> {
        let Transforms { active, ranges, .. } = &self.suite.transforms;
        let chosen = subset(self.test.units(), self.suite.probe.test_pairs.div_ceil(DRAWS as usize), TEST_PAIRS_SEED);
        let keys: Vec<u64> = chosen.iter().map(|&unit| unit as u64).collect();
        let draws = (0..DRAWS).flat_map(|draw| Draws::sample(&keys, TEST_PAIRS_SEED, draw, active, ranges).each);
        let draws = Draws { each: draws.collect() };
        let guess = draws.best_guess_from_map(active, ranges);
        let row = |transform: &Transform| {
            let target = |draws: &Draws| {
                Tensor::from_slice(&draws.target(*transform, ranges)).view([-1, transform.dim() as i64])
            };
            let r2 = R2::of(&target(&guess), &target(&draws))?.per_output;
            Ok(r2.map(|r2| value(transform.name(), format!("r2_per_output{COMBINED}_exact"), None, r2)))
        };
        active.iter().filter_map(|transform| row(transform).transpose()).collect()
    }

    /// The sanity row: probes of y trained on permuted targets, tested on intact ones.
    fn shuffled(&self, sets: &[Regression]) -> Result<Vec<Value>> {
        let single: Vec<&Regression> = sets.iter().filter(|set| set.suffix.is_empty()).collect();
        let problem = |set: &&Regression| {
            let asked = Asked { set, readout: Readout::Y(Part::All), canonical: false };
            Problem { train_t: permuted(&set.train.target, 0), ..asked.problem() }
        };
        let problems: Vec<Problem> = single.iter().map(problem).collect();
        let fits = fit(&problems, &[0], &self.suite.probe.regression)?;
        let row = |(set, fits): (&&Regression, Vec<Fit>)| {
            let r2 = fits[0].test.per_output?;
            Some(value(&set.task, "r2_per_output_shuffled".into(), Some(0), r2))
        };
        Ok(single.iter().zip(fits).filter_map(row).collect())
    }

    /// Renders: the pairs of both tasks are the same.
    fn render_sets(&self, network: &Network) -> Result<Vec<Regression>> {
        let side = |source: &PairSource, count: usize, seed: u64| -> Result<Vec<PairFeatures>> {
            let scene = source.scene().expect("renders have scenes");
            let pairs = unit_draws(source.units(), count)
                .flat_map(|(draw, units)| view_pairs(scene.views, seed, draw, units))
                .collect::<Vec<_>>();
            let images = source.indices();
            let features = encode_all(network, source, &images)?;
            let index = |which: usize| {
                let row = |image| images.binary_search(&image).expect("pairs are made of the source's units");
                let indices: Vec<i64> = pairs.iter().map(|pair| row(pair[which]) as i64).collect();
                features.index_select(0, &Tensor::from_slice(&indices).to_device(features.device()))
            };
            let parameters = render_parameters(scene, &pairs).to_device(features.device());
            Ok(self.split_tasks(&index(0), &index(1), &parameters))
        };
        let train = side(self.train, self.suite.probe.train_pairs, TRAIN_PAIRS_SEED)?;
        let test = side(self.test, self.suite.probe.test_pairs, TEST_PAIRS_SEED)?;
        Ok(self.join(train, test, ""))
    }

    /// Photographs: pairs that differ by one transform alone, one set a transform, and by all at once where asked for.
    fn photo_sets(&self, network: &Network, extent: Extent) -> Result<Vec<Regression>> {
        let active = &self.suite.transforms.active;
        let side = |source, count: usize, seed| -> Result<PhotoSide> {
            let chosen = subset(PairSource::units(source), count.div_ceil(DRAWS as usize), seed);
            let (first, _) = encode_photos(network, source, &chosen, seed, None)?;
            Ok(PhotoSide { source, chosen, seed, first })
        };
        let train = side(self.train, self.suite.probe.train_pairs, TRAIN_PAIRS_SEED)?;
        let test = side(self.test, self.suite.probe.test_pairs, TEST_PAIRS_SEED)?;
        let mut sets = Vec::new();
        for transform in active {
            let out = self.suite.model.out;
            let features = |side: &PhotoSide| -> Result<PairFeatures> {
                let (second, target) = side.second(network, &[*transform])?;
                Ok(pair_features(&side.first, &second, &target, out))
            };
            let (train, test) = (features(&train)?, features(&test)?);
            sets.push(Regression { task: transform.name().to_owned(), suffix: "", train, test });
        }
        if self.suite.probe.combined && extent == Extent::Full {
            let features = |side: &PhotoSide| -> Result<Vec<PairFeatures>> {
                let (second, target) = side.second(network, active)?;
                Ok(self.split_tasks(&side.first, &second, &target))
            };
            sets.extend(self.join(features(&train)?, features(&test)?, COMBINED));
        }
        Ok(sets)
    }

    /// One entry a task, which share the feature tensors. first, second: (N, 3 out); parameters: (N, all).
    fn split_tasks(&self, first: &Tensor, second: &Tensor, parameters: &Tensor) -> Vec<PairFeatures> {
        let shared = pair_features(first, second, parameters, self.suite.model.out);
        let mut start = 0;
        let tasks = tasks(self.pack.kind, &self.suite.transforms);
        let entry = |(_, length): &(String, i64)| {
            let target = shared.target.narrow(1, start, *length).contiguous();
            start += length;
            PairFeatures { y: shared.y.shallow_clone(), grid: shared.grid.shallow_clone(), target }
        };
        tasks.iter().map(entry).collect()
    }

    fn join(&self, train: Vec<PairFeatures>, test: Vec<PairFeatures>, suffix: &'static str) -> Vec<Regression> {
        let tasks = tasks(self.pack.kind, &self.suite.transforms);
        let sides = train.into_iter().zip(test);
        tasks
            .into_iter()
            .zip(sides)
            .map(|((task, _), (train, test))| Regression { task, suffix, train, test })
            .collect()
    }

    fn classification(&self, network: &Network) -> Result<Vec<Value>> {
        let labels = |source: &PairSource, chosen: &[usize]| {
            Tensor::from_slice(&chosen.iter().map(|&i| source.labels()[i]).collect::<Vec<_>>())
        };
        let chosen = match self.pack.kind {
            Kind::Renders => self.train.indices(),
            Kind::Photographs => {
                subset(self.train.units(), self.suite.probe.train_pairs.div_ceil(DRAWS as usize), TRAIN_PAIRS_SEED)
            }
        };
        let all: Vec<usize> = (0..self.test.len()).collect();
        let features = |source: &PairSource, chosen: &[usize]| -> Result<Tensor> {
            let parts = chosen.chunks(ENCODE).map(|part| Ok(encode(network, &source.images(part)?).y));
            Ok(Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0))
        };
        let train_x = features(self.train, &chosen)?;
        let device = train_x.device();
        let data = LabelledFeatures {
            name: "classification".into(),
            train_x,
            train_y: labels(self.train, &chosen).to_device(device),
            test_x: features(self.test, &all)?,
            test_y: labels(self.test, &all).to_device(device),
            views: self.train.views(),
            classes: self.pack.class_names.len(),
        };
        let seeds: Vec<u64> = (0..self.suite.probe.seeds).collect();
        let scores = classify(&data, &seeds, &self.suite.probe.classification)?;
        let row = |(&seed, score): (&u64, &eqr_probes::classify::Top1)| Value {
            task: "classification".into(),
            metric: "top1".into(),
            eval_seed: Some(seed),
            value: score.test,
            unit: "fraction",
            better: Better::Higher,
        };
        Ok(seeds.iter().zip(&scores).map(row).collect())
    }

    /// Measures of y that need no probe, on test pairs made as for training.
    fn geometry(&self, network: &Network) -> Result<Vec<Value>> {
        let units = self.spread(self.test.units().len().min(COMPARED));
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for units in units.chunks(ENCODE) {
            let pairs = self.test.pairs(TEST_PAIRS_SEED, 0, units)?;
            first.push(encode(network, &pairs.view1).y);
            second.push(encode(network, &pairs.view2).y);
        }
        let (first, second) = (Tensor::cat(&first, 0), Tensor::cat(&second, 0));
        let Invariance { own, others, share } = Invariance::of(&first, &second)?;
        let rows = [
            ("similarity_own", Some(own), "cosine"),
            ("similarity_others", Some(others), "cosine"),
            ("invariance", share, "fraction"),
            ("effective_rank", Some(effective_rank(&first)), "dimensions"),
        ];
        let row = |(metric, value, unit): (&str, Option<f64>, _)| {
            let (task, metric) = ("representation".to_owned(), metric.to_owned());
            Some(Value { task, metric, eval_seed: None, value: value?, unit, better: Better::Higher })
        };
        Ok(rows.into_iter().filter_map(row).collect())
    }

    /// The test MSEs of protocol section 2, for methods that reconstruct.
    fn reconstruction(&self, network: &Network) -> Result<Vec<Value>> {
        let count = self.test.units().len().min(RECONSTRUCTED);
        let pairs = self.test.pairs(TEST_PAIRS_SEED, 0, &self.spread(count))?;
        let (view1, view2) = (encode(network, &pairs.view1).tokens, encode(network, &pairs.view2).tokens);
        // half a turn: classes may lie side by side, and the neighbour would then be of the same class
        let other = |tokens: &Tensor| tokens.roll([count as i64 / 2], [0]);
        let kind = network.arena.compute().kind();
        let mse = |source: &Tensor, query: &Tensor| {
            let pair = ReconstructionPair { source: &source.to_kind(kind), query: &query.to_kind(kind) };
            let image = network.model.method.as_ref()?.reconstruct(&network.arena, pair)?;
            Some(image.to_kind(tch::Kind::Float).mse_loss(&pairs.view2, tch::Reduction::Mean).double_value(&[]))
        };
        let Some(own) = mse(&view1, &view2) else { return Ok(Vec::new()) };
        let mean = pairs.view2.mean_dim([0i64].as_slice(), true, None).expand_as(&pairs.view2);
        let plain = |image: &Tensor| Some(image.mse_loss(&pairs.view2, tch::Reduction::Mean).double_value(&[]));
        let rows = [
            ("mse_own", Some(own)),
            ("mse_other_view1", mse(&other(&view1), &view2)),
            ("mse_other_view2", mse(&view1, &other(&view2))),
            ("mse_mean_image", plain(&mean)),
            ("mse_copy_view1", plain(&pairs.view1)),
        ]
        .into_iter()
        .filter_map(|(metric, value)| {
            Some(Value {
                task: "reconstruction".into(),
                metric: metric.into(),
                eval_seed: None,
                value: value?,
                unit: "MSE",
                better: Better::Lower,
            })
        })
        .collect();
        Ok(rows)
    }

    /// `count` test units at even distances, so that all classes are among them.
    fn spread(&self, count: usize) -> Vec<usize> {
        let units = self.test.units();
        (0..count).map(|i| units[i * units.len() / count]).collect()
    }

    /// View 1, view 2 and the reconstruction of `count` test images, (count, 3, H, W) in [0, 1] each; none where the method does not
    /// reconstruct.
    ///
    /// # Errors
    /// Images that cannot be read.
    pub fn reconstructions(&self, network: &Network, count: usize) -> Result<Option<[Tensor; 3]>> {
        tch::no_grad(|| {
            let pairs = self.test.pairs(TEST_PAIRS_SEED, 0, &self.spread(count.min(self.test.units().len())))?;
            let (view1, view2) = (encode_raw(network, &pairs.view1), encode_raw(network, &pairs.view2));
            let pair = ReconstructionPair { source: &view1.tokens, query: &view2.tokens };
            let image = network.model.method.as_ref().and_then(|method| method.reconstruct(&network.arena, pair));
            Ok(image.map(|image| {
                let images = [pairs.view1, pairs.view2, image.to_kind(tch::Kind::Float)];
                images.map(|image| self.test.denormalise(&image).clamp(0.0, 1.0))
            }))
        })
    }
}

/// A question to the features of a set.
struct Asked<'a> {
    set: &'a Regression,
    readout: Readout,
    /// Whether quaternions are read with signs such that w >= 0, as q and -q are one rotation.
    canonical: bool,
}

impl<'a> Asked<'a> {
    /// What is asked of a set: its target, and where that is quaternions, read from all of y, also with canonical signs.
    fn of(set: &'a Regression, readout: Readout) -> impl Iterator<Item = Asked<'a>> {
        let quaternions = readout == Readout::Y(Part::All) && quaternion::are_unit(&set.train.target);
        let both = [Some(false), quaternions.then_some(true)];
        both.into_iter().flatten().map(move |canonical| Asked { set, readout, canonical })
    }

    fn problem(&self) -> Problem {
        let target = |side: &PairFeatures| match self.canonical {
            true => quaternion::canonical(&side.target),
            false => side.target.shallow_clone(),
        };
        let Asked { set, readout, .. } = *self;
        Problem {
            name: format!("{}{}{}", set.task, set.suffix, readout.suffix()),
            train_x: set.train.read(readout),
            train_t: target(&set.train),
            test_x: set.test.read(readout),
            test_t: target(&set.test),
        }
    }

    /// The R2 of a probe as values; those that are undefined are none.
    fn values(&self, probe: &str, seed: Option<u64>, train: &R2, test: &R2) -> Vec<Value> {
        let canonical = if self.canonical { "_canonical" } else { "" };
        let suffix = format!("{probe}{canonical}{}{}", self.set.suffix, self.readout.suffix());
        let all =
            [("r2_per_output", test.per_output), ("r2_pooled", test.pooled), ("r2_per_output_train", train.per_output)];
        let row = |(name, r2): (&str, Option<f64>)| Some(value(&self.set.task, format!("{name}{suffix}"), seed, r2?));
        all.into_iter().filter_map(row).collect()
    }
}

fn value(task: &str, metric: String, eval_seed: Option<u64>, value: f64) -> Value {
    Value { task: task.to_owned(), metric, eval_seed, value, unit: "R2", better: Better::Higher }
}

/// first, second: (N, 3 out), y in the first columns.
fn pair_features(first: &Tensor, second: &Tensor, target: &Tensor, out: i64) -> PairFeatures {
    let y = Tensor::cat(&[first.narrow(1, 0, out), second.narrow(1, 0, out)], 1);
    PairFeatures { y, grid: Tensor::cat(&[first, second], 1), target: target.shallow_clone() }
}

/// (draw, units) until `count` pairs are drawn, one pair a unit and draw.
fn unit_draws(units: &[usize], count: usize) -> impl Iterator<Item = (u64, &[usize])> {
    let rows = units.len();
    (0..count.div_ceil(rows)).map(move |draw| (draw as u64, &units[..rows.min(count - draw * rows)]))
}

/// `count` of `units`, or all where there are fewer, a function of the seed.
fn subset(units: &[usize], count: usize, seed: u64) -> Vec<usize> {
    let mut order = units.to_vec();
    order.shuffle(&mut rng(seed, 0, 0, Purpose::Subset));
    order.truncate(count);
    order
}

/// Frozen forward pass in the arena's number type.
fn encode_raw(network: &Network, images: &Tensor) -> Encoded {
    network.model.encoder.forward(&network.arena, &images.to_kind(network.arena.compute().kind()))
}

/// Frozen forward pass, fp32 out.
pub(crate) fn encode(network: &Network, images: &Tensor) -> Encoded {
    let encoded = encode_raw(network, images);
    Encoded { y: encoded.y.to_kind(tch::Kind::Float), tokens: encoded.tokens.to_kind(tch::Kind::Float) }
}

/// Grid readout of images `indices`: (n, 3 out).
fn encode_all(network: &Network, source: &PairSource, indices: &[usize]) -> Result<Tensor> {
    let parts = indices.chunks(ENCODE).map(|part| Ok(encode(network, &source.images(part)?).grid_readout()));
    Ok(Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0))
}

/// The chosen photographs of a split with the features of their first views.
struct PhotoSide<'a> {
    source: &'a PairSource,
    chosen: Vec<usize>,
    seed: u64,
    first: Tensor,
}

impl PhotoSide<'_> {
    /// Features of second views made by `transforms`, and their parameters.
    fn second(&self, network: &Network, transforms: &[Transform]) -> Result<(Tensor, Tensor)> {
        let (features, parameters) = encode_photos(network, self.source, &self.chosen, self.seed, Some(transforms))?;
        Ok((features, parameters.expect("second views have parameters")))
    }
}

/// Grid readout of first views (`transforms` none) or of second views with their parameters, all draws of the chosen images.
fn encode_photos(
    network: &Network,
    source: &PairSource,
    chosen: &[usize],
    seed: u64,
    transforms: Option<&[Transform]>,
) -> Result<(Tensor, Option<Tensor>)> {
    let (mut features, mut parameters) = (Vec::new(), Vec::new());
    for draw in 0..DRAWS {
        for units in chosen.chunks(ENCODE) {
            let view1 = source.first_views(seed, draw, units)?;
            let images = match transforms {
                None => source.normalise(&view1.pixels()),
                Some(active) => {
                    let (view2, target) = source.second_views(&view1, seed, draw, units, active);
                    parameters.push(target);
                    view2
                }
            };
            features.push(encode(network, &images).grid_readout());
        }
    }
    let parameters = (!parameters.is_empty()).then(|| Tensor::cat(&parameters, 0));
    Ok((Tensor::cat(&features, 0), parameters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_drawn_of_the_units_at_hand_alone() {
        let draws: Vec<(u64, Vec<usize>)> =
            unit_draws(&[3, 5, 9], 7).map(|(draw, units)| (draw, units.to_vec())).collect();
        assert_eq!(draws, [(0, vec![3, 5, 9]), (1, vec![3, 5, 9]), (2, vec![3])]);
        let mut chosen = subset(&[3, 5, 9, 11], 3, 1);
        chosen.sort_unstable();
        chosen.dedup();
        assert!(chosen.len() == 3 && chosen.iter().all(|unit| [3, 5, 9, 11].contains(unit)), "{chosen:?}");
        assert_eq!(subset(&[3, 5], 9, 1).len(), 2);
    }
}
