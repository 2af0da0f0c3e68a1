//! `perf scale`: the time of a step on 1 to 1,024 devices, predicted from the computation measured here and
//! from a named or measured interconnect.

use std::fmt::Write;

use anyhow::{Context, Result};
use clap::Args;
use eqr_models::Collective;
use eqr_models::collective::{OVERLAPPED_BYTES, shares};
use eqr_models::step::encoder_segments;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use super::interconnect::NamedInterconnect;
use super::scaling::{Interconnect, PredictedStep, Traffic};
use super::timing::median_seconds;
use super::training_setup::{TrainArgs, TrainingSetup};
use crate::cluster::absent_ranks::AbsentRanks;
use crate::cluster::worker::Worker;
use crate::console::print_text;

/// Largest number of devices in the table.
const LARGEST: usize = 1024;

/// Number of timed sums that measure the interconnect, after three warm-up sums.
const TIMED_SUMS: usize = 20;

/// Options of `perf scale`: those of `perf train`, and the interconnect.
#[derive(Args, Clone, Debug)]
pub struct ScaleArgs {
    #[command(flatten)]
    train: TrainArgs,
    /// Interconnect between the devices; default: that of the launch's ranks, if there are several.
    #[arg(long, value_enum)]
    interconnect: Option<NamedInterconnect>,
}

/// Measures the computation of one device among 1, 2, 4, ... and prints the predicted steps. On several
/// ranks, also prints the measured step beside its prediction.
///
/// # Errors
/// Those of `perf train`; an interconnect that would have to be measured on one rank.
pub fn scale(args: &ScaleArgs, ranks: &dyn Collective) -> Result<()> {
    let worker = Worker::start(ranks, args.train.compute).map_err(|failure| failure.error)?;
    let mut setup = TrainingSetup::new(&args.train, &worker)?;
    let batch = setup.batch;
    // all ranks at once: shared memory and caches slow them down as in a real step
    let mut time = |step_ranks: &dyn Collective| {
        let pairs = setup.random_pairs(step_ranks);
        let seconds = median_seconds(args.train.steps, || {
            ranks.barrier();
            setup.step(&pairs, step_ranks);
        });
        slowest(ranks, seconds)
    };
    let device_counts = (0..).map(|k| 1 << k).take_while(|&n| n <= LARGEST && n as i64 <= batch);
    let one_of = |size| AbsentRanks { rank: 0, size };
    let computed: Vec<(usize, f64)> = device_counts.map(|n| (n, time(&one_of(n)))).collect();
    let launch = (ranks.size() > 1).then(|| (time(&one_of(ranks.size())), time(ranks)));
    let gradient = setup.arena.reduced_bytes();
    let representations =
        2.0 * (batch * setup.config.encoder.out) as f64 * Kind::Float.elt_size_in_bytes() as f64;
    let named = args.interconnect.and_then(NamedInterconnect::nominal);
    let bytes = (gradient as f64).max(representations);
    let measured = if ranks.size() > 1 { Some(measure(&worker, bytes)?) } else { None };
    let interconnect = named
        .or(measured)
        .context("one rank has no network to measure\nhint: --interconnect NAME, or mpirun -n 2")?;
    if !worker.leads() {
        return Ok(());
    }
    let traffic = |overlaps_from| Traffic {
        gradient: gradient as f64,
        representations,
        segments: encoder_segments(gradient, overlaps_from).max(1),
    };
    let traffic_here = traffic(ranks.overlaps_from());
    // named interconnects connect GPUs, whose sums overlap with the computation
    let predicted_traffic = if named.is_some() { traffic(Some(OVERLAPPED_BYTES)) } else { traffic_here };
    let steps: Vec<PredictedStep> = computed
        .iter()
        .map(|&(devices, seconds)| PredictedStep::new(devices, seconds, &predicted_traffic, &interconnect))
        .collect();
    let check = launch.zip(measured).map(|((compute, seconds), measured)| {
        let predicted = PredictedStep::new(ranks.size(), compute, &traffic_here, &measured).seconds();
        json!({
            "ranks": ranks.size(), "predicted_seconds": predicted, "measured_seconds": seconds,
            "measured_over_predicted": seconds / predicted,
        })
    });
    let mut result = json!({
        "stage": "scale",
        "config": setup.describe(&worker),
        "network": {
            "source": if named.is_some() { "named, nominal" } else { "measured on the ranks of this launch" },
            "transport": named.is_none().then(|| ranks.transport()),
            // null: all ranks are on one node, whose size nothing tells
            "devices_per_node": Some(interconnect.per_node).filter(|&devices| devices < usize::MAX),
            "gb_per_s_within": interconnect.within / 1e9,
            "gb_per_s_between": interconnect.between / 1e9, "latency_seconds": interconnect.latency,
        },
        "steps": steps.iter().map(|step| row(step, batch, steps[0].seconds())).collect::<Vec<Value>>(),
        "check": check,
    });
    result["config"]["segments"] = json!(predicted_traffic.segments);
    result["config"]["gradient_bytes"] = json!(gradient as f64);
    result["config"]["representation_bytes"] = json!(representations);
    print_text(&if args.train.json { format!("{result:#}\n") } else { as_lines(&result) })
}

/// The slowest rank's seconds.
fn slowest(ranks: &dyn Collective, seconds: f64) -> f64 {
    let all = ranks.all_gather(&Tensor::from_slice(&[seconds]), &vec![1; ranks.size()]);
    all.max().double_value(&[])
}

/// The interconnect of the ranks, measured with tensors on their devices: between nodes by sums over all
/// ranks, within them by sums over the ranks of each node, all nodes at once. Where all ranks are on one
/// node, or a node has one rank, there is one kind of link.
fn measure(worker: &Worker, bytes: f64) -> Result<Interconnect> {
    let ranks = worker.ranks;
    let place = ranks.place_on_node();
    let between = measure_link(ranks, worker, bytes);
    let of_nodes = ranks.all_gather(&Tensor::from_slice(&[place.ranks as f64]), &vec![1; ranks.size()]);
    let smallest = of_nodes.min().double_value(&[]) as usize;
    let (per_node, within) = match (place.nodes, smallest) {
        (1, _) => (usize::MAX, between),
        (_, 1) => (1, between),
        _ => {
            let node = ranks.split(place.node);
            let member = worker.in_group(&*node).map_err(|failure| failure.error)?;
            (smallest, measure_link(ranks, &member, bytes))
        }
    };
    let latency = [within.latency, between.latency];
    Ok(Interconnect { per_node, within: within.speed, between: between.speed, latency })
}

/// Bytes per second and seconds of a link.
#[derive(Clone, Copy)]
struct Link {
    speed: f64,
    latency: f64,
}

/// The link between the ranks of `group`, one of the groups of `all`, which measure at once. Its speed is
/// that at which a ring would have summed `bytes`. The latency comes from the time to sum one number.
fn measure_link(all: &dyn Collective, group: &Worker, bytes: f64) -> Link {
    let timed = |bytes: f64| {
        let length = bytes / Kind::Float.elt_size_in_bytes() as f64;
        let mut tensor = Tensor::zeros([length as i64], (Kind::Float, group.device));
        let seconds = median_seconds(TIMED_SUMS, || {
            all.barrier();
            group.ranks.all_reduce_sum(&mut tensor);
            let _ = tensor.double_value(&[0]);
        });
        slowest(all, seconds)
    };
    let (small, large) = (timed(4.0), timed(bytes));
    let n = group.ranks.size() as f64;
    let speed = 2.0 * (n - 1.0) / n * bytes / (large - small).max(1e-9);
    Link { speed, latency: small / (2.0 * n.log2().ceil()) }
}

fn row(step: &PredictedStep, batch: i64, one_device: f64) -> Value {
    json!({
        "devices": step.devices, "pairs_per_device": shares(batch as usize, step.devices)[0],
        "seconds": step.seconds(), "compute_seconds": step.compute, "gather_seconds": step.gather,
        "exposed_sum_seconds": step.exposed, "views_per_s": 2.0 * batch as f64 / step.seconds(),
        "efficiency": step.efficiency(one_device),
    })
}

fn as_lines(result: &Value) -> String {
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let ms = |value: &Value| format!("{:.3}", 1e3 * number(value));
    let network = &result["network"];
    let mut text = format!(
        "network: {} ({:.1} GB/s within a node, {:.1} between)\n",
        network["source"].as_str().unwrap_or_default(),
        number(&network["gb_per_s_within"]),
        number(&network["gb_per_s_between"]),
    );
    if let Some(transport) = network["transport"].as_str() {
        let _ = writeln!(text, "transport: {transport}");
    }
    let headings =
        ["devices", "step ms", "compute", "gather", "exposed", "views/s", "efficiency"].map(str::to_owned);
    let rows = result["steps"].as_array().into_iter().flatten().map(|step| {
        [
            step["devices"].to_string(),
            ms(&step["seconds"]),
            ms(&step["compute_seconds"]),
            ms(&step["gather_seconds"]),
            ms(&step["exposed_sum_seconds"]),
            format!("{:.0}", number(&step["views_per_s"])),
            format!("{:.3}", number(&step["efficiency"])),
        ]
    });
    for [devices, step, compute, gather, exposed, views, efficiency] in std::iter::once(headings).chain(rows)
    {
        let _ = writeln!(
            text,
            "{devices:>8} {step:>11} {compute:>11} {gather:>11} {exposed:>11} {views:>12} {efficiency:>10}"
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::as_lines;

    #[test]
    fn lines_stand_under_their_headings() {
        let step = json!({
            "devices": 8, "seconds": 0.5, "compute_seconds": 0.25, "gather_seconds": 0.125,
            "exposed_sum_seconds": 0.125, "views_per_s": 96.0, "efficiency": 0.5,
        });
        let network = json!({
            "source": "measured on the ranks of this launch", "transport": "NCCL 2.28.9; Open MPI v4.1.4",
            "gb_per_s_within": 300.0, "gb_per_s_between": 25.0,
        });
        let check = json!({
            "ranks": 2, "predicted_seconds": 0.5, "measured_seconds": 1.0, "measured_over_predicted": 2.0,
        });
        let text = as_lines(&json!({"network": network, "steps": [step], "check": check}));
        let expected = "\
network: measured on the ranks of this launch (300.0 GB/s within a node, 25.0 between)
transport: NCCL 2.28.9; Open MPI v4.1.4
 devices     step ms     compute      gather     exposed      views/s efficiency
       8     500.000     250.000     125.000     125.000           96      0.500
this launch, 2 ranks: predicted 500.000 ms, measured 1000.000 ms, ratio 2.000
";
        assert_eq!(text, expected);
    }
}
