#!/usr/bin/env python3
"""Writes small files of torch.save and safetensors for the tests of the crate eqr-weights.

The harmless ones hold tensors whose values are known: element i of a tensor is i. The hostile ones would
create the file `ran` when Python loads them; the tests show that the reader refuses them.

    pip install torch==2.11.0 safetensors
    python3 scripts/reference/torch_files.py models/weights/tests/files
"""

import argparse
import collections
import json
import os
import pathlib
import sys
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file

ZIP_TYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
]


def counting(shape, dtype=torch.float32):
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float64).reshape(shape).to(dtype)


def nested():
    """A checkpoint of a training, with what lies beside parameters."""
    teacher = collections.OrderedDict()
    teacher["backbone.weight"] = counting([2, 3])
    teacher["backbone.bias"] = torch.nn.Parameter(counting([3]))
    shared = counting([4, 3])
    weights = torch.nn.Linear(3, 2)
    optimiser = torch.optim.Adam(weights.parameters())
    weights(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    return {
        "epoch": 7,
        "loss": 0.25,
        "args": argparse.Namespace(lr=1e-3, folder=pathlib.PosixPath("/data"), betas=(0.9, 0.95)),
        "optimizer": optimiser.state_dict(),
        "counts": collections.defaultdict(int, {"a": 1}),
        "size": torch.Size([1, 2]),
        "dtype": torch.float16,
        "teacher": teacher,
        "student": {
            "whole": shared,
            "transposed": shared.t(),
            "row": shared[2],
            "columns": shared[:, 1:],
            "number": torch.tensor(5),
        },
        "models": [{"weight": counting([2])}],
    }


class Hostile:
    """Calls `function(*arguments)` when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


HOSTILE = {
    "system": lambda: Hostile(os.system, "touch ran"),
    "eval": lambda: Hostile(eval, "open('ran', 'w')"),
    "getattr": lambda: Hostile(getattr, Hostile(__import__, "os"), "system"),
    "nested": lambda: {"state_dict": {"weight": Hostile(exec, "open('ran', 'w')")}},
    "module": lambda: torch.nn.Sequential(torch.nn.Linear(2, 2)),
}


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    types = {str(dtype).removeprefix("torch."): counting([2, 2], dtype) for dtype in ZIP_TYPES}
    types["bool"] = torch.tensor([False, True])
    torch.save(types, folder / "types.pth")
    torch.save(nested(), folder / "nested.pth")
    torch.save(nested(), folder / "legacy.pth", _use_new_zipfile_serialization=False)
    for name, make in HOSTILE.items():
        torch.save(make(), folder / f"hostile-{name}.pth")
        torch.save(make(), folder / f"hostile-{name}-legacy.pth", _use_new_zipfile_serialization=False)
    # an archive that was packed again with compression
    with zipfile.ZipFile(folder / "types.pth") as old, zipfile.ZipFile(
        folder / "deflated.pth", "w", zipfile.ZIP_DEFLATED
    ) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    save_file({"a": counting([2, 3])}, folder / shards[0])
    save_file({"b": counting([3], torch.bfloat16), "c": counting([2], torch.int64)}, folder / shards[1])
    index = {"metadata": {}, "weight_map": {"a": shards[0], "b": shards[1], "c": shards[1]}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


if __name__ == "__main__":
    main()
