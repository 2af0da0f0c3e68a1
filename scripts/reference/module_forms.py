#!/usr/bin/env python3
"""Writes TorchScript modules that return dictionaries, for the tests of eqr-bench.

    pip install torch==2.11.0
    python3 scripts/reference/module_forms.py suite/tests/data/modules
"""

import sys
from pathlib import Path
from typing import Dict

import torch


class Tokens(torch.nn.Module):
    """What transformers' models return: tokens (N, 17, 3), the class token first, and features (N, 3)."""

    def forward(self, images: torch.Tensor) -> Dict[str, torch.Tensor]:
        map = torch.nn.functional.adaptive_avg_pool2d(images, 4)
        tokens = map.flatten(2).transpose(1, 2)
        mean = tokens.mean(1, keepdim=True)
        return {"last_hidden_state": torch.cat([2 * mean, tokens], 1), "pooler_output": mean[:, 0]}


class Pyramid(torch.nn.Module):
    """Maps of two sizes, as of a feature pyramid."""

    def forward(self, images: torch.Tensor) -> Dict[str, torch.Tensor]:
        pool = torch.nn.functional.adaptive_avg_pool2d
        return {"0": pool(images, 8), "1": pool(images, 4)}


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.jit.script(Tokens().eval()).save(folder / "tokens.pt")
    torch.jit.script(Pyramid().eval()).save(folder / "pyramid.pt")


if __name__ == "__main__":
    main()
