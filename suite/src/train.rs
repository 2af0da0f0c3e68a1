//! Pretraining: the loop.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use eqr_datasets::{Kind, Prefetch};
use eqr_models::arena::Compute;
use eqr_models::collective::shares;
use eqr_models::methods::build;
use eqr_models::optim::{Adam, Schedule};
use eqr_models::step::{Batch, LossTerms, gradients};
use eqr_models::vit::VitConfig;
use eqr_models::{Arena, MethodKind, Model, ModelConfig, Registry};
use tch::{Device, Tensor};

use crate::checkpoint::{self, State};
use crate::cluster::{Worker, same_everywhere};
use crate::config::Suite;
use crate::data::Opened;
use crate::failure::{Failure, Outcome};
use crate::pairs::{PairSource, tasks};
use crate::progress::Progress;
use crate::store::CurvePoint;

/// Points of a training curve.
const CURVE_POINTS: u64 = 200;

/// A method with its parameters, ready to be trained or probed.
pub struct Network {
    /// Parameters.
    pub arena: Arena,
    /// Encoder and method.
    pub model: Model,
}

/// Builds `kind` as the suite describes it for the data set; everything drawn is a function of `seed`.
///
/// # Errors
/// A shape that cannot be built, or a transform that the data set does not have.
pub fn network(
    kind: &MethodKind,
    suite: &Suite,
    opened: &Opened,
    seed: u64,
    compute: Compute,
    device: Device,
) -> anyhow::Result<Network> {
    let mut registry = Registry::default();
    let model = build(kind, &model_config(suite, opened), &mut registry)?;
    Ok(Network { arena: Arena::new(registry, seed, compute, device), model })
}

/// The suite's network for the data set's image side, classes and tasks.
pub fn model_config(suite: &Suite, opened: &Opened) -> ModelConfig {
    suite_model(suite, opened.pack.kind, opened.side as i64, opened.pack.class_names.len() as i64)
}

/// The suite's network for images of this kind, side and number of classes.
pub fn suite_model(suite: &Suite, kind: Kind, image: i64, classes: i64) -> ModelConfig {
    let model = &suite.model;
    ModelConfig {
        encoder: VitConfig {
            image,
            patch: model.patch,
            dim: model.dim,
            depth: model.depth,
            heads: model.heads,
            out: model.out,
            pool: model.pool,
            positions: model.positions,
        },
        heads: model.head,
        decoder: model.decoder,
        loss: model.loss,
        classes,
        transforms: tasks(kind, &suite.transforms),
        sie_constant: model.sie_constant.unwrap_or(kind == Kind::Photographs),
    }
}

/// Steps of an epoch: the last partial batch is dropped.
pub fn steps_per_epoch(suite: &Suite, units: usize) -> u64 {
    (units / suite.train.batch) as u64
}

/// Learning rate scaled to the batch; warm-up of min(10 epochs, 5% of the steps).
pub fn schedule(suite: &Suite, steps_per_epoch: u64) -> Schedule {
    let total = steps_per_epoch * suite.train.epochs;
    let warmup = (10 * steps_per_epoch).min(total / 20).max(1);
    Schedule { peak: suite.train.lr * suite.train.batch as f64 / 256.0, warmup: warmup as i64, total: total as i64 }
}

/// Batches that are made ahead of the step that takes them.
const AHEAD: usize = 2;

/// This rank among how many.
#[derive(Clone, Copy)]
pub struct Place {
    /// `0..size`.
    pub rank: usize,
    /// Number of ranks.
    pub size: usize,
}

/// The part of `place` in one step's batch.
///
/// # Errors
/// Images that cannot be read.
pub fn batch(source: &PairSource, seed: u64, epoch: u64, units: &[usize], place: Place) -> anyhow::Result<Batch> {
    let rows = shares(units.len(), place.size);
    let before: usize = rows[..place.rank].iter().sum();
    let mine = &units[before..before + rows[place.rank]];
    let pairs = source.pairs(seed, epoch, mine)?;
    Ok(Batch {
        view1: pairs.view1,
        view2: pairs.view2,
        labels: pairs.labels.to_kind(tch::Kind::Float),
        parameters: pairs.parameters,
        rows: rows.into_iter().map(|rows| rows as i64).collect(),
    })
}

/// Where a training keeps its checkpoints.
pub struct Checkpoints {
    /// Folder of this training alone.
    pub folder: PathBuf,
}

impl Checkpoints {
    /// The one that training resumes from.
    pub fn last(&self) -> PathBuf {
        self.folder.join("last.safetensors")
    }

    /// Parameters after `step` steps, for the curve of R2 against steps.
    pub fn at_step(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step}.safetensors"))
    }
}

/// What a training left behind.
pub struct Trained {
    /// Counters and curve.
    pub state: State,
    /// Whether it continued an interrupted one.
    pub resumed: bool,
}

/// Trains to the end, from the last checkpoint if there is one; a checkpoint follows every epoch.
///
/// # Errors
/// A loss that is not finite, a checkpoint that cannot be read or written.
pub fn train(
    network: &mut Network,
    suite: &Suite,
    source: &PairSource,
    seed: u64,
    checkpoints: &Checkpoints,
    worker: &Worker,
    label: &str,
) -> Outcome<Trained> {
    let per_epoch = steps_per_epoch(suite, source.units().len());
    let schedule = schedule(suite, per_epoch);
    let mut adam = Adam::new(&network.arena, suite.train.weight_decay);
    let resumed = checkpoints.last().exists();
    let mut state = if resumed {
        checkpoint::restore(&checkpoints.last(), &mut network.arena, &mut adam).map_err(Failure::run)?
    } else {
        State::default()
    };
    // every rank has read the same checkpoint before one writes the next
    same_everywhere(worker.ranks, &format!("the checkpoint of {label}"), &state.step.to_string())?;
    let mut curve = Curve::new(schedule.total as u64);
    let progress = Progress::new(label);
    let place = Place { rank: worker.ranks.rank(), size: worker.ranks.size() };
    while state.epoch < suite.train.epochs {
        let start = Instant::now();
        let (order, epoch) = (source.order(seed, state.epoch), state.epoch);
        let own = source.share();
        let units = order.chunks_exact(suite.train.batch);
        let batches = units.map(move |units| batch(&own, seed, epoch, units, place));
        std::thread::scope(|scope| {
            let mut steps = |batches: &mut dyn Iterator<Item = anyhow::Result<Batch>>| -> Outcome<()> {
                for batch in batches {
                    let batch = batch.map_err(Failure::run)?;
                    let terms = gradients(&mut network.arena, &network.model, &batch, worker.ranks);
                    adam.update(&mut network.arena, schedule.at(state.step as i64));
                    state.step += 1;
                    let epoch_ends = state.step % per_epoch == 0;
                    state.curve.extend(curve.push(state.step, terms, epoch_ends).map_err(Failure::run)?);
                    progress.at(state.step, schedule.total as u64);
                }
                Ok(())
            };
            if source.wants_prefetch() {
                steps(&mut Prefetch::new(scope, AHEAD, batches))
            } else {
                steps(&mut { batches })
            }
        })?;
        align(network, &mut adam, worker);
        state.epoch += 1;
        state.seconds += start.elapsed().as_secs_f64();
        if worker.leads() {
            keep(network, &adam, &state, suite, checkpoints).map_err(Failure::run)?;
        }
    }
    progress.finish();
    Ok(Trained { state, resumed })
}

/// Gives every rank rank 0's bits. Replicas may part by rounding where ranks have other CPUs or threads, and a resumed training starts
/// from rank 0's checkpoint.
fn align(network: &mut Network, adam: &mut Adam, worker: &Worker) {
    if worker.ranks.size() == 1 {
        return;
    }
    tch::no_grad(|| {
        for mut tensor in [network.arena.master().shallow_clone(), adam.m.shallow_clone(), adam.v.shallow_clone()] {
            worker.ranks.broadcast(&mut tensor);
        }
        network.arena.sync();
    });
}

fn keep(network: &Network, adam: &Adam, state: &State, suite: &Suite, checkpoints: &Checkpoints) -> anyhow::Result<()> {
    if suite
        .train
        .probe_every
        .is_some_and(|every| state.epoch.is_multiple_of(every) && state.epoch < suite.train.epochs)
    {
        checkpoint::save_parameters(&checkpoints.at_step(state.step), &network.arena)?;
    }
    checkpoint::save(&checkpoints.last(), &network.arena, adam, state)
}

/// Means of the loss terms between two points of the curve. A point ends with its epoch at the latest, so that a training resumed
/// from a finished epoch draws the same curve.
struct Curve {
    every: u64,
    sums: Vec<(&'static str, f64)>,
    count: u64,
}

impl Curve {
    fn new(total: u64) -> Self {
        Curve { every: total.div_ceil(CURVE_POINTS).max(1), sums: Vec::new(), count: 0 }
    }

    /// Adds the terms of step `step`; a point when one is due.
    ///
    /// # Errors
    /// A term that is not finite, with its name and the step.
    fn push(&mut self, step: u64, terms: LossTerms, epoch_ends: bool) -> anyhow::Result<Option<CurvePoint>> {
        for (name, term) in terms {
            let value = scalar(&term).with_context(|| format!("step {step}: loss term {name}"))?;
            if !value.is_finite() {
                anyhow::bail!("step {step}: loss term `{name}` is {value}\nhint: lower train.lr");
            }
            match self.sums.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += value,
                None => self.sums.push((name, value)),
            }
        }
        self.count += 1;
        if !step.is_multiple_of(self.every) && !epoch_ends {
            return Ok(None);
        }
        let count = self.count as f64;
        let mut terms: std::collections::BTreeMap<String, f64> =
            self.sums.drain(..).map(|(name, sum)| (name.to_owned(), sum / count)).collect();
        terms.insert("loss".into(), terms.values().sum());
        self.count = 0;
        Ok(Some(CurvePoint { step, terms }))
    }
}

/// The value of a tensor of one element.
fn scalar(tensor: &Tensor) -> anyhow::Result<f64> {
    Ok(f64::try_from(tensor)?)
}
