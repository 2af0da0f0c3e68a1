"""Which of the operations on stdin, one a line, have no kernel in the CUDA half of the torch of this Python.

Prints their names. No GPU and no driver is needed: kernels are registered when the library is loaded.
"""

import sys

import torch

for operation in sys.stdin.read().split():
    if not torch._C._dispatch_has_kernel_for_dispatch_key(operation, "CUDA"):
        print(operation)
