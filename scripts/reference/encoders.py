#!/usr/bin/env python3
"""Writes encoders with random weights that eqr-bench did not train.

They are a timm ViT as safetensors and as TorchScript (features, and tokens for segmentation), and a
torchvision ResNet-18 as TorchScript (its last feature map). Prints timm's features of fixed images, for
comparison with those of eqr-bench.

    pip install torch==2.11.0 torchvision==0.26.0 timm safetensors
    python3 scripts/reference/encoders.py FOLDER [SIDE]

With `--pretrained` the published weights are downloaded and used instead.
"""

import json
import sys
from pathlib import Path

import timm
import torch
import torchvision
from safetensors.torch import save_file


class Tokens(torch.nn.Module):
    """A ViT's normalised tokens (N, 1 + T, D), the class token first."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model.forward_features(images)


class LastMap(torch.nn.Module):
    """A ResNet without pooling and classifier: (N, 512, S / 32, S / 32)."""

    def __init__(self, model):
        super().__init__()
        self.body = torch.nn.Sequential(*list(model.children())[:-2])

    def forward(self, images):
        return self.body(images)


def trace(module, path, side):
    torch.jit.trace(module.eval(), torch.zeros(2, 3, side, side)).save(path)


def main():
    pretrained = "--pretrained" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--pretrained"]
    folder, side = Path(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 64
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    # timm's blocks, at a depth that two cores encode in minutes
    shape = {
        "img_size": side,
        "patch_size": 8,
        "embed_dim": 192,
        "depth": 12,
        "num_heads": 3,
        "num_classes": 0,
    }
    vit = timm.models.vision_transformer.VisionTransformer(**shape).eval()
    if pretrained:
        vit = timm.create_model("vit_tiny_patch16_224", pretrained=True, num_classes=0, img_size=side).eval()
    save_file(vit.state_dict(), folder / "vit.safetensors")
    # shapes do not show the number of heads
    (folder / "config.json").write_text(json.dumps({"model_args": {"num_heads": shape["num_heads"]}}))
    trace(vit, folder / "vit-features.pt", side)
    trace(Tokens(vit), folder / "vit-tokens.pt", side)
    resnet = torchvision.models.resnet18(weights="DEFAULT" if pretrained else None).eval()
    trace(LastMap(resnet), folder / "resnet18-map.pt", side)
    images = torch.arange(2 * 3 * side * side, dtype=torch.float32).sin().view(2, 3, side, side)
    with torch.no_grad():
        print("timm's class token of sin(0), sin(1), ..:", vit(images)[:, :4].tolist())


if __name__ == "__main__":
    main()
