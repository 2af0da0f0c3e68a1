//! Four ranks on false GPUs, on one node and on two, with the false NCCL of
//! [false_nccl.cpp](../false_gpu/false_nccl.cpp). Both nodes are this machine: the remote shell by which MPI
//! starts processes on them does not leave it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use serde_json::Value;

use crate::common::{
    PROGRAM, eqr_ranks_command, finished, folder, has_mpi, is_refusal, mpirun, output, run_args, same_losses,
    stderr, succeeded, takes_long,
};
use crate::false_nccl::{TRAINING, large, on_gpus, transport, with_nccl};
use crate::skip::skipped;

/// What MPI calls in place of `ssh node-N command..`.
static REMOTE_SHELL: LazyLock<PathBuf> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("remote-shell.sh");
    let script = "#!/bin/sh\nexport EQR_FALSE_NODE=\"${1#node-}\"\nshift\nexec sh -c \"$*\"\n";
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
});

/// Whether MPI can be told that this machine is two. Skips the test if not, and in the short run: Open MPI's
/// daemons, of which there are two on this machine then, sometimes end at their start.
fn has_nodes() -> bool {
    static OPEN_MPI_4: LazyLock<bool> = LazyLock::new(|| {
        let version = output(Command::new("mpirun").arg("--version")).stdout;
        String::from_utf8_lossy(&version).starts_with("mpirun (Open MPI) 4.")
    });
    let found = has_mpi() && *OPEN_MPI_4;
    if !found {
        skipped("the false nodes are told to Open MPI 4");
    }
    found && takes_long()
}

/// Four ranks on two nodes with two GPUs each. `order` is by slot (ranks 0 and 1 on the first node) or by
/// node (ranks 0 and 2).
fn on_two_nodes(folder: &Path, order: &str, variables: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = mpirun(folder, 4);
    command.args(["--mca", "plm", "rsh", "--mca", "plm_rsh_agent"]).arg(&*REMOTE_SHELL);
    // the memory that ranks of a node share is named by the node's number in the launch, which both have
    // Open MPI's daemons now and then place a map of the machine over their own stack, and end
    command.args(["--mca", "rtc_hwloc_vmhole", "none"]);
    command.args(["--mca", "btl", "self,tcp", "--host", "node-0:2,node-1:2", "--map-by", order]);
    with_nccl(on_gpus(command.arg(PROGRAM).args(args)));
    output(command.envs(variables.iter().copied()))
}

/// Three steps of the tiny network.
fn small(name: &str) -> Vec<&str> {
    run_args(name, &["--methods", "Ours", "--pretrain-only", "--set", "train.epochs=1"])
}

#[test]
fn four_gpus_have_the_losses_of_four_ranks_on_the_cpu() {
    if !has_mpi() {
        return;
    }
    let folder = folder();
    let mut command = eqr_ranks_command(folder.path(), 4, &large("run"));
    succeeded(&output(with_nccl(on_gpus(&mut command)).env("EQR_FALSE_GPUS", "4")));
    let run = folder.path().join("run");
    assert!(transport(&run).starts_with("NCCL 2.27.3; "), "{}", transport(&run));
    same_losses(&finished(4, &large("large-4")), &run, TRAINING, 3);
}

/// Two nodes that NCCL does not connect.
struct Nodes {
    name: &'static str,
    order: &'static str,
    variables: &'static [(&'static str, &'static str)],
    note: Option<&'static str>,
}

/// The gradient goes over NCCL within each node and over MPI between them, whichever ranks a node has.
#[test]
fn nodes_that_nccl_does_not_connect_have_the_losses_of_the_cpu() {
    if !has_nodes() {
        return;
    }
    let folder = folder();
    let cpu = finished(4, &small("small-4"));
    let cases = [
        Nodes {
            name: "refuses",
            order: "slot",
            variables: &[("EQR_FALSE_NCCL_APART", "error")],
            note: Some("(rank 0: ncclCommInitRank: unhandled system error): gradients are summed by NCCL"),
        },
        Nodes {
            name: "hangs",
            order: "node",
            variables: &[("EQR_FALSE_NCCL_APART", "hang"), ("EQR_WATCHDOG_SECONDS", "20")],
            note: Some("(4 ranks did not all join within 20s): gradients are summed by NCCL"),
        },
        Nodes { name: "asked", order: "node", variables: &[("EQR_NCCL_SCOPE", "node")], note: None },
    ];
    for Nodes { name, order, variables, note } in cases {
        let run = on_two_nodes(folder.path(), order, variables, &small(name));
        succeeded(&run);
        let text = stderr(&run);
        assert_eq!(
            text.matches("note: NCCL does not connect the 2 nodes ").count(),
            note.iter().count(),
            "{text}"
        );
        assert!(
            note.is_none_or(|note| text.contains(note) && text.contains("EQR_NCCL_SCOPE=node")),
            "{text}"
        );
        let run = folder.path().join(name);
        let way = transport(&run);
        assert!(way.starts_with("NCCL 2.27.3 within nodes, MPI between 2; "), "{way}");
        same_losses(&cpu, &run, TRAINING, 3);
    }
}

#[test]
fn nodes_that_nccl_connects_are_one_communicator() {
    if !has_nodes() {
        return;
    }
    let folder = folder();
    succeeded(&on_two_nodes(folder.path(), "slot", &[], &small("run")));
    let way = transport(&folder.path().join("run"));
    assert!(way.starts_with("NCCL 2.27.3; "), "{way}");
}

#[test]
fn an_unknown_scope_of_nccl_is_refused() {
    if !has_mpi() {
        return;
    }
    let folder = folder();
    let mut command = eqr_ranks_command(folder.path(), 2, &["perf", "allreduce", "--mib", "1"]);
    let refused = output(with_nccl(on_gpus(&mut command)).env("EQR_NCCL_SCOPE", "rack"));
    is_refusal(&refused, &["EQR_NCCL_SCOPE=rack: not a scope of NCCL", "hint: EQR_NCCL_SCOPE=node"]);
}

/// Each call of the false NCCL is made to take 40 ms, and no other transport is.
#[test]
fn measurements_between_gpus_go_over_nccl() {
    if !has_nodes() {
        return;
    }
    let folder = folder();
    let here = folder.path();
    let slow = ("EQR_FALSE_NCCL_DELAY", "40");
    let measure = |variables: &[(&str, &str)], args: &[&str]| -> Value {
        let options = ["--threads", "1", "--json", "--steps", "1"];
        let measured = on_two_nodes(here, "slot", &[variables, &[slow]].concat(), &[args, &options].concat());
        succeeded(&measured);
        serde_json::from_slice(&measured.stdout).unwrap()
    };
    let sum = ["perf", "allreduce", "--mib", "1"];
    let number = |found: &Value, key: &str| found[key].as_f64().unwrap();
    let everywhere = measure(&[], &sum);
    assert!(everywhere["config"]["transport"].as_str().unwrap().starts_with("NCCL 2.27.3; "), "{everywhere}");
    assert!(number(&everywhere, "seconds") >= 0.04, "{everywhere}");
    let ratio = number(&everywhere, "bus_gb_per_s") / number(&everywhere, "gb_per_s");
    assert!((ratio - 1.5).abs() < 1e-9, "2 (n - 1) / n of four ranks: {everywhere}");
    // a sum and a broadcast within the node
    let by_node = measure(&[("EQR_NCCL_SCOPE", "node")], &sum);
    assert!(number(&by_node, "seconds") >= 0.08, "{by_node}");

    let scale = [
        "perf",
        "scale",
        "--img",
        "8",
        "--patch",
        "4",
        "--dim",
        "16",
        "--depth",
        "1",
        "--heads",
        "1",
        "--batch",
        "4",
        "--precision",
        "fp32",
    ];
    let network = measure(&[("EQR_NCCL_SCOPE", "node")], &scale)["network"].clone();
    assert_eq!(network["source"], "measured on the ranks of this launch");
    assert!(network["transport"].as_str().unwrap().contains("within nodes, MPI between 2"), "{network}");
    assert_eq!(network["devices_per_node"], 2, "{network}");
    // up and down a tree of depth 1 within a node, of depth 2 between nodes
    let latency = network["latency_seconds"].as_array().unwrap();
    let [within, between] = [0, 1].map(|at| latency[at].as_f64().unwrap());
    assert!((0.02..0.04).contains(&within) && between >= 0.02, "{network}");
}
