from ramble.appkit import *

# The work of a scale: one line each.
COMMANDS = {
    "test": "bench --scale tiny",
    "scaling": "bench --scale node",
    "large": "bench --scale cluster --micro-batch auto",
}


class EqrBench(ExecutableApplication):
    """eqr-bench: pretraining and probes of joint-embedding methods on rendered solids"""

    name = "eqr-bench"

    tags("machine-learning", "training")

    for scale, command in COMMANDS.items():
        # a run that was interrupted is no measurement, so none is continued
        executable(
            f"begin-{scale}",
            "rm -rf {experiment_run_dir}/run",
            use_mpi=False,
            output_capture=OUTPUT_CAPTURE.ALL,
        )
        executable(
            f"run-{scale}",
            "{eqr_root}/target/release/eqr-bench " + command + " --out {experiment_run_dir}/run {options}",
            use_mpi=True,
            output_capture=OUTPUT_CAPTURE.ALL,
        )
        workload(scale, executables=[f"begin-{scale}", f"run-{scale}"])
        workload_variable(
            "eqr_root", default="", description="Folder of the checkout, built", workloads=[scale]
        )
        workload_variable(
            "options", default="", description="More options of `eqr-bench bench`", workloads=[scale]
        )

    # a result that is not valid has no time
    success_criteria("valid", mode="string", match=r"time to complete: ")

    figure_of_merit(
        "time to complete",
        fom_regex=r"time to complete: (?P<seconds>\S+) s",
        group_name="seconds",
        units="s",
    )
    for part in ("data", "transforms", "encode", "loss", "reduce", "optimise", "probe", "other"):
        figure_of_merit(
            part, fom_regex=rf"\s+{part} +(?P<seconds>\S+) s", group_name="seconds", units="s"
        )
