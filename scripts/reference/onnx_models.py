#!/usr/bin/env python3
"""Writes ONNX models of every form that eqr-bench takes or refuses, with PyTorch's answers, for its tests.

    pip install torch==2.11.0 onnx onnxscript safetensors
    python3 scripts/reference/onnx_models.py suite/tests/data/onnx
"""

import sys
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file

SIDE = 16


class Tower(torch.nn.Module):
    """A patch embedding and one attention block: tokens (N, 17, 8), the class token first, and features."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Conv2d(3, 8, 4, 4)
        self.class_token = torch.nn.Parameter(torch.randn(1, 1, 8))
        self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = torch.nn.LayerNorm(8)

    def forward(self, images):
        patches = self.embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token + torch.zeros_like(patches[:, :1]), patches], 1)
        tokens = self.norm(tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0])
        return tokens, torch.tanh(tokens[:, 0])


class Map(torch.nn.Module):
    """A map (N, 8, S / 4, S / 4) of images of any size."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Conv2d(3, 8, 4, 4)

    def forward(self, images):
        return torch.nn.functional.gelu(self.embed(images))


class Features(torch.nn.Module):
    """Features (N, 8)."""

    def __init__(self):
        super().__init__()
        self.map = Map()

    def forward(self, images):
        return self.map(images).mean((2, 3))


class Bytes(torch.nn.Module):
    """Features of images in bytes."""

    def forward(self, images):
        return images.float().mean((2, 3))


def export(module, path, images, outputs, dynamic):
    axes = {name: dynamic for name in ["images", *outputs]} if dynamic else None
    torch.onnx.export(
        module.eval(),
        (images,),
        path,
        input_names=["images"],
        output_names=outputs,
        dynamic_axes=axes,
        opset_version=17,
        dynamo=False,
    )


def one_node(path, node, input_shape, **domains):
    """A model of one node, which PyTorch would not write."""
    value = helper.make_tensor_value_info
    inputs, outputs = [value("images", TensorProto.FLOAT, input_shape)], [value("y", TensorProto.FLOAT, None)]
    opsets = [helper.make_opsetid("", 17), *[helper.make_opsetid(*domain) for domain in domains.items()]]
    graph = helper.make_graph([node], "graph", inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    images = torch.randn(5, 3, SIDE, SIDE)
    tower, map, features, half = Tower(), Map(), Features(), Features()
    batch = {0: "batch"}
    export(tower, folder / "tower.onnx", images[:2], ["tokens", "pooled"], batch)
    export(map, folder / "map.onnx", images[:2], ["map"], {0: "batch", 2: "rows", 3: "columns"})
    export(features, folder / "fixed.onnx", images[:2], ["features"], None)
    with torch.no_grad():
        expected = {"half": half(images)}
    export(half.half(), folder / "half.onnx", images[:2].half(), ["features"], batch)
    with torch.no_grad():
        tokens, pooled = tower(images)
        expected |= {"tokens": tokens, "pooled": pooled, "map": map(images), "features": features(images)}
    expected = {name: tensor.contiguous() for name, tensor in expected.items()}
    save_file({"images": images, **expected}, folder / "expected.safetensors")
    # refused
    export(Bytes(), folder / "bytes.onnx", torch.zeros(2, 3, SIDE, SIDE, dtype=torch.uint8), ["features"], batch)
    channels_last = helper.make_node("ReduceMean", ["images"], ["y"], axes=[1, 2], keepdims=0)
    one_node(folder / "channels-last.onnx", channels_last, ["n", SIDE, SIDE, 3])
    one_node(folder / "flat.onnx", helper.make_node("Relu", ["images"], ["y"]), ["n", 3 * SIDE * SIDE])
    fold = helper.make_node("Fold", ["images"], ["y"], domain="my.domain")
    one_node(folder / "unknown-operator.onnx", fold, ["n", 3, SIDE, SIDE], **{"my.domain": 1})


if __name__ == "__main__":
    main()
