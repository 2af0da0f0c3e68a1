#!/usr/bin/env python3
"""Writes small published encoders with random weights, and their features, for the tests of eqr-bench.

Every case is a folder with the weights as its library saves them, the configuration beside them, and
`expected.safetensors`: the features that the library computes from two images of `side` pixels, whose values
are sin(0.37 i): `class` (2, D), the class token, and `mean` (2, D), the mean of the patch tokens or of the
map.

    pip install torch==2.11.0 torchvision==0.26.0 timm==1.0.31 transformers==5.24.0 safetensors
    python3 scripts/reference/published_encoders.py suite/tests/data/encoders
"""

import json
import shutil
import sys
from pathlib import Path

import timm
import torch
import torchvision
import transformers
from safetensors.torch import save_file

# sides of the images of transformers and of networks in stages
SIDE, LARGE = 16, 32
HF = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": SIDE,
    "patch_size": 4,
}


def randomise(model):
    """Random values everywhere: initial scales of one and shifts of zero would hide mistakes."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("running_var"):
                tensor.copy_(0.5 + noise.abs())
            elif tensor.squeeze().dim() < 2 and name.endswith(("weight", "gamma", "lambda1", "layer_scale")):
                tensor.copy_(1 + 0.3 * noise)
            else:
                tensor.copy_(0.15 * noise)
    return model.eval()


def images(side=SIDE):
    count = 2 * 3 * side * side
    return torch.arange(count, dtype=torch.float32).mul(0.37).sin().view(2, 3, side, side)


def write_expected(folder, expected, side=SIDE):
    expected = {name: tensor.contiguous().clone() for name, tensor in expected.items() if tensor is not None}
    save_file({"side": torch.tensor([float(side)]), **expected}, folder / "expected.safetensors")


def write(folder, state, expected, config=None, preprocessor=None, file="model.safetensors", side=SIDE):
    folder.mkdir(parents=True)
    state = {name: tensor.contiguous().clone() for name, tensor in state.items()}
    if file.endswith(".safetensors"):
        save_file(state, folder / file)
    else:
        torch.save(state, folder / file)
    for name, content in (("config.json", config), ("preprocessor_config.json", preprocessor)):
        if content is not None:
            (folder / name).write_text(json.dumps(content))
    write_expected(folder, expected, side)


def timm_vit(**arguments):
    shape = {"img_size": SIDE, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "mlp_ratio": 2}
    arguments = {"num_classes": 0, **shape, **arguments}
    return randomise(timm.models.vision_transformer.VisionTransformer(**arguments))


def timm_expected(model):
    tokens = model.forward_features(images())
    before = model.num_prefix_tokens
    after = model.fc_norm if isinstance(model.fc_norm, torch.nn.LayerNorm) else torch.nn.Identity()
    return {
        "class": after(tokens[:, 0]) if model.has_class_token else None,
        "mean": after(tokens[:, before:].mean(1)),
    }


def timm_vits(root):
    swiglu = timm.layers.SwiGLUPacked
    cases = {
        "timm-plain": {},
        "timm-no-class-token": {"class_token": False, "global_pool": "avg", "fc_norm": False},
        "timm-class-outside-positions": {"no_embed_class": True},
        "timm-registers": {"reg_tokens": 4, "no_embed_class": True, "init_values": 0.5},
        "timm-fc-norm": {"global_pool": "avg"},
        "timm-clip": {"pre_norm": True, "act_layer": "quick_gelu", "norm_layer": torch.nn.LayerNorm},
        "timm-qk-norm": {"qk_norm": True},
        "timm-swiglu": {"mlp_layer": swiglu, "act_layer": torch.nn.SiLU, "init_values": 0.5},
        "timm-swiglu-separate": {"mlp_layer": timm.layers.SwiGLU, "act_layer": torch.nn.SiLU},
        "timm-siglip": {"class_token": False, "global_pool": "map", "act_layer": "gelu_tanh"},
        "timm-no-qkv-bias": {"qkv_bias": False},
    }
    for name, arguments in cases.items():
        model = timm_vit(**arguments)
        kept = {"num_heads": 2}
        if arguments.get("act_layer") in ("quick_gelu", "gelu_tanh"):
            kept["act_layer"] = arguments["act_layer"]
        config = {"model_args": kept, "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
        write(root / name, model.state_dict(), timm_expected(model), config)
    distilled = timm.models.deit.VisionTransformerDistilled(
        img_size=SIDE, patch_size=4, embed_dim=16, depth=2, num_heads=2, mlp_ratio=2, num_classes=0
    )
    distilled = randomise(distilled)
    tokens = distilled.forward_features(images())
    expected = {"class": tokens[:, 0], "mean": tokens[:, 2:].mean(1)}
    write(root / "timm-distilled", distilled.state_dict(), expected, {"model_args": {"num_heads": 2}})


def checkpoint(root):
    """A checkpoint of a training, by torch.save, with a teacher and a student, in half precision."""
    teacher, student = timm_vit(), timm_vit().requires_grad_(False)
    half = {f"module.backbone.{name}": tensor.half() for name, tensor in teacher.state_dict().items()}
    for name, tensor in half.items():
        teacher.state_dict()[name.removeprefix("module.backbone.")].copy_(tensor)
    other = {f"module.backbone.{name}": tensor + 1 for name, tensor in student.state_dict().items()}
    folder = root / "checkpoint"
    write(folder, {}, timm_expected(teacher), {"model_args": {"num_heads": 2}}, file="empty.pth")
    (folder / "empty.pth").unlink()
    torch.save({"epoch": 3, "teacher": half, "student": other}, folder / "checkpoint.pth")


def dino_names(root):
    """DINOv2 as its authors publish it: registers without positions, SwiGLU called w12 and w3."""
    model = timm_vit(mlp_layer=timm.layers.SwiGLUPacked, act_layer=torch.nn.SiLU, init_values=0.5)
    state = model.state_dict()
    names = {"mlp.fc1": "mlp.w12", "mlp.fc2": "mlp.w3"}
    renamed = {}
    for name, tensor in state.items():
        for old, new in names.items():
            name = name.replace(old, new)
        renamed[name] = tensor
    renamed["mask_token"] = torch.zeros(1, 16)
    folder = root / "facebook-dinov2"
    write(folder, renamed, timm_expected(model), {"model_args": {"num_heads": 2}}, file="dinov2.pth")


def hugging_face(root):
    t = transformers
    normalised = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4], "size": {"height": SIDE}}
    cases = {
        "hf-vit": (t.ViTModel, t.ViTConfig(**HF), 1),
        "hf-deit": (t.DeiTModel, t.DeiTConfig(**HF), 2),
        "hf-vit-mae": (t.ViTMAEModel, t.ViTMAEConfig(mask_ratio=0.0, **HF), 1),
        "hf-dinov2": (t.Dinov2Model, t.Dinov2Config(mlp_ratio=2, **HF), 1),
        "hf-dinov2-swiglu": (t.Dinov2Model, t.Dinov2Config(use_swiglu_ffn=True, **HF), 1),
        "hf-dinov2-registers": (
            t.Dinov2WithRegistersModel,
            t.Dinov2WithRegistersConfig(mlp_ratio=2, num_register_tokens=3, **HF),
            4,
        ),
        "hf-clip": (t.CLIPVisionModel, t.CLIPVisionConfig(**HF), 1),
        "hf-siglip": (t.SiglipVisionModel, t.SiglipVisionConfig(**HF), 0),
        "hf-dinov3": (t.DINOv3ViTModel, t.DINOv3ViTConfig(num_register_tokens=2, **HF), 3),
        "hf-dinov3-gated": (
            t.DINOv3ViTModel,
            t.DINOv3ViTConfig(use_gated_mlp=True, hidden_act="silu", **HF),
            1,
        ),
    }
    for name, (model, config, before) in cases.items():
        model = randomise(model(config))
        folder = root / name
        # a folder as `save_pretrained` writes it, and features of the model that is read back
        model.save_pretrained(folder)
        if name == "hf-vit-mae":
            # it shuffles the patches: without shuffling, the same encoder
            order = torch.arange((SIDE // 4) ** 2, dtype=torch.float32).expand(2, -1)
            tokens = model(images(), noise=order).last_hidden_state
        else:
            tokens = model(images()).last_hidden_state
        if name == "hf-clip":
            tokens = model.post_layernorm(tokens)
        expected = {"class": tokens[:, 0] if before else None, "mean": tokens[:, before:].mean(1)}
        write_expected(folder, expected)
        (folder / "preprocessor_config.json").write_text(json.dumps(normalised))
    # the names that transformers 5 has in memory
    model = randomise(t.ViTModel(t.ViTConfig(**HF)))
    tokens = model(images()).last_hidden_state
    expected = {"class": tokens[:, 0], "mean": tokens[:, 1:].mean(1)}
    config = t.ViTConfig(**HF).to_dict()
    write(root / "hf-vit-in-memory", model.state_dict(), expected, config, file="pytorch_model.bin")
    model = randomise(t.Dinov2Model(t.Dinov2Config(use_swiglu_ffn=True, **HF)))
    tokens = model(images()).last_hidden_state
    expected = {"class": tokens[:, 0], "mean": tokens[:, 1:].mean(1)}
    config = t.Dinov2Config(use_swiglu_ffn=True, **HF).to_dict()
    write(root / "hf-dinov2-in-memory", model.state_dict(), expected, config, file="pytorch_model.bin")
    # a whole CLIP, of which the vision tower is read
    text = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "vocab_size": 10,
        "max_position_embeddings": 4,
    }
    clip = randomise(t.CLIPModel(t.CLIPConfig(vision_config=HF, text_config=text, projection_dim=8)))
    clip.save_pretrained(root / "hf-clip-whole")
    tokens = clip.vision_model.post_layernorm(clip.vision_model(images()).last_hidden_state)
    write_expected(root / "hf-clip-whole", {"class": tokens[:, 0], "mean": tokens[:, 1:].mean(1)})
    # networks in stages
    widths = {"hidden_sizes": [8, 8, 12, 16], "depths": [2, 1, 1, 1]}
    for name, model in {
        "hf-convnext": t.ConvNextModel(t.ConvNextConfig(**widths)),
        "hf-convnextv2": t.ConvNextV2Model(t.ConvNextV2Config(**widths)),
        "hf-resnet": t.ResNetModel(t.ResNetConfig(embedding_size=4, layer_type="bottleneck", **widths)),
    }.items():
        model = randomise(model)
        model.save_pretrained(root / name)
        write_expected(root / name, {"mean": model(images(LARGE)).pooler_output.flatten(1)}, LARGE)


def open_clip_names(root):
    """CLIP with the names of OpenAI and open_clip, inside a model with a text tower."""
    model = timm_vit(pre_norm=True, act_layer="quick_gelu", norm_layer=torch.nn.LayerNorm)
    state = model.state_dict()
    new = {
        "visual.class_embedding": state["cls_token"].squeeze(),
        "visual.positional_embedding": state["pos_embed"].squeeze(0),
        "visual.conv1.weight": state["patch_embed.proj.weight"],
        "visual.proj": torch.zeros(16, 8),
        "transformer.resblocks.0.ln_1.weight": torch.ones(8),
        "token_embedding.weight": torch.ones(10, 8),
        "positional_embedding": torch.ones(4, 8),
        "logit_scale": torch.tensor(1.0),
    }
    renames = {
        "norm1": "ln_1",
        "norm2": "ln_2",
        "attn.qkv.weight": "attn.in_proj_weight",
        "attn.qkv.bias": "attn.in_proj_bias",
        "attn.proj": "attn.out_proj",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
    }
    for name, tensor in state.items():
        if name.startswith("blocks."):
            name = name.replace("blocks.", "visual.transformer.resblocks.")
            for old, text in renames.items():
                name = name.replace(old, text)
            new[name] = tensor
        for old, text in (("norm_pre.", "visual.ln_pre."), ("norm.", "visual.ln_post.")):
            if name.startswith(old):
                new[name.replace(old, text)] = tensor
    folder = root / "open-clip"
    write(folder, new, timm_expected(model), file="open_clip_model.safetensors")
    vision = {"width": 16, "layers": 2, "head_width": 8, "image_size": SIDE, "patch_size": 4}
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3}
    config = {"model_cfg": {"quick_gelu": True, "vision_cfg": vision}, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))


def in_stages(root):
    class Narrow(torchvision.models.ResNet):
        """A ResNet whose stages are 4 to 32 channels wide, so that its file is small."""

        def __init__(self, block, layers):
            torch.nn.Module.__init__(self)
            self._norm_layer, self.inplanes, self.dilation = torch.nn.BatchNorm2d, 4, 1
            self.groups, self.base_width = 1, 64
            self.conv1 = torch.nn.Conv2d(3, 4, 7, stride=2, padding=3, bias=False)
            self.bn1 = torch.nn.BatchNorm2d(4)
            self.relu = torch.nn.ReLU(inplace=True)
            self.maxpool = torch.nn.MaxPool2d(3, stride=2, padding=1)
            for index, count in enumerate(layers):
                stage = self._make_layer(block, 4 * 2**index, count, stride=1 if index == 0 else 2)
                setattr(self, f"layer{index + 1}", stage)
            self.avgpool = torch.nn.AdaptiveAvgPool2d(1)
            self.fc = torch.nn.Linear(32 * block.expansion, 3)

    blocks = torchvision.models.resnet
    for name, block in {"resnet-basic": blocks.BasicBlock, "resnet-bottleneck": blocks.Bottleneck}.items():
        model = randomise(Narrow(block, [2, 1, 1, 1]))
        features = torch.nn.Sequential(*list(model.children())[:-1])
        expected = {"mean": features(images(LARGE)).flatten(1)}
        write(root / name, model.state_dict(), expected, file="resnet.pth", side=LARGE)
    convnext = timm.models.convnext.ConvNeXt
    widths = {"depths": (2, 1, 1, 1), "dims": (8, 8, 12, 16), "num_classes": 0}
    for name, arguments in {
        "timm-convnext": {},
        "timm-convnext-conv-mlp": {"conv_mlp": True},
        "timm-convnextv2": {"use_grn": True, "ls_init_value": None},
    }.items():
        model = randomise(convnext(**widths, **arguments))
        write(root / name, model.state_dict(), {"mean": model(images(LARGE))}, side=LARGE)
    settings = [
        torchvision.models.convnext.CNBlockConfig(*setting)
        for setting in ((8, 8, 2), (8, 12, 1), (12, 16, 1), (16, None, 1))
    ]
    model = randomise(torchvision.models.ConvNeXt(settings, num_classes=3))
    pooled = model.classifier[:2](model.avgpool(model.features(images(LARGE))))
    write(root / "torchvision-convnext", model.state_dict(), {"mean": pooled}, side=LARGE)
    vit = torchvision.models.VisionTransformer(SIDE, 4, 2, 2, 16, 32, num_classes=3)
    vit = randomise(vit)
    x = vit._process_input(images())
    tokens = vit.encoder(torch.cat([vit.class_token.expand(2, -1, -1), x], 1))
    expected = {"class": tokens[:, 0], "mean": tokens[:, 1:].mean(1)}
    config = {"model_args": {"num_heads": 2}}
    write(root / "torchvision-vit", vit.state_dict(), expected, config, file="vit.pth")


@torch.no_grad()
def main():
    root = Path(sys.argv[1])
    shutil.rmtree(root, ignore_errors=True)
    timm_vits(root)
    checkpoint(root)
    dino_names(root)
    hugging_face(root)
    open_clip_names(root)
    in_stages(root)


if __name__ == "__main__":
    main()
