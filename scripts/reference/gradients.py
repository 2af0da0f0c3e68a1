# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.11.0", "torchvision==0.26.0", "timm==1.0.31", "safetensors==0.8.0", "numpy"]
# ///
"""Writes PyTorch's losses and gradients of a tiny network, for the tests of eqr-models.

    python scripts/reference/gradients.py [FOLDER]

FOLDER (default: models/tests/it/reference) receives:

gradients.safetensors   Parameters of the encoder and a batch (f32). The entry `reference` of the metadata is
                        the configuration as JSON.
gradients/              A file for each method: its own parameters (f32) and `gradient` (f64), the flat
                        gradient of its loss. The entry `reference` of the metadata is JSON: its name, its
                        reading of Eq. 1 where that is not the configuration's, the names of the parameters
                        in the order of the flat gradient, and the values of the loss's terms.
vit.safetensors         Weights of timm's VisionTransformer, images, their tokens, and its position embedding
                        as timm resizes it (bicubic, antialiased) to other token maps.

The losses follow the papers (VICReg, SIE, SimCLR, Barlow Twins, and the reconstruction method of the
benchmark). They are PyTorch modules in f64, and autograd differentiates the whole network at once.
"""

import json
import math
import os
import re
import sys

import numpy as np
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import nn

PAIRS, CLASSES = 8, 3
CONFIG = {
    "encoder": {"image": 16, "patch": 4, "dim": 12, "depth": 2, "heads": 2, "out": 16},
    "heads": {"hidden": 12, "embed": 8},
    "decoder": {"depth": 2, "dim": 8, "heads": 2, "query": "tokens", "unfold": "none"},
    # not the defaults, so that a test fails if a weight is not applied
    "loss": {"lambda_ssl": 0.7, "lambda_recon": 1.3, "temperature": 0.3, "barlow_lambda": 0.02},
    "classes": CLASSES,
    "transforms": [["rotation", 1], ["translation", 2], ["crop", 4], ["flip", 1], ["color", 4], ["blur", 1]],
    "sie_constant": True,
}
METHODS = [
    "Ours",
    "Ours(SimCLR)",
    "Ours(Barlow Twins)",
    "Ours, no reconstruction",
    "Ours, other view 1",
    "VICReg",
    "VICReg(cls)",
    "SimCLR",
    "Barlow Twins",
    "SIE(rot+color)",
    "SIE(all)",
    "SIE(all, no prediction variance)",
    "Supervised",
    "Direct regression",
    "Direct regression(trans)",
]
# Further readings of the paper's Eq. 1, in place of the decoder's values above, for "Ours".
READINGS = [
    {"query": "pooled"},
    {"query": "pooled", "residual": True, "unfold": "linear"},
    {"query": "pooled", "residual": True, "unfold": "gates", "scale": "none"},
    {"query": "batch"},
    {"query": "batch", "residual": True, "unfold": "linear"},
    {"query": "tokens", "residual": True, "scale": "none"},
]


# --- network ------------------------------------------------------------------------------------------------


def heads_of(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(-2, -3)


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x):
        q, k, v = (heads_of(part, self.heads) for part in self.qkv(x).chunk(3, dim=-1))
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(-2, -3).flatten(-2))


class Mlp(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


def layer_norm(dim):
    return nn.LayerNorm(dim, eps=1e-6)


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1, self.attn = layer_norm(dim), Attention(dim, heads)
        self.norm2, self.mlp = layer_norm(dim), Mlp(dim)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, patch, dim):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, stride=patch)

    def forward(self, images):
        return self.proj(images).flatten(2).transpose(1, 2)


class Encoder(nn.Module):
    """Vision Transformer with a linear map to y.

    The equivariant half of y is the mean of the equivariant halves of the patch tokens.
    """

    def __init__(self, image, patch, dim, depth, heads, out):
        super().__init__()
        self.patch_embed = PatchEmbed(patch, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (image // patch) ** 2, dim))
        self.blocks = nn.Sequential(*(Block(dim, heads) for _ in range(depth)))
        self.norm, self.out, self.half = layer_norm(dim), nn.Linear(dim, out), out // 2

    def forward(self, images):
        patches = self.patch_embed(images)
        x = torch.cat([self.cls_token.repeat(len(images), 1, 1), patches], dim=1) + self.pos_embed
        x = self.out(self.norm(self.blocks(x)))
        tokens = x[:, 1:, self.half :]
        return torch.cat([x[:, 0, : self.half], tokens.mean(dim=1)], dim=1), tokens


class Projector(nn.Module):
    def __init__(self, inputs, hidden, embed):
        super().__init__()
        self.linear1, self.norm1 = nn.Linear(inputs, hidden, bias=False), nn.BatchNorm1d(hidden)
        self.linear2, self.norm2 = nn.Linear(hidden, hidden, bias=False), nn.BatchNorm1d(hidden)
        self.linear3 = nn.Linear(hidden, embed, bias=False)

    def forward(self, x):
        x = F.relu(self.norm1(self.linear1(x)))
        return self.linear3(F.relu(self.norm2(self.linear2(x))))


class TokenHead(nn.Module):
    def __init__(self, inputs, hidden, outputs):
        super().__init__()
        self.linear1, self.norm, self.linear2 = (
            nn.Linear(inputs, hidden),
            layer_norm(hidden),
            nn.Linear(hidden, outputs),
        )

    def forward(self, x):
        return self.linear2(F.gelu(self.norm(self.linear1(x))))


def sine_cosine(grid, dim):
    """MAE's fixed positions: half of a token for the column, half for the row; each sines, then cosines."""
    frequency = 10000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim / 4))
    row, column = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")

    def along(place):
        angle = place.flatten()[:, None] * frequency
        return torch.cat([angle.sin(), angle.cos()], dim=1)

    return torch.cat([along(column), along(row)], dim=1)


class Unfold(nn.Module):
    """A vector of each image becomes one at each position."""

    def __init__(self, how, tokens, dim):
        super().__init__()
        self.how, self.tokens, self.dim = how, tokens, dim
        if how != "none":
            shape = {"gates": (tokens, dim), "linear": (tokens * dim, dim)}[how]
            self.weight = nn.Parameter(torch.zeros(shape))

    def forward(self, z):
        if self.how == "gates":
            return torch.einsum("nd,td->ntd", z, self.weight)
        if self.how == "linear":
            return torch.einsum("nd,ted->nte", z, self.weight.view(self.tokens, self.dim, self.dim))
        return z[:, None].repeat(1, self.tokens, 1)


class Decoder(nn.Module):
    """Pixels of view 2, from a reading of Eq. 1.

    tokens: queries are the tokens of view 2, keys and values those of view 1.
    pooled: queries are the unfolded mean token of view 2.
    batch: queries, keys and values are the mean tokens of the images of the batch.
    """

    def __init__(
        self, depth, dim, heads, patch, grid, g_equi, query, residual=False, unfold="none", scale="sqrt"
    ):
        super().__init__()
        self.unfold = Unfold(unfold, grid * grid, dim)
        self.norm_query, self.norm_source = layer_norm(dim), layer_norm(dim)
        self.query, self.key_value, self.proj = (
            nn.Linear(dim, dim),
            nn.Linear(dim, 2 * dim),
            nn.Linear(dim, dim),
        )
        self.norm, self.mlp = layer_norm(dim), Mlp(dim)
        self.blocks = nn.ModuleDict({str(i): Block(dim, heads) for i in range(1, depth)})
        self.norm_out, self.pixels = layer_norm(dim), nn.Linear(dim, 3 * patch * patch)
        self.heads, self.patch, self.grid, self.g_equi = heads, patch, grid, [g_equi]
        self.reading, self.residual, self.scale = query, residual, scale
        self.positions = sine_cosine(grid, dim)

    def attend(self, u, source):
        """W_O softmax(W_Q u (W_K source)^T) W_V source, head by head."""
        q = self.query(self.norm_query(u))
        k, v = self.key_value(self.norm_source(source)).chunk(2, dim=-1)
        width = q.shape[-1] // self.heads
        factor = 1 / math.sqrt(width) if self.scale == "sqrt" else 1.0
        mixed = []
        for head in range(self.heads):
            part = slice(head * width, (head + 1) * width)
            scores = torch.einsum("...qd,...kd->...qk", q[..., part], k[..., part]) * factor
            mixed.append(torch.einsum("...qk,...kd->...qd", torch.softmax(scores, dim=-1), v[..., part]))
        x = self.proj(torch.cat(mixed, dim=-1))
        return x + u if self.residual else x

    def forward(self, x1, x2):
        g = self.g_equi[0]
        if self.reading == "batch":
            x = self.attend(g(x2.mean(dim=1)), g(x1.mean(dim=1)))
            x = self.unfold(x) + self.positions
        else:
            u = g(x2) if self.reading == "tokens" else self.unfold(g(x2.mean(dim=1)))
            x = self.attend(u + self.positions, g(x1) + self.positions)
        x = x + self.mlp(self.norm(x))
        for block in self.blocks.values():
            x = block(x)
        patches = self.pixels(self.norm_out(x)).transpose(1, 2)
        side = self.grid * self.patch
        return F.fold(patches, (side, side), self.patch, stride=self.patch)


# --- losses -------------------------------------------------------------------------------------------------


def hinge(z):
    """VICReg's V: penalises standard deviations below 1."""
    return torch.clamp(1 - torch.sqrt(z.var(dim=0, unbiased=True) + 1e-4), min=0).mean()


def decorrelation(z):
    """VICReg's C for one view."""
    covariance = torch.cov(z.T)
    off_diagonal = covariance - torch.diag(torch.diag(covariance))
    return (off_diagonal**2).sum() / z.shape[1]


def vicreg(z1, z2):
    return {
        "invariance": 25 * F.mse_loss(z1, z2),
        "variance": 25 * (hinge(z1) / 2 + hinge(z2) / 2),
        "covariance": decorrelation(z1) + decorrelation(z2),
    }


def simclr(z1, z2):
    """NT-Xent, Eq. 1 of Chen et al., one embedding after the other."""
    z, n = torch.cat([z1, z2]), len(z1)
    losses = []
    for i in range(2 * n):
        similarity = F.cosine_similarity(z[i : i + 1], z, dim=1) / CONFIG["loss"]["temperature"]
        others = torch.cat([similarity[:i], similarity[i + 1 :]])
        losses.append(torch.logsumexp(others, dim=0) - similarity[(i + n) % (2 * n)])
    return {"contrast": torch.stack(losses).mean()}


def barlow(z1, z2):
    """Eq. 1 of Zbontar et al., on embeddings normalised by a BatchNorm without weights."""
    a, b = (F.batch_norm(z, None, None, training=True) for z in (z1, z2))
    correlation = torch.einsum("ni,nj->ij", a, b) / len(a)
    own = torch.eye(len(correlation), dtype=torch.bool)
    return {
        "on-diagonal": ((1 - correlation[own]) ** 2).sum(),
        "off-diagonal": CONFIG["loss"]["barlow_lambda"] * (correlation[~own] ** 2).sum(),
    }


JOINT = {"VICReg": vicreg, "SimCLR": simclr, "Barlow Twins": barlow}
SHORT = {
    "rot": "rotation",
    "trans": "translation",
    "crop": "crop",
    "flip": "flip",
    "color": "color",
    "blur": "blur",
}


class Joint(nn.Module):
    def __init__(self, loss):
        super().__init__()
        self.projector, self.loss = Projector(CONFIG["encoder"]["out"], **CONFIG["heads"]), loss

    def forward(self, first, second, batch):
        return self.loss(self.projector(first[0]), self.projector(second[0]))


class JointOfClassTokens(nn.Module):
    """VICReg whose invariance compares only the invariant halves."""

    def __init__(self):
        super().__init__()
        self.half = CONFIG["encoder"]["out"] // 2
        self.g_inv, self.g_equi = (Projector(self.half, **CONFIG["heads"]) for _ in range(2))

    def forward(self, first, second, batch):
        inv = [self.g_inv(view[0][:, : self.half]) for view in (first, second)]
        whole = [
            torch.hstack([z, self.g_equi(view[0][:, self.half :])])
            for z, view in zip(inv, (first, second), strict=True)
        ]
        terms = vicreg(*whole)
        terms["invariance"] = 25 * F.mse_loss(*inv)
        return terms


class Ours(nn.Module):
    def __init__(self, loss, variant="", reading=None):
        super().__init__()
        encoder, decoder = CONFIG["encoder"], CONFIG["decoder"] | (reading or {})
        self.half, self.loss, self.variant = encoder["out"] // 2, loss, variant
        self.g_inv = Projector(self.half, **CONFIG["heads"])
        if variant != "no reconstruction":
            self.g_equi = TokenHead(self.half, CONFIG["heads"]["hidden"], decoder["dim"])
            grid = encoder["image"] // encoder["patch"]
            self.decoder = Decoder(**decoder, patch=encoder["patch"], grid=grid, g_equi=self.g_equi)

    def forward(self, first, second, batch):
        z1, z2 = (self.g_inv(view[0][:, : self.half]) for view in (first, second))
        terms = {name: CONFIG["loss"]["lambda_ssl"] * term for name, term in self.loss(z1, z2).items()}
        if self.variant != "no reconstruction":
            source = first[1]
            if self.variant == "other view 1":
                source = torch.roll(source, -(len(source) // 2), dims=0)
            image = self.decoder(source, second[1])
            terms["reconstruction"] = CONFIG["loss"]["lambda_recon"] * ((image - batch["view2"]) ** 2).mean()
        return terms


class Sie(nn.Module):
    """SIE's losses. The predictor's hypernetwork maps the parameters and a constant to a D x D matrix."""

    def __init__(self, known, prediction_variance):
        super().__init__()
        self.half, self.prediction_variance = CONFIG["encoder"]["out"] // 2, prediction_variance
        places = columns_of_transforms()
        names = list(places) if known == "all" else [SHORT[part] for part in known.split("+")]
        self.columns = [column for name in names for column in places[name]]
        self.g_inv, self.g_equi = (Projector(self.half, **CONFIG["heads"]) for _ in range(2))
        self.predictor = nn.Linear(len(self.columns) + 1, CONFIG["heads"]["embed"] ** 2, bias=False)

    def forward(self, first, second, batch):
        inv1, inv2 = (self.g_inv(view[0][:, : self.half]) for view in (first, second))
        equi1, equi2 = (self.g_equi(view[0][:, self.half :]) for view in (first, second))
        g = F.pad(batch["parameters"][:, self.columns], (0, 1), value=1.0)
        matrices = self.predictor(g).view(len(g), equi1.shape[1], equi1.shape[1])
        predicted = torch.bmm(matrices, equi1.unsqueeze(-1)).squeeze(-1)
        whole1, whole2 = torch.hstack([inv1, equi1]), torch.hstack([inv2, equi2])
        terms = {
            "invariance": 10 * ((inv1 - inv2) ** 2).mean(),
            "equivariance": 4.5 * ((predicted - equi2) ** 2).mean(),
            "variance": 10 * (hinge(whole1) + hinge(whole2)) / 2,
            "covariance": decorrelation(whole1) + decorrelation(whole2),
        }
        if self.prediction_variance:
            terms["predictor variance"] = 10 * hinge(predicted) / 2
        return terms


class Supervised(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(CONFIG["encoder"]["out"], CLASSES)

    def forward(self, first, second, batch):
        own = torch.arange(PAIRS)
        loss = [
            -torch.log_softmax(self.head(view[0]), dim=1)[own, batch["labels"]].mean()
            for view in (first, second)
        ]
        return {"cross-entropy": (loss[0] + loss[1]) / 2}


def columns_of_transforms():
    """The columns of every transform's parameters, by the transform's name."""
    places, start = {}, 0
    for name, length in CONFIG["transforms"]:
        places[name] = list(range(start, start + length))
        start += length
    return places


class Direct(nn.Module):
    """Mean over the transforms of the mean squared error of their parameters."""

    def __init__(self, transforms):
        super().__init__()
        places = columns_of_transforms()
        self.columns = [places[name] for name in transforms or places]
        out, hidden = 2 * CONFIG["encoder"]["out"], CONFIG["heads"]["hidden"]
        self.regressor = nn.ModuleDict(
            {
                "linear1": nn.Linear(out, hidden),
                "linear2": nn.Linear(hidden, hidden),
                "linear3": nn.Linear(hidden, sum(len(columns) for columns in self.columns)),
            }
        )

    def forward(self, first, second, batch):
        x = torch.cat([first[0], second[0]], dim=1)
        x = F.relu(self.regressor["linear2"](F.relu(self.regressor["linear1"](x))))
        predicted = self.regressor["linear3"](x).split([len(columns) for columns in self.columns], dim=1)
        errors = [
            F.mse_loss(part, batch["parameters"][:, columns])
            for part, columns in zip(predicted, self.columns, strict=True)
        ]
        return {"regression": sum(errors) / len(errors)}


def method(name, reading=None):
    if name in JOINT:
        return Joint(JOINT[name])
    if name.startswith("Ours"):
        loss = name.split("(")[1].split(")")[0] if "(" in name else "VICReg"
        return Ours(JOINT[loss], variant=name.partition(", ")[2], reading=reading)
    if name.startswith("SIE("):
        known, _, addition = name[4:-1].partition(", ")
        return Sie(known, prediction_variance=addition != "no prediction variance")
    if name.startswith("Direct regression"):
        return Direct([SHORT[name[:-1].split("(")[1]]] if "(" in name else None)
    return {"Supervised": Supervised, "VICReg(cls)": JointOfClassTokens}[name]()


# --- files --------------------------------------------------------------------------------------------------


def rough(rng, *shape, scale=1.0, about=0.0):
    """Normal values in f64 that f32 represents exactly, so that runs in fp32 and f64 load the same values."""
    return torch.from_numpy((about + scale * rng.standard_normal(shape)).astype(np.float32)).double()


def make_batch(rng):
    side = CONFIG["encoder"]["image"]
    base = rough(rng, PAIRS, 3, side, side)
    return {
        "view1": base,
        "view2": (0.6 * base + 0.8 * rough(rng, PAIRS, 3, side, side)).float().double(),
        "labels": torch.arange(PAIRS) % CLASSES,
        "parameters": rough(rng, PAIRS, sum(length for _, length in CONFIG["transforms"]), scale=0.6),
    }


def fill(rng, named):
    """Fills the parameters as in the middle of a training.

    No bias is zero, no scale is one, and predictions vary so little that SIE penalises it.
    """
    for name, parameter in named.items():
        if name.endswith("weight") and parameter.dim() == 1:
            value = rough(rng, *parameter.shape, scale=0.2, about=1.0)
        elif name.endswith("unfold.weight") and parameter.shape[0] == 16:
            value = rough(rng, *parameter.shape)
        elif name == "predictor.weight":
            value = rough(rng, *parameter.shape, scale=0.1)
        elif name.endswith("weight"):
            value = rough(rng, *parameter.shape, scale=1.2 / math.sqrt(parameter[0].numel()))
        else:
            value = rough(rng, *parameter.shape, scale=0.3)
        parameter.data = value


def gradients(folder):
    torch.set_default_dtype(torch.float64)
    rng = np.random.default_rng(20)
    batch = make_batch(rng)
    encoder = Encoder(**CONFIG["encoder"])
    fill(rng, dict(encoder.named_parameters()))
    own_folder = os.path.join(folder, "gradients")
    os.makedirs(own_folder, exist_ok=True)
    known = {}
    for name, reading in [(name, {}) for name in METHODS] + [("Ours", reading) for reading in READINGS]:
        model = method(name, reading)
        own = dict(model.named_parameters())
        # a parameter that two methods share by name and shape has one value
        fill(rng, {key: value for key, value in own.items() if (key, value.shape) not in known})
        for key, value in own.items():
            value.data = known.setdefault((key, value.shape), value.data)
        named = dict(encoder.named_parameters()) | own
        terms = model(encoder(batch["view1"]), encoder(batch["view2"]), batch)
        flat = torch.autograd.grad(sum(terms.values()), list(named.values()))
        tensors = {f"parameter/{key}": value.detach().float().contiguous() for key, value in own.items()}
        tensors["gradient"] = torch.cat([part.flatten() for part in flat])
        values = [[key, term.item()] for key, term in terms.items()]
        about = {"name": name, "reading": reading, "names": list(named), "terms": values}
        parts = [name] + [f"{key} {value}" for key, value in reading.items()]
        slug = "-".join(re.findall("[a-z0-9]+", " ".join(parts).lower()))
        path = os.path.join(own_folder, f"{slug}.safetensors")
        save_file(tensors, path, metadata={"reference": json.dumps(about)})
    tensors = {f"parameter/{key}": value.detach() for key, value in encoder.named_parameters()}
    tensors |= {f"batch/{key}": value for key, value in batch.items() if key != "labels"}
    tensors = {key: value.float().contiguous() for key, value in tensors.items()}
    tensors["batch/labels"] = batch["labels"]
    about = {"torch": torch.__version__, "config": CONFIG}
    path = os.path.join(folder, "gradients.safetensors")
    save_file(tensors, path, metadata={"reference": json.dumps(about)})


def vit(folder):
    """timm's forward pass from pixels to tokens, without a head."""
    torch.set_default_dtype(torch.float32)
    rng = np.random.default_rng(21)
    shape = {"image": 16, "patch": 4, "dim": 16, "depth": 2, "heads": 2, "out": 8}
    model = VisionTransformer(
        img_size=shape["image"],
        patch_size=shape["patch"],
        embed_dim=shape["dim"],
        depth=shape["depth"],
        num_heads=shape["heads"],
        num_classes=0,
    ).eval()
    fill(rng, dict(model.named_parameters()))
    model = model.float()
    images = rough(rng, 3, 3, shape["image"], shape["image"]).float()
    with torch.no_grad():
        tokens = model.forward_features(images)
    tensors = {f"parameter/{key}": value.detach().contiguous() for key, value in model.named_parameters()}
    tensors |= {"images": images, "tokens": tokens}
    for side in (2, 3, 7, 14):
        resized = resample_abs_pos_embed(model.pos_embed.detach(), [side, side])
        tensors[f"positions/{side}"] = resized.contiguous()
    about = {"torch": torch.__version__, "timm": timm.__version__, "config": shape}
    save_file(tensors, os.path.join(folder, "vit.safetensors"), metadata={"reference": json.dumps(about)})


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    default = os.path.join(here, "..", "..", "models", "tests", "it", "reference")
    folder = sys.argv[1] if len(sys.argv) > 1 else default
    os.makedirs(folder, exist_ok=True)
    gradients(folder)
    vit(folder)
