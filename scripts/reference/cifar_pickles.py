#!/usr/bin/env python3
"""Writes the small pickles in CIFAR's python layout that the tests of datasets/ read. Needs numpy 2.

    scripts/reference/cifar_pickles.py [FOLDER]     default: datasets/tests/reference

The official files were written by Python 2's cPickle at protocol 2. The class Python2 below writes that form:
its output for the names of the ten classes equals the official batches.meta byte for byte. Files named after
Python 3 are written by Python 3's own pickle from the same dicts, like copies of CIFAR that were read and
written again.
"""

import hashlib
import io
import pathlib
import pickle
import sys
import types

import numpy as np

TEN = "airplane automobile bird cat deer dog frog horse ship truck".split()
OFFICIAL_META_MD5 = "5ff9c542aee3614f3951f8cda6e48888"


class Python2(pickle._Pickler):
    """Writes what Python 2's cPickle wrote at protocol 2 with the numpy of its time."""

    dispatch = dict(pickle._Pickler.dispatch)

    def __init__(self, file):
        super().__init__(file, protocol=2)

    def memoize(self, obj):
        number = len(self.memo) + 1  # cPickle counts from 1
        self.write(self.put(number))
        self.memo[id(obj)] = number, obj

    def save_string(self, obj):
        data = obj if isinstance(obj, bytes) else obj.encode("latin-1")
        if len(data) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) + data)
        else:
            self.write(pickle.BINSTRING + len(data).to_bytes(4, "little") + data)
        self.memoize(obj)

    def save_global(self, obj, name=None):
        module = obj.__module__.replace("numpy._core", "numpy.core")
        self.write(pickle.GLOBAL + f"{module}\n{name or obj.__name__}\n".encode())
        self.memoize(obj)

    def reducer_override(self, obj):
        if isinstance(obj, np.dtype):
            return np.dtype, ("u1", 0, 1), (3, "|", None, None, None, -1, -1, 0)
        return NotImplemented

    dispatch[bytes] = save_string
    dispatch[str] = save_string
    dispatch[types.FunctionType] = save_global


def python2(value):
    file = io.BytesIO()
    Python2(file).dump(value)
    return file.getvalue()


def images(count, first):
    """Images whose bytes differ by image, plane, row and column."""
    at = np.arange(3072)
    return np.stack([(at * 7 + at // 32 + 31 * (first + n)) % 251 for n in range(count)]).astype("u1")


def batch(labels, first):
    names = [b"image_s_%06d.png" % (first + n) for n in range(len(labels))]
    return {b"batch_label": b"training batch 1 of 5", b"labels": labels,
            b"data": images(len(labels), first), b"filenames": names}


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "datasets/tests/reference")
    ten = batch([6, 9], 0)
    fine = batch([19, 99], 40)
    hundred = {b"filenames": fine[b"filenames"], b"batch_label": b"training batch 1 of 1",
               b"fine_labels": fine[b"labels"], b"coarse_labels": [11, 15], b"data": fine[b"data"]}
    meta = {b"num_cases_per_batch": 10000, b"label_names": [name.encode() for name in TEN], b"num_vis": 3072}
    files = {
        "cifar10-meta.python2": python2(meta),
        "cifar10-batch.python2": python2(ten),
        "cifar100-batch.python2": python2(hundred),
        "cifar10-meta.python3-protocol4": pickle.dumps({"label_names": TEN}, 4),
    }
    for protocol in range(2, 6):
        files[f"cifar10-batch.python3-protocol{protocol}"] = pickle.dumps(ten, protocol)
    assert hashlib.md5(files["cifar10-meta.python2"]).hexdigest() == OFFICIAL_META_MD5
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        pickle.loads(data, encoding="bytes")  # Python itself must be able to read it
        (folder / name).write_bytes(data)


main()
