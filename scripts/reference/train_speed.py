# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.11.0"]
# ///
"""Speed of the training step that a PyTorch user would write, for comparison with `eqr-bench perf train`.

    python scripts/reference/train_speed.py [--img 64 --patch 8 --dim 384 --depth 12 --heads 6 --batch 32]
                                            [--threads N] [--precision fp32|bf16] [--device cpu|cuda]
                                            [--compile] [--json]

The step has the network and loss of `Ours` (VICReg on the projected invariant half, reconstruction of view
2), both views in one pass, scaled_dot_product_attention, one backward pass, and fused Adam; bf16 is autocast.
The share is relative to the best of ten products of two 4096 x 4096 matrices in the same process. FLOPs are
counted as in `perf train`.
"""

import argparse
import json
import time

import torch
import torch.nn.functional as F
from torch import nn

OUT, HALF, HIDDEN, EMBED = 512, 256, 512, 192
DECODER = {"dim": 192, "depth": 6, "heads": 3}
GEMM = 4096


def split(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attention(q, k, v, heads):
    mixed = F.scaled_dot_product_attention(split(q, heads), split(k, heads), split(v, heads))
    return mixed.transpose(1, 2).flatten(-2)


def mlp(dim):
    return nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj, self.mlp = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim), mlp(dim)

    def forward(self, x):
        x = x + self.proj(attention(*self.qkv(self.norm1(x)).chunk(3, -1), self.heads))
        return x + self.mlp(self.norm2(x))


class Decoder(nn.Module):
    def __init__(self, tokens, pixels, dim, depth, heads):
        super().__init__()
        self.heads = heads
        self.register_buffer("positions", torch.randn(tokens, dim))
        self.norm_query, self.norm_source, self.norm = (nn.LayerNorm(dim) for _ in range(3))
        self.query, self.key_value, self.proj = (
            nn.Linear(dim, dim),
            nn.Linear(dim, 2 * dim),
            nn.Linear(dim, dim),
        )
        self.mlp, self.blocks = mlp(dim), nn.Sequential(*(Block(dim, heads) for _ in range(1, depth)))
        self.pixels = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, pixels))

    def forward(self, source, query):
        q = self.query(self.norm_query(query + self.positions))
        k, v = self.key_value(self.norm_source(source + self.positions)).chunk(2, -1)
        x = self.proj(attention(q, k, v, self.heads))
        return self.pixels(self.blocks(x + self.mlp(self.norm(x))))


class Ours(nn.Module):
    def __init__(self, img, patch, dim, depth, heads):
        super().__init__()
        self.patch, tokens, pixels = patch, (img // patch) ** 2, 3 * patch * patch
        self.embed = nn.Conv2d(3, dim, patch, stride=patch)
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.positions = nn.Parameter(torch.randn(1, tokens + 1, dim) * 0.02)
        self.blocks = nn.Sequential(*(Block(dim, heads) for _ in range(depth)))
        self.norm, self.out = nn.LayerNorm(dim), nn.Linear(dim, OUT)
        layer = lambda inputs: [nn.Linear(inputs, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU()]
        self.g_inv = nn.Sequential(*layer(HALF), *layer(HIDDEN), nn.Linear(HIDDEN, EMBED, bias=False))
        self.g_equi = nn.Sequential(
            nn.Linear(HALF, HIDDEN), nn.LayerNorm(HIDDEN), nn.GELU(), nn.Linear(HIDDEN, DECODER["dim"])
        )
        self.decoder = Decoder(tokens, pixels, **DECODER)

    def forward(self, view1, view2):
        patches = self.embed(torch.cat([view1, view2])).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(patches), -1, -1), patches], 1) + self.positions
        x = self.norm(self.blocks(x))
        weight, bias = self.out.weight, self.out.bias
        z1, z2 = (self.g_inv(F.linear(cls, weight[:HALF], bias[:HALF])) for cls in x[:, 0].chunk(2))
        tokens1, tokens2 = self.g_equi(F.linear(x[:, 1:], weight[HALF:], bias[HALF:])).chunk(2)
        target = F.unfold(view2, self.patch, stride=self.patch).transpose(1, 2)
        return vicreg(z1.float(), z2.float()) + F.mse_loss(self.decoder(tokens1, tokens2).float(), target)


def vicreg(z1, z2):
    loss = 25 * F.mse_loss(z1, z2)
    for z in (z1, z2):
        z = z - z.mean(0)
        covariance = z.T @ z / (len(z) - 1)
        off_diagonal = covariance.pow(2).sum() - covariance.diagonal().pow(2).sum()
        loss = loss + 12.5 * F.relu(1 - (z.var(0) + 1e-4).sqrt()).mean() + off_diagonal / z.shape[1]
    return loss


def step_flops(img, patch, dim, depth, heads, batch):
    block = lambda tokens, dim: 12 * tokens * dim * dim + 2 * tokens * tokens * dim
    tokens, pixels, width = (img // patch) ** 2, 3 * patch * patch, DECODER["dim"]
    encoder = tokens * dim * pixels + depth * block(tokens + 1, dim) + (tokens + 1) * dim * HALF
    heads = 2 * (HALF * HIDDEN + HIDDEN * HIDDEN + HIDDEN * EMBED) + 2 * tokens * (
        HALF * HIDDEN + HIDDEN * width
    )
    decoder = DECODER["depth"] * block(tokens, width) + tokens * width * pixels
    return 3 * batch * 2 * (2 * encoder + heads + decoder)


def ceiling(kind, device):
    # a GPU does 4096³ in a fraction of a millisecond
    side = 4 * GEMM if device == "cuda" else GEMM
    a, b = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    return 2 * side**3 / min(seconds(lambda: a @ b, 11, device)[1:])


def seconds(work, times, device):
    all_seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        all_seconds.append(time.perf_counter() - start)
    return all_seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in {"img": 64, "patch": 8, "dim": 384, "depth": 12, "heads": 6, "batch": 32}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--compile", action="store_true", help="torch.compile; needs a C++ compiler")
    parser.add_argument("--steps", type=int, default=10, help="timed steps, after three untimed ones")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    network = {name: getattr(args, name) for name in ["img", "patch", "dim", "depth", "heads"]}
    model = Ours(**network).to(args.device)
    optimiser = torch.optim.Adam(model.parameters(), 1e-4, weight_decay=1e-6, fused=True)
    views = torch.randn(2, args.batch, 3, args.img, args.img, device=args.device)
    loss_of = torch.compile(model) if args.compile else model
    kind = torch.bfloat16 if args.precision == "bf16" else torch.float32

    def step():
        with torch.autocast(args.device, torch.bfloat16, enabled=kind == torch.bfloat16):
            loss = loss_of(*views)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    times = sorted(seconds(step, args.steps + 3, args.device)[3:])
    median, peak = times[len(times) // 2], ceiling(kind, args.device)
    flops = step_flops(**network, batch=args.batch)
    config = (
        network
        | {k: getattr(args, k) for k in ["batch", "threads", "precision", "device", "compile"]}
        | {"torch": torch.__version__}
    )
    result = {
        "stage": "train",
        "config": config,
        "seconds_per_step": median,
        "views_per_s": 2 * args.batch / median,
        "gflop_per_view": flops / (2 * args.batch) / 1e9,
        "gflop_per_s": flops / median / 1e9,
        "ceiling": {"name": "GEMM", "value": peak / 1e9, "unit": "GFLOP/s"},
        "share_of_ceiling": flops / median / peak,
    }
    print(
        json.dumps(result, indent=2)
        if args.json
        else f"{result['views_per_s']:.1f} views/s, share {flops / median / peak:.3f}"
    )


if __name__ == "__main__":
    main()
