# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.11.0", "torchvision==0.26.0", "safetensors==0.8.0", "numpy"]
# ///
"""Writes datasets/tests/reference/transforms.safetensors: torchvision's transforms of a few small images.

    python scripts/reference/transforms.py [FILE]

The file holds the images (3, H, W) uint8 and `<case>` (3, H', W') uint16, values in [0, 1] times 65535. The
entry `reference` of its metadata is JSON: the versions, and the parameters of every case in the conventions
of eqr-datasets. This script translates them into torchvision's conventions; comments say where the two
differ.
"""

import json
import math
import os
import sys

import torch
import torchvision
import torchvision.transforms.functional as F
from safetensors.torch import save_file
from torchvision.transforms import InterpolationMode

SIZES = [(37, 29), (32, 32), (64, 64)]  # height, width
COLORS = [
    {"brightness": 0.6},
    {"brightness": 1.4},
    {"contrast": 0.6},
    {"contrast": 1.4},
    {"saturation": 0.6},
    {"saturation": 1.4},
    {"hue": -0.1},
    {"hue": 0.1},
    {"hue": 0.45},
    {"brightness": 1.35, "contrast": 0.7, "saturation": 1.3, "hue": -0.07},
    {"brightness": 0.65, "contrast": 1.4, "saturation": 0.6, "hue": 0.1},
]
SIGMAS = [0.1, 0.5, 0.9, 1.4, 2.0]
# angle in degrees, counter-clockwise as seen; shift (x, y) as fractions of the sides
TURNS = [
    {"angle": 17.0},
    {"angle": -63.0},
    {"angle": 90.0},
    {"shift": [0.2, -0.13]},
    {"shift": [-0.25, 0.25]},
    {"angle": 40.0, "shift": [0.11, 0.07]},
    {"angle": -85.0, "shift": [-0.2, 0.1]},
]
# the whole geometry; torchvision's affine has one scale for both axes, so these crops have equal width and
# height
BOXES = [
    {"crop": [0.0, 0.0, 0.6, 0.6]},
    {"crop": [0.3, -0.25, 0.7, 0.7]},
    {"flip": True, "crop": [-0.2, 0.1, 0.5, 0.5], "angle": 25.0, "shift": [0.1, -0.05]},
    {"flip": True, "crop": [0.1, 0.15, 0.8, 0.8], "angle": -70.0, "shift": [-0.15, -0.2]},
]
# top, left, height, width and the side of the result
RESIZES = {
    (37, 29): [([3, 2, 31, 25], 16), ([0, 0, 37, 29], 29), ([30, 20, 7, 9], 24), ([5, 4, 13, 13], 13)],
    (32, 32): [([1, 6, 29, 22], 32), ([16, 0, 16, 32], 8)],
    (64, 64): [([10, 3, 50, 60], 24), ([0, 1, 1, 3], 8)],
}


def image(height, width):
    """A smooth random field with a rectangle, a half-plane and a grey patch, uint8."""
    random = torch.Generator().manual_seed(height * 1000 + width)
    coarse = torch.rand(1, 3, 5, 4, generator=random)
    field = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)[0]
    field[:, height // 5 : height // 2, width // 3 : width // 3 * 2] = torch.tensor([0.9, 0.15, 0.05])[
        :, None, None
    ]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    below = (2 * rows + columns > 1.9 * height).expand(3, -1, -1)
    field[below] = 0.4 * field[below] + torch.tensor([0.0, 0.3, 0.6])[:, None].expand(
        3, int(below[0].sum())
    ).reshape(-1)
    field[:, :4, :4] = 0.5
    return (field.clamp(0, 1) * 255).round().to(torch.uint8)


def color(picture, brightness=1.0, contrast=1.0, saturation=1.0, hue=0.0):
    picture = F.adjust_brightness(picture, brightness)
    picture = F.adjust_contrast(picture, contrast)
    picture = F.adjust_saturation(picture, saturation)
    return F.adjust_hue(picture, hue)


def blur(picture, sigma):
    return F.gaussian_blur(picture, 2 * math.ceil(3 * sigma) + 1, sigma)


def turn(picture, angle=0.0, shift=(0.0, 0.0), crop=(0.0, 0.0, 1.0, 1.0), flip=False):
    """Flip, crop, rotation, translation. `crop` is centre x, y (the image spans -1 to 1), width, height."""
    _, height, width = picture.shape
    if flip:
        picture = F.hflip(picture)
    size = crop[2]
    centre = (crop[0] * width / 2, crop[1] * height / 2)
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    # y points down: a counter-clockwise turn takes (x, y) to (x cos + y sin, -x sin + y cos)
    moved = ((centre[0] * cos + centre[1] * sin) / size, (-centre[0] * sin + centre[1] * cos) / size)
    translate = [shift[0] * width - moved[0], shift[1] * height - moved[1]]
    # affine's angle is clockwise, unlike rotate's and ours, and its shift is in pixels; both rotate before
    # they shift
    return F.affine(picture, -angle, translate, 1 / size, [0.0, 0.0], InterpolationMode.BILINEAR)


def rotate(picture, angle):
    return F.rotate(picture, angle, InterpolationMode.BILINEAR)


def resize(picture, box, side, flip):
    picture = F.resized_crop(picture, *box, [side, side], InterpolationMode.BILINEAR, antialias=True)
    return F.hflip(picture) if flip else picture


def cases():
    """Yields family, image size, parameters as in the file, and torchvision's function of the image."""
    for size in SIZES:
        # to keep the file small, the largest image has only the cases that depend on size
        small = size != (64, 64)
        for p in COLORS if small else []:
            yield "color", size, p, lambda x, p=p: color(x, **p)
        for sigma in SIGMAS if small else SIGMAS[-1:]:
            yield "blur", size, {"sigma": sigma}, lambda x, s=sigma: blur(x, s)
        yield "flip", size, {"flip": True}, F.hflip
        for p in TURNS + BOXES if small else BOXES[-1:]:
            yield "affine", size, p, lambda x, p=p: turn(x, **p)
        for angle in [-30.0, 75.0] if small else [10.0]:
            yield "affine", size, {"angle": angle}, lambda x, a=angle: rotate(x, a)
        for number, (box, side) in enumerate(RESIZES[size]):
            p = {"box": box, "side": side, "flip": number % 2 == 1}
            yield "resize", size, p, lambda x, p=p: resize(x, p["box"], p["side"], p["flip"])


def main(path):
    torch.set_num_threads(1)
    tensors = {f"image-{height}x{width}": image(height, width) for height, width in SIZES}
    entries = []
    for number, (family, (height, width), parameters, function) in enumerate(cases()):
        source = f"image-{height}x{width}"
        output = function(tensors[source].float() / 255)
        assert output.min() >= -1e-6 and output.max() <= 1 + 1e-6, (family, parameters)
        name = f"{family}-{number:03}"
        tensors[name] = (
            (output.double().clamp(0, 1) * 65535).round().to(torch.int32).to(torch.uint16).contiguous()
        )
        entries.append({"name": name, "family": family, "image": source, **parameters})
    versions = {
        "torch": torch.__version__.split("+")[0],
        "torchvision": torchvision.__version__.split("+")[0],
    }
    # a single entry, because the order of several entries varies
    save_file(tensors, path, {"reference": json.dumps({"versions": versions, "cases": entries})})
    print(f"{path}: {len(entries)} cases, {os.path.getsize(path)} bytes, {versions}")


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    main(
        sys.argv[1] if len(sys.argv) > 1 else f"{here}/../../datasets/tests/reference/transforms.safetensors"
    )
