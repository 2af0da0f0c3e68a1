#!/usr/bin/env python3
"""Holds the forms for computing centres in jobscripts/ against the program (`make test-slurm`).

    scripts/test_forms.py

They are parsed; their commands are the same and are accepted by the program; what they say of versions,
features and crates is what the checkout says; and jobscripts/verify.py refuses runs that do not count. PyYAML
is needed.
"""

import ast
import json
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

try:
    import yaml
except ImportError:
    sys.exit("error: no PyYAML\nhint: apt-get install python3-yaml, or pip install pyyaml")

ROOT = Path(__file__).resolve().parents[1]
JOBSCRIPTS = ROOT / "jobscripts"
PROGRAM = ROOT / "target/release/eqr-bench"
JUBE = "jube/eqr-bench.yaml"
REFRAME = "reframe/eqr_bench.py"
RAMBLE = "ramble/applications/eqr-bench/application.py"
SPACK = "spack/package.py"


def text(name):
    return (JOBSCRIPTS / name).read_text()


def setting(pattern, path):
    """The text that the checkout's file has for a pattern."""
    return re.search(pattern, (ROOT / path).read_text()).group(1)


def commands_of_python(name):
    """The value of the constant COMMANDS."""
    for statement in ast.parse(text(name)).body:
        if isinstance(statement, ast.Assign) and statement.targets[0].id == "COMMANDS":
            return ast.literal_eval(statement.value)
    raise AssertionError(f"{name} has no COMMANDS")


def commands_of_jube():
    sets = yaml.safe_load(text(JUBE))["parameterset"]
    parameters = [parameter for each in sets for parameter in each["parameter"]]
    return {each["tag"]: each["_"] for each in parameters if each["name"] == "command"}


def verify(run):
    command = [sys.executable, JOBSCRIPTS / "verify.py", run]
    return subprocess.run(command, capture_output=True, text=True)


class Forms(unittest.TestCase):
    def test_every_file_is_parsed(self):
        for path in JOBSCRIPTS.rglob("*"):
            if path.suffix in (".yaml", ".yml"):
                self.assertIsInstance(yaml.safe_load(path.read_text()), dict, path)
            elif path.suffix in (".py", ".eb"):
                ast.parse(path.read_text(), str(path))
            elif path.suffix in (".sh", ".sbatch", ".in"):
                subprocess.run(["bash", "-n", path], check=True)

    def test_all_forms_have_the_same_commands_and_the_program_takes_them(self):
        commands = commands_of_jube()
        self.assertEqual(set(commands), {"test", "scaling", "large"})
        self.assertEqual(commands, commands_of_python(REFRAME))
        self.assertEqual(commands, commands_of_python(RAMBLE))
        for command in commands.values():
            described = subprocess.run([PROGRAM, *command.split(), "--out", "/nonexistent/run", "--dry-run"],
                                       capture_output=True, text=True)
            self.assertEqual(described.returncode, 0, described.stderr)
            trainings = re.findall(r"^(pretrain-\S+) .* (\d+) steps", described.stdout, re.MULTILINE)
            self.assertTrue(trainings)
            recorded = {(each["training"], str(each["steps"])) for each in json.loads(text("losses.json"))}
            self.assertLessEqual(set(trainings), recorded, "trainings that verify.py does not know")

    def test_jube_table_has_columns_that_exist(self):
        form = yaml.safe_load(text(JUBE))
        known = {each["name"] for group in form["parameterset"] for each in group["parameter"]}
        known |= {each["name"] for each in form["patternset"]["pattern"]}
        columns = form["result"]["table"]["column"]
        self.assertLessEqual({each["_"] if isinstance(each, dict) else each for each in columns}, known)
        replaced = {each["source"] for each in form["substituteset"]["sub"]}
        self.assertEqual(replaced, set(re.findall(r"#[A-Z_]+#", text("jube/job.in"))))

    def test_versions_and_features_are_those_of_the_checkout(self):
        package = text(SPACK)
        self.assertIn(f'rust@{setting(r"rust-version = .(.*).", "Cargo.toml")}:', package)
        self.assertIn(f'py-torch@{setting(r"TORCH_SERIES=(.*)", "scripts/setup.sh")}"', package)
        features = setting(r"\[features\]\n((?:.+\n)+)", "suite/Cargo.toml")
        named = re.search(r'"--features", "(.*?)"', package).group(1)
        self.assertRegex(features, rf"(?m)^{named} = ")
        subprocess.run([sys.executable, JOBSCRIPTS / "easybuild/make.py", "--check"], check=True)

    def test_both_containers_use_the_same_steps(self):
        for recipe in (ROOT / "Dockerfile", JOBSCRIPTS / "container/eqr-bench.def"):
            lines = [line for line in recipe.read_text().splitlines() if not line.startswith("#")]
            steps = [step for line in lines for step in re.findall(r"container/steps\.sh (\w+)", line)]
            self.assertEqual(steps, ["build", "runtime"], recipe)
            self.assertNotIn("apt-get", "\n".join(lines), recipe)


class Verification(unittest.TestCase):
    def run_folder(self, change=lambda cell: None):
        """A run with one recorded training, changed."""
        recorded = json.loads(text("losses.json"))[0]
        curve = [{"step": step, "terms": {"loss": loss}} for step, loss in recorded["losses"]]
        cell = {"id": recorded["training"], "step": recorded["steps"], "resumed": False, "curve": curve}
        change(cell)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        run = Path(folder.name)
        (run / "cells").mkdir()
        (run / "cells" / f"{cell['id']}.json").write_text(json.dumps(cell))
        (run / "timing.json").write_text(json.dumps({"data": 1.5, "training": 2.25, "probes": 3.0}))
        return run

    def test_a_valid_run_has_a_time(self):
        verified = verify(self.run_folder())
        self.assertEqual(verified.returncode, 0, verified.stderr)
        self.assertIn("time to complete: 6.75 s", verified.stdout)

    def test_runs_that_do_not_count_have_none(self):
        def frozen(cell):
            for point in cell["curve"]:
                point["terms"]["loss"] = cell["curve"][0]["terms"]["loss"]

        def no_number(cell):
            cell["curve"][-1]["terms"]["loss"] = float("nan")

        def shorter(cell):
            cell["step"] -= 1

        def cut(cell):
            del cell["curve"][-1]

        def resumed(cell):
            cell["resumed"] = True

        for change in (frozen, no_number, shorter, cut, resumed):
            verified = verify(self.run_folder(change))
            self.assertEqual((verified.returncode, verified.stdout), (3, ""), change.__name__)
            self.assertIn("error: not valid: ", verified.stderr)

    def test_an_unfinished_run_is_refused(self):
        run = self.run_folder()
        (run / "timing.json").unlink()
        self.assertEqual(verify(run).returncode, 2)


if __name__ == "__main__":
    unittest.main()
