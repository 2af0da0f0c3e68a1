//! `perf scale`: a step's time on 1 to 1,024 devices, from its computation measured here and a network that is named or measured.

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use eqr_models::Arena;
use eqr_models::collective::shares;
use eqr_models::methods::build;
use eqr_models::adam::Adam;
use eqr_models::step::gradients;
use eqr_models::{Collective, Registry};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use super::median_seconds;
use super::train::{TrainArgs, network, random_batch};
use crate::cluster::worker::Worker;
use crate::console::print_text;
use crate::perf::scaling::{Interconnect, Step, Traffic};
use crate::suite_file::suggestions::parse_method;

/// Most devices of the table.
const LARGEST: usize = 1024;
/// Gradients are summed in segments of this many bytes or more, and in this many segments at most.
const SEGMENT: f64 = (4 << 20) as f64;
const SEGMENTS: usize = 4;

/// A network by its name: rates of the makers' data sheets in one direction and a device, and usual latencies; none was measured here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Named {
    /// 4 A100 a node, NVLink 3, an HDR-200 link a GPU (JUWELS Booster).
    A100Hdr200,
    /// 4 GH200 a node, NVLink 4, an NDR-200 link a GPU (JUPITER).
    Gh200Ndr200,
    /// 8 H100 a node, NVLink 4, an NDR-400 link a GPU.
    H100Ndr400,
    /// One device a node, 100 Gbit/s Ethernet.
    Ethernet100,
    /// What two or more ranks of this launch measure.
    Measured,
}

impl Named {
    fn rates(self) -> Option<Interconnect> {
        let (per_node, within, between, latency) = match self {
            Named::A100Hdr200 => (4, 300e9, 25e9, [5e-6, 10e-6]),
            Named::Gh200Ndr200 => (4, 450e9, 25e9, [5e-6, 10e-6]),
            Named::H100Ndr400 => (8, 450e9, 50e9, [5e-6, 10e-6]),
            Named::Ethernet100 => (1, 12.5e9, 12.5e9, [30e-6, 30e-6]),
            Named::Measured => return None,
        };
        Some(Interconnect { per_node, within, between, latency })
    }
}

/// Options of `perf scale`: those of `perf train`, and the network.
#[derive(Args, Clone, Debug)]
pub struct ScaleArgs {
    #[command(flatten)]
    train: TrainArgs,
    /// Network between the devices; without one, that of the launch's ranks, if there are several.
    #[arg(long, value_enum)]
    interconnect: Option<Named>,
}

/// A rank of `size` that are not there: gathers find its own rows in place of the others', sums are its own. What is timed with it is the
/// computation of a device of so many.
struct Alone {
    size: usize,
}

impl Collective for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_reduce_sum(&self, _tensor: &mut Tensor) {}

    fn all_gather(&self, tensor: &Tensor, rows: &[i64]) -> Tensor {
        let own = tensor.size()[0].max(1);
        let rows = Tensor::arange(rows.iter().sum::<i64>(), (Kind::Int64, tensor.device())).remainder(own);
        tensor.index_select(0, &rows)
    }

    fn broadcast(&self, _tensor: &mut Tensor) {}

    fn split(&self, _group: usize) -> Box<dyn Collective> {
        Box::new(Alone { size: self.size })
    }

    fn barrier(&self) {}

    fn abort(&self, code: i32) -> ! {
        std::process::exit(code)
    }
}

/// Measures the computation of a device among 1, 2, 4, ... and prints the predicted steps; on several ranks also the real one beside its
/// prediction.
///
/// # Errors
/// As `perf train`, and `measured` on one rank.
pub fn scale(args: &ScaleArgs, ranks: &dyn Collective) -> Result<()> {
    let worker = Worker::start(ranks, args.train.threads).map_err(|failure| failure.error)?;
    let compute = args.train.precision.resolve(worker.device);
    let (config, batch) = network(&args.train)?;
    let mut registry = Registry::default();
    let model = build(&parse_method(&args.train.method)?, &config, &mut registry)?;
    ensure!(model.method.is_some(), "{} is not trained: there is no step to time", args.train.method);
    ensure!(batch >= ranks.size() as i64, "a batch of {batch} is smaller than the {} ranks", ranks.size());
    let mut arena = Arena::new(registry, 0, compute, worker.device);
    let mut adam = Adam::new(&arena, 1e-6);
    let mut step = |of: &dyn Collective| -> Result<f64> {
        let pairs = random_batch(&config, batch as usize, of, worker.device);
        let steps = args.train.steps;
        let micro_batch = args.train.micro_batch;
        Ok(median_seconds(steps, || {
            ranks.barrier();
            let terms = gradients(&mut arena, &model, &pairs, micro_batch, of);
            adam.update(&mut arena, 1e-4);
            // reading a value waits for the device
            let _ = terms[0].1.double_value(&[]);
        }))
    };
    // all ranks at once: what they share (memory, caches) slows them as it does in a real step
    let counts: Vec<usize> = (0..).map(|k| 1 << k).take_while(|n| *n <= LARGEST && *n as i64 <= batch).collect();
    let computed =
        counts.iter().map(|&n| Ok((n, slowest(ranks, step(&Alone { size: n })?)))).collect::<Result<Vec<_>>>()?;
    let real = if ranks.size() > 1 {
        Some((slowest(ranks, step(&Alone { size: ranks.size() })?), slowest(ranks, step(ranks)?)))
    } else {
        None
    };
    let gradient = arena.reduced_bytes() as f64;
    let representations = 2.0 * batch as f64 * config.encoder.out as f64 * 4.0;
    let named = args.interconnect.and_then(Named::rates);
    let found = if ranks.size() > 1 { Some(measured(ranks, gradient, representations, worker.device)) } else { None };
    ensure!(
        named.is_some() || found.is_some(),
        "one rank has no network to measure\nhint: --interconnect NAME, or mpirun -n 2"
    );
    if !worker.leads() {
        return Ok(());
    }
    let overlaps = |possible: bool| if possible { ((gradient / SEGMENT) as usize).clamp(1, SEGMENTS) } else { 1 };
    // named networks are of GPUs, whose sums run beside the computation
    let here = ranks.overlaps_from().is_some_and(|from| gradient >= from as f64);
    let traffic = Traffic { gradient, representations, segments: overlaps(named.is_some() || here) };
    let network = named.or(found).expect("one of them is there");
    let table: Vec<Step> =
        computed.iter().map(|&(n, seconds)| Step::predicted(n, seconds, &traffic, &network)).collect();
    let check = real.zip(found).map(|((compute, seconds), found)| {
        let traffic = Traffic { segments: overlaps(here), ..traffic };
        let predicted = Step::predicted(ranks.size(), compute, &traffic, &found).seconds();
        json!({"ranks": ranks.size(), "predicted_seconds": predicted, "measured_seconds": seconds, "measured_over_predicted": seconds / predicted})
    });
    let result = json!({
        "stage": "scale",
        "config": {
            "method": args.train.method, "img": config.encoder.image, "patch": config.encoder.patch, "dim": config.encoder.dim,
            "depth": config.encoder.depth, "heads": config.encoder.heads, "batch": batch, "threads": worker.threads,
            "precision": format!("{compute:?}").to_lowercase(), "device": format!("{:?}", worker.device),
            "segments": traffic.segments, "gradient_bytes": gradient, "representation_bytes": representations,
        },
        "network": {
            "source": if named.is_some() { "named, nominal" } else { "measured on the ranks of this launch" },
            "devices_per_node": network.per_node, "gb_per_s_within": network.within / 1e9, "gb_per_s_between": network.between / 1e9,
        },
        "steps": table.iter().map(|step| row(step, batch, table[0].seconds())).collect::<Vec<Value>>(),
        "check": check,
    });
    print_text(&if args.train.json { format!("{result:#}\n") } else { as_lines(&result) })
}

/// The slowest rank's seconds.
fn slowest(ranks: &dyn Collective, own: f64) -> f64 {
    let all = ranks.all_gather(&Tensor::from_slice(&[own]), &vec![1; ranks.size()]);
    all.max().double_value(&[])
}

/// The network of the ranks: the speed at which a ring would have summed the gradient, and half a small sum's time as latency. All in one node.
fn measured(ranks: &dyn Collective, gradient: f64, representations: f64, device: tch::Device) -> Interconnect {
    let n = ranks.size();
    let timed = |bytes: f64| {
        let mut tensor = Tensor::zeros([(bytes / 4.0).max(1.0) as i64], (Kind::Float, device));
        let seconds = median_seconds(20, || {
            ranks.barrier();
            ranks.all_reduce_sum(&mut tensor);
            let _ = tensor.double_value(&[0]);
        });
        slowest(ranks, seconds)
    };
    let (small, large) = (timed(4.0), timed(gradient.max(representations)));
    let depth = (n as f64).log2().ceil();
    let speed = 2.0 * (n as f64 - 1.0) / n as f64 * gradient.max(representations) / (large - small).max(1e-9);
    Interconnect { per_node: usize::MAX, within: speed, between: speed, latency: [small / (2.0 * depth); 2] }
}

fn row(step: &Step, batch: i64, alone: f64) -> Value {
    let pairs = shares(batch as usize, step.devices)[0];
    json!({
        "devices": step.devices, "pairs_per_device": pairs, "seconds": step.seconds(), "compute_seconds": step.compute,
        "gather_seconds": step.gather, "exposed_sum_seconds": step.exposed, "views_per_s": 2.0 * batch as f64 / step.seconds(),
        "efficiency": step.efficiency(alone),
    })
}

fn as_lines(result: &Value) -> String {
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let mut text = format!(
        "network: {} ({:.1} GB/s within a node, {:.1} between)\n{:>8} {:>11} {:>11} {:>11} {:>11} {:>12} {:>10}\n",
        result["network"]["source"].as_str().unwrap_or_default(),
        number(&result["network"]["gb_per_s_within"]),
        number(&result["network"]["gb_per_s_between"]),
        "devices",
        "step ms",
        "compute",
        "gather",
        "exposed",
        "views/s",
        "efficiency"
    );
    let ms = |value: &Value| format!("{:.3}", 1e3 * number(value));
    for step in result["steps"].as_array().into_iter().flatten() {
        text += &format!(
            "{:>8} {:>11} {:>11} {:>11} {:>11} {:>12.0} {:>10.3}\n",
            step["devices"].as_u64().unwrap_or_default(),
            ms(&step["seconds"]),
            ms(&step["compute_seconds"]),
            ms(&step["gather_seconds"]),
            ms(&step["exposed_sum_seconds"]),
            number(&step["views_per_s"]),
            number(&step["efficiency"])
        );
    }
    if let Some(check) = result["check"].as_object() {
        text += &format!(
            "this launch, {} ranks: predicted {} ms, measured {} ms, ratio {:.3}\n",
            check["ranks"],
            ms(&check["predicted_seconds"]),
            ms(&check["measured_seconds"]),
            number(&check["measured_over_predicted"])
        );
    }
    text
}
