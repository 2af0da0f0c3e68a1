"""ReFrame check: runs the benchmark, verifies the run, and holds its time against the system's reference.

    reframe -C SITE.py -c jobscripts/reframe/eqr_bench.py --tag test -r --performance-report

The tags are the scales: `test` (half a minute), `scaling` (a fixed work for the GPUs of a node and more) and
`large` (a batch of 4,096 pairs). The ranks are started by the launcher of the partition. EQR_BENCH is the path of the
program; the default is the program in the checkout.

    -S num_tasks=8 -S num_tasks_per_node=4    ranks
    -S reference_seconds=95                   this system's time, where REFERENCES has none
    -S options=--device,cpu                   more options of `eqr-bench bench`

A run that needs more than 15% longer than the reference fails. Without a reference, only the verification can
fail, and a warning says so.
"""

import os
from pathlib import Path

import reframe as rfm
import reframe.core.logging as logging
import reframe.utility.sanity as sn
import reframe.utility.typecheck as typ

CHECKOUT = Path(__file__).resolve().parents[2]

# The work of a scale: one line each.
COMMANDS = {
    "test": "bench --scale tiny",
    "scaling": "bench --scale node",
    "large": "bench --scale cluster --micro-batch auto",
}

# Seconds to complete by scale, system:partition and number of ranks.
REFERENCES = {}

SLOWER = 0.15


@rfm.simple_test
class EqrBench(rfm.RunOnlyRegressionTest):
    descr = "eqr-bench: pretraining and probes of joint-embedding methods on rendered solids"
    valid_systems = ["*"]
    valid_prog_environs = ["*"]
    scale = parameter(COMMANDS)
    num_tasks = 1
    options = variable(typ.List[str], value=[])
    reference_seconds = variable(float, value=0.0)
    time_limit = "1h"
    executable = os.environ.get("EQR_BENCH", str(CHECKOUT / "target/release/eqr-bench"))

    @run_after("init")
    def set_tags(self):
        self.tags = {self.scale}

    @run_before("run")
    def set_command(self):
        self.executable_opts = [*COMMANDS[self.scale].split(), "--out", "run", *self.options]

    @run_before("performance")
    def set_reference(self):
        place = self.current_partition.fullname
        seconds = self.reference_seconds or REFERENCES.get((self.scale, place, self.num_tasks))
        if seconds:
            self.reference = {place: {"time_to_complete": (seconds, None, SLOWER, "s")}}
        else:
            logging.getlogger().warning(
                f"no reference for {self.num_tasks} ranks of {place}: the time is not judged "
                "(-S reference_seconds=SECONDS)")

    @sanity_function
    def is_valid(self):
        return sn.all([
            sn.assert_found(r'"valid": true', "run/bench.json"),
            sn.assert_not_found(r"^error: ", self.stderr),
        ])

    @performance_function("s")
    def time_to_complete(self):
        return sn.extractsingle(r"^time to complete: (\S+) s$", self.stdout, 1, float)

    @performance_function("images/s")
    def images_per_second_per_device(self):
        pattern = r'"images_per_second_per_device": ([^,\s]+)'
        return sn.extractsingle(pattern, "run/bench.json", 1, float)
