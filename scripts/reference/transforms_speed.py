# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.11.0", "torchvision==0.26.0"]
# ///
"""Speed of the usual PyTorch code for two views, for comparison with `eqr-bench perf transforms`.

    python scripts/reference/transforms_speed.py [--img 32 64 224] [--batch 256] [--threads N] [--json]

View 1 is a random crop and flip by one grid_sample. View 2 is flip, crop, rotation and translation by another
one, then brightness, contrast, saturation and hue by torchvision's formulas with one factor per image, then a
depthwise k x k blur with one Gaussian per image, sigma U(0.1, 2) pixels at every size. Parameters are drawn
as tensors.
"""

import argparse
import json
import math
import time

import torch
import torch.nn.functional as nn
from torchvision.transforms._functional_tensor import _hsv2rgb, _rgb2hsv

LARGEST_SIGMA = 2.0
GREY = torch.tensor([0.2989, 0.587, 0.114]).view(1, 3, 1, 1)


def uniform(n, low, high):
    return low + (high - low) * torch.rand(n)


def crop_box(n, smallest):
    """Centre (x, y), width and height of RandomResizedCrop; larger boxes are cut to the image."""
    area, ratio = uniform(n, smallest, 1.0), uniform(n, math.log(3 / 4), math.log(4 / 3)).exp()
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    return uniform(n, -1, 1) * (1 - width), uniform(n, -1, 1) * (1 - height), width, height


def resample(images, angle, dx, dy, smallest):
    n = len(images)
    mirror = torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
    x, y, width, height = crop_box(n, smallest)
    cos, sin = angle.cos(), angle.sin()
    theta = torch.stack(
        [
            torch.stack(
                [mirror * width * cos, -mirror * width * sin, mirror * (x - width * (cos * dx - sin * dy))], 1
            ),
            torch.stack([height * sin, height * cos, y - height * (sin * dx + cos * dy)], 1),
        ],
        1,
    )
    grid = nn.affine_grid(theta, images.shape, align_corners=False)
    return nn.grid_sample(images, grid, "bilinear", "reflection", align_corners=False)


def grey(images):
    return (images * GREY).sum(1, keepdim=True)


def blend(images, other, factor):
    return (images * factor + other * (1 - factor)).clamp(0, 1)


def jitter(images):
    factor = lambda: uniform(len(images), 0.6, 1.4).view(-1, 1, 1, 1)
    images = (images * factor()).clamp(0, 1)
    images = blend(images, grey(images).mean((2, 3), keepdim=True), factor())
    images = blend(images, grey(images), factor())
    hue, saturation, value = _rgb2hsv(images).unbind(1)
    hue = (hue + uniform(len(images), -0.1, 0.1).view(-1, 1, 1)) % 1.0
    return _hsv2rgb(torch.stack([hue, saturation, value], 1))


def blur(images):
    n, channels, height, width = images.shape
    radius = min(math.ceil(3 * LARGEST_SIGMA), height - 1, width - 1)
    sigma = uniform(n, 0.1, LARGEST_SIGMA).view(-1, 1)
    line = (-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2).exp()
    line = line / line.sum(1, keepdim=True)
    kernel = (line[:, :, None] * line[:, None, :]).repeat_interleave(channels, 0).unsqueeze(1)
    padded = nn.pad(images, [radius] * 4, "reflect").reshape(
        1, n * channels, height + 2 * radius, width + 2 * radius
    )
    return nn.conv2d(padded, kernel, groups=n * channels).view_as(images)


def views(images):
    n = len(images)
    nothing = torch.zeros(n)
    first = resample(images.float() / 255, nothing, nothing, nothing, 0.5)
    angle = uniform(n, -math.pi / 2, math.pi / 2)
    second = resample(first, angle, uniform(n, -0.5, 0.5), uniform(n, -0.5, 0.5), 0.2)
    return first, blur(jitter(second))


def measure(side, batch, seconds):
    images = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8)
    for _ in range(2):
        views(images)
    times = []
    while sum(times) < seconds or len(times) < 5:
        start = time.perf_counter()
        views(images)
        times.append(time.perf_counter() - start)
    return 2 * batch / sorted(times)[len(times) // 2]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--img", type=int, nargs="+", default=[32, 64, 224])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="timed, per size, after two untimed rounds"
    )
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    with torch.no_grad():
        for side in args.img:
            rate = measure(side, args.batch, args.seconds)
            config = {"img": side, "batch": args.batch, "threads": args.threads, "torch": torch.__version__}
            if args.json:
                print(json.dumps({"stage": "transforms", "config": config, "views_per_s": rate}))
            else:
                print(f"{side:4} px  {rate:10.0f} views/s")


if __name__ == "__main__":
    main()
