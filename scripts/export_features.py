#!/usr/bin/env python3
"""Writes a feature file for `eqr-bench probe` and `eqr-bench transfer` from any encoder.

Needs numpy and h5py.

    from export_features import probe_split, transfer_split
    probe_split("f.h5", "train", encode, pairs)     # pairs: batches (view 1, view 2, {name: targets (B, k)})
    transfer_split("f.h5", "val", encode, images)   # images: batches (images, labels (B))

`encode` is a function from a batch of images to features (B, D), for example a PyTorch module in eval mode.
"""

import h5py
import numpy as np


def _rows(batches, kind=np.float32):
    """The rows of all batches; tensors may be on any device."""
    arrays = (b.detach().double().cpu() if hasattr(b, "detach") else b for b in batches)
    return np.concatenate([np.asarray(array, kind) for array in arrays])


def probe_split(path, split, encode, pairs):
    """Adds the group `split` (train, test): the features of both views, and every target."""
    first, second, targets = zip(*((encode(a), encode(b), t) for a, b, t in pairs))
    with h5py.File(path, "a") as file:
        file[f"{split}/features_1"], file[f"{split}/features_2"] = _rows(first), _rows(second)
        for name in targets[0]:
            file[f"{split}/targets/{name}"] = _rows([t[name] for t in targets], np.float64)


def transfer_split(path, split, encode, images):
    """Adds the group `split` (train, val, test): features, and labels counted from 0."""
    features, labels = zip(*((encode(x), np.asarray(y)) for x, y in images))
    with h5py.File(path, "a") as file:
        file[f"{split}/features"] = _rows(features)
        file[f"{split}/labels"] = np.concatenate(labels).astype(np.int64)
