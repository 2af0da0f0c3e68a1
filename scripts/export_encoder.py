#!/usr/bin/env python3
"""Writes any PyTorch encoder as a TorchScript file that eqr-bench takes, with its preprocessing beside it.

    python3 scripts/export_encoder.py timm:vit_small_patch14_dinov2 --out dinov2
    python3 scripts/export_encoder.py hf:facebook/dinov2-small --out dinov2
    python3 scripts/export_encoder.py torchvision:resnet50 --out resnet50
    python3 scripts/export_encoder.py my_model.py:build --out mine --size 64
    eqr-bench probe --encoder dinov2/encoder.pt --data photos.h5

The folder `--out` gets encoder.pt and preprocessor_config.json (mean, std and size), which eqr-bench reads,
and encoder.random.pt: the same module as its library initialises it, the floor of all its values.
The encoder returns its token map or its last feature map (N, D, h, w) if it has one, with `--tokens` all its
tokens, and with `--features` its own pooled features. `file.py:function` is a function without arguments that
returns a torch.nn.Module, or a pair of a module and a dictionary with `mean`, `std` and `size`. A module that
returns a tuple of maps, one after each stage, can be looked into by `eqr-bench xray`.

The weights are those that the library publishes, `--checkpoint FILE` a state dict of one's own, and
`--random` none. Needs torch, and the library that is named.
"""

import argparse
import copy
import importlib.util
import json
import warnings
from pathlib import Path

import torch

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


class Read(torch.nn.Module):
    """An encoder that returns one tensor: a map, tokens, or features."""

    def __init__(self, model, forward, what, before):
        super().__init__()
        self.model, self.call, self.what, self.before = model, forward, what, before

    def forward(self, images):
        out = self.call(self.model, images)
        if self.what != "map" or not torch.is_tensor(out) or out.dim() != 3:
            return out
        tokens = out[:, self.before :]
        count = int(tokens.shape[1])
        side = round(count**0.5)
        if side * side != count:
            raise SystemExit(f"{count} tokens are no square map\nhint: give --tokens or --features")
        return tokens.transpose(1, 2).unflatten(2, (side, side))


def from_timm(name, arguments):
    import timm

    keep = {"img_size": arguments.size} if arguments.size and name.startswith(("vit_", "deit")) else {}
    model = timm.create_model(name, pretrained=arguments.pretrained, num_classes=0, **keep)
    data = timm.data.resolve_model_data_config(model)
    facts = {"mean": data["mean"], "std": data["std"], "size": data["input_size"][-1]}

    def forward(model, images):
        if arguments.what == "features":
            return model(images)
        return model.forward_features(images)

    return model, forward, facts, getattr(model, "num_prefix_tokens", 0)


def from_hugging_face(name, arguments):
    import transformers

    config = transformers.AutoConfig.from_pretrained(name)
    if arguments.pretrained:
        model = transformers.AutoModel.from_pretrained(name)
    else:
        model = transformers.AutoModel.from_config(config)
    # of a model of images and text, the tower of images
    model = getattr(model, "vision_model", model)
    config = getattr(config, "vision_config", config)
    facts = dict(IMAGENET, size=getattr(config, "image_size", 224))
    try:
        read = transformers.AutoImageProcessor.from_pretrained(name)
        facts.update(mean=list(read.image_mean), std=list(read.image_std))
        size = getattr(read, "crop_size", None) or read.size
        facts["size"] = size.get("height") or size.get("shortest_edge")
    except (OSError, ValueError):
        print(f"note: {name} has no preprocessor; ImageNet's mean and std are written")
    patch = getattr(config, "patch_size", None)

    def forward(model, images):
        out = model(images)
        if arguments.what == "features":
            return out.pooler_output.flatten(1)
        return out.last_hidden_state

    size = arguments.size or facts["size"]
    if patch is None:
        return model, forward, facts, 0
    with torch.no_grad():
        tokens = model(torch.zeros(1, 3, size, size)).last_hidden_state
    before = 0 if tokens.dim() != 3 else tokens.shape[1] - (size // patch) ** 2
    return model, forward, facts, before


def from_torchvision(name, arguments):
    import torchvision

    weights = "DEFAULT" if arguments.pretrained else None
    model = torchvision.models.get_model(name, weights=weights)
    facts = dict(IMAGENET, size=224)
    last = list(model.named_children())[-1][0]
    setattr(model, last, torch.nn.Identity())
    if arguments.what == "features":
        return model, lambda model, images: model(images), facts, 0
    if hasattr(model, "features"):
        return model, lambda model, images: model.features(images), facts, 0
    if hasattr(model, "layer4"):
        body = torch.nn.Sequential(*list(model.children())[:-2])
        return body, lambda model, images: model(images), facts, 0
    if hasattr(model, "encoder"):

        def tokens(model, images):
            x = model._process_input(images)
            return model.encoder(torch.cat([model.class_token.expand(x.shape[0], -1, -1), x], 1))

        return model, tokens, facts, 1
    raise SystemExit(f"torchvision:{name}: its last map is not known\nhint: give --features")


def from_file(path, function, _arguments):
    spec = importlib.util.spec_from_file_location("encoder_file", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    built = getattr(module, function)()
    model, facts = built if isinstance(built, tuple) else (built, {})
    return model, lambda model, images: model(images), {**IMAGENET, "size": 224, **facts}, 0


def build(source, arguments):
    kind, _, name = source.partition(":")
    if kind == "timm":
        return from_timm(name, arguments)
    if kind == "hf":
        return from_hugging_face(name, arguments)
    if kind == "torchvision":
        return from_torchvision(name, arguments)
    if kind.endswith(".py") and name:
        return from_file(kind, name, arguments)
    raise SystemExit(f"{source}: expected timm:NAME, hf:NAME, torchvision:NAME or file.py:function")


def with_random_weights(source, model, arguments):
    """The same model as its library initialises it."""
    if not source.partition(":")[0].endswith(".py"):
        arguments.pretrained = False
        return build(source, arguments)[0]
    model = copy.deepcopy(model)
    for module in model.modules():
        own = [name for name, _ in module.named_parameters(recurse=False)]
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
        elif own:
            raise SystemExit(
                f"{type(module).__name__} has no reset_parameters(), so {own[0]} cannot be drawn anew\n"
                "hint: write that method, or give --no-floor"
            )
    return model


def write(model, forward, what, before, size, path):
    """Traces the encoder to a file, and returns the shapes of what it returns for two images."""
    encoder = Read(model.float().cpu(), forward, what, before).eval()
    for parameter in encoder.parameters():
        parameter.requires_grad_(False)
    with torch.no_grad():
        images = torch.zeros(2, 3, size, size)
        returned = encoder(images)
        # fresh noise shows constants that the trace has taken over from the images
        traced = torch.jit.trace(encoder, torch.randn(3, 3, size, size), check_inputs=[images])
    traced.save(path)
    return [list(part.shape) for part in (returned if isinstance(returned, tuple) else (returned,))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="timm:NAME, hf:NAME, torchvision:NAME or file.py:function")
    parser.add_argument("--out", type=Path, required=True, help="folder for encoder.pt and its configuration")
    parser.add_argument("--size", type=int, help="side of the images in pixels; default: the model's own")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--tokens", dest="what", action="store_const", const="tokens", help="return all tokens")
    what.add_argument("--features", dest="what", action="store_const", const="features", help="pooled ones")
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--checkpoint", type=Path, help="a state dict to load, instead of published weights")
    weights.add_argument("--random", action="store_true", help="random weights")
    parser.add_argument("--no-floor", action="store_true", help="write no encoder.random.pt")
    arguments = parser.parse_args()
    arguments.what = arguments.what or "map"
    arguments.pretrained = not arguments.random and arguments.checkpoint is None
    torch.manual_seed(0)
    # the sides of the images are constants of the trace, as they shall be
    warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
    model, forward, facts, before = build(arguments.source, arguments)
    if arguments.checkpoint:
        model.load_state_dict(torch.load(arguments.checkpoint, map_location="cpu", weights_only=True))
    size = arguments.size or facts["size"]
    arguments.out.mkdir(parents=True, exist_ok=True)
    returned = write(model, forward, arguments.what, before, size, arguments.out / "encoder.pt")
    if not (arguments.random or arguments.no_floor):
        untrained = with_random_weights(arguments.source, model, arguments)
        write(untrained, forward, arguments.what, before, size, arguments.out / "encoder.random.pt")
    facts = {
        "image_mean": list(facts["mean"]),
        "image_std": list(facts["std"]),
        "size": {"height": size, "width": size},
        "do_center_crop": False,
    }
    (arguments.out / "preprocessor_config.json").write_text(json.dumps(facts, indent=2) + "\n")
    shapes = ", ".join(map(str, returned))
    print(f"{arguments.out}/encoder.pt: images {[2, 3, size, size]} -> {shapes}")


if __name__ == "__main__":
    main()
