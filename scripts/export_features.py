#!/usr/bin/env python3
"""Writes a feature file for `eqr-bench probe` and `eqr-bench transfer` from any encoder (pip install numpy h5py).

    from export_features import probe_split, transfer_split
    probe_split("f.h5", "train", encode, pairs)          # pairs: batches (view 1, view 2, {name: targets (B, k)})
    transfer_split("f.h5", "val", encode, images)        # images: batches (images, labels (B))

`encode` takes a batch of images and returns features (B, D): a PyTorch module in eval mode, or any other function.
"""

import h5py
import numpy as np


def _rows(batches):
    """The rows of all batches; tensors of any device as float32."""
    return np.concatenate([np.asarray(b.detach().float().cpu() if hasattr(b, "detach") else b, np.float32) for b in batches])


def probe_split(path, split, encode, pairs):
    """Adds `split` (train, test) with the features of both views and every target."""
    first, second, targets = zip(*((encode(a), encode(b), t) for a, b, t in pairs))
    with h5py.File(path, "a") as file:
        file[f"{split}/features_1"], file[f"{split}/features_2"] = _rows(first), _rows(second)
        for name in targets[0]:
            file[f"{split}/targets/{name}"] = _rows([t[name] for t in targets])


def transfer_split(path, split, encode, images):
    """Adds `split` (train, val, test) with features and labels, classes from 0."""
    features, labels = zip(*((encode(x), np.asarray(y)) for x, y in images))
    with h5py.File(path, "a") as file:
        file[f"{split}/features"], file[f"{split}/labels"] = _rows(features), np.concatenate(labels).astype(np.int64)
