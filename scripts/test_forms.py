#!/usr/bin/env python3
"""Holds the forms for computing centres in jobscripts/ against the program (`make test-slurm`).

    scripts/test_forms.py

They are parsed; their commands are the same and are accepted by the program; and what they say of versions,
features and crates is what the checkout says. PyYAML is needed.
"""

import ast
import re
import subprocess
import sys
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
            # a folder that cannot be made: the command line is read, and nothing is computed
            refused = subprocess.run([PROGRAM, *command.split(), "--out", "/dev/null/run"],
                                     capture_output=True, text=True)
            self.assertEqual(refused.returncode, 2, refused.stderr)
            self.assertIn("/dev/null/run", refused.stderr)

    def test_patterns_of_jube_are_keys_of_the_result(self):
        patterns = yaml.safe_load(text(JUBE))["patternset"]["pattern"]
        keys = {re.match('"(.*?)"', each["_"]).group(1) for each in patterns}
        sources = [ROOT / "suite/src/bench" / name for name in ("figure_of_merit.rs", "stopwatch.rs")]
        fields = set(re.findall(r"^    (?:pub\(super\) )?(\w+): ", "".join(map(Path.read_text, sources)), re.M))
        self.assertLessEqual(keys, fields)

    def test_jube_table_has_columns_that_exist(self):
        form = yaml.safe_load(text(JUBE))
        known = {each["name"] for group in form["parameterset"] for each in group["parameter"]}
        known |= {each["name"] for each in form["patternset"]["pattern"]}
        columns = form["result"]["table"]["column"]
        self.assertLessEqual({each["_"] if isinstance(each, dict) else each for each in columns}, known)
        replaced = {each["source"] for each in form["substituteset"]["sub"]}
        self.assertEqual(replaced, set(re.findall(r"#[A-Z_]+#", text("jube/job.in"))))

    def test_patterns_of_ramble_keep_their_ends(self):
        patterns = re.findall(r'fom_regex=rf?"(.*?)"', text(RAMBLE))
        self.assertEqual(len(patterns), 2)
        for pattern in patterns:
            self.assertEqual(pattern, pattern.strip(), "ramble strips them, and matches from a line's start")

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


if __name__ == "__main__":
    unittest.main()
