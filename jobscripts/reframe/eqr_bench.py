"""ReFrame check: runs the suite `weekly` on one node and reports its metrics and speeds.

    reframe -C SITE.py -c jobscripts/reframe/eqr_bench.py -r --performance-report

Site settings (partitions, modules, launcher) are ReFrame's own. EQR_BENCH is the path of the program; the
default is the program in the checkout. For more ranks, another suite, or options of `eqr-bench run`:

    -S num_tasks=4 -S suite=quickstart -S options=--seeds,5
"""

import csv
import json
import os
import statistics
from pathlib import Path

import reframe as rfm
import reframe.utility.sanity as sn
import reframe.utility.typecheck as typ

CHECKOUT = Path(__file__).resolve().parents[2]


@rfm.simple_test
class EqrBenchWeekly(rfm.RunOnlyRegressionTest):
    descr = "eqr-bench: pretraining and probes of three methods on rendered solids"
    valid_systems = ["*"]
    valid_prog_environs = ["*"]
    suite = variable(str, value="weekly")
    num_tasks = 1
    options = variable(typ.List[str], value=[])
    time_limit = "1h"
    executable = os.environ.get("EQR_BENCH", str(CHECKOUT / "target/release/eqr-bench"))

    @run_before("run")
    def set_options(self):
        self.executable_opts = ["run", self.suite, "--out", "run", *self.options]

    @sanity_function
    def every_cell_is_finished(self):
        return sn.all([
            sn.assert_found(r"report: ", self.stderr),
            sn.assert_not_found(r"^error: ", self.stderr),
        ])

    @run_before("performance")
    def read_values(self):
        run = Path(self.stagedir) / "run"
        speeds, values = {}, {}
        for path in (run / "cells").glob("pretrain-*.json"):
            cell = json.loads(path.read_text())
            # the seconds of a resumed training are not a timing
            if not cell["resumed"]:
                speeds.setdefault(cell["method"], []).append(cell["step"] / cell["seconds"])
        with open(run / "metrics.csv", newline="") as file:
            for row in csv.DictReader(file):
                if row["metric"] in ("r2_per_output", "top1"):
                    values.setdefault(f"{row['method']} {row['task']}", []).append(float(row["value"]))
        self.perf_variables = {}
        for unit, found in (("steps/s", speeds), ("", values)):
            for name, numbers in found.items():
                mean = statistics.fmean(numbers)
                self.perf_variables[f"{name} {unit}".strip()] = sn.make_performance_function(
                    sn.defer(mean), unit or "of 1")
