"""Helper of setup.sh: finds python's torch package, and takes out of wheels what a build for the CPU needs.

    libtorch.py find                  prints the folder of the torch package, nothing if there is none
    libtorch.py unpack FOLDER WHEEL.. fills FOLDER/include and FOLDER/lib
"""

import fnmatch
import importlib.util
import os
import shutil
import sys
import zipfile

# libtorch_cuda and the CUDA libraries behind it (gigabytes) stay out: an engine built without them loads them at run time
# from whatever libtorch it is given. libtorch_cpu itself is linked to cudart and cupti.
LIBRARIES = ["libtorch.so", "libtorch_cpu.so", "libc10.so", "libgomp*.so*", "libcudart.so.*", "libcupti.so.*"]


def find():
    """The package is located, not imported: an import takes seconds and can fail for other reasons."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if entry and os.path.abspath(entry) != here]
    spec = importlib.util.find_spec("torch")
    if spec and spec.origin and spec.submodule_search_locations:
        print(list(spec.submodule_search_locations)[0])


def target_of(member):
    """Where a wheel's member goes below the folder; None for the ones that are not needed."""
    if member.endswith("/"):
        return None
    if member.startswith("torch/include/"):
        return member[len("torch/") :]
    folder, name = os.path.split(member)
    wanted = any(fnmatch.fnmatchcase(name, pattern) for pattern in LIBRARIES)
    if wanted and (folder == "torch/lib" or (folder.startswith("nvidia/") and folder.endswith("/lib"))):
        return "lib/" + name
    return None


def unpack(folder, wheels):
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                target = target_of(member)
                if target is None:
                    continue
                path = os.path.join(folder, target)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with archive.open(member) as source, open(path, "wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)


if __name__ == "__main__":
    if sys.argv[1:2] == ["find"]:
        find()
    elif sys.argv[1:2] == ["unpack"] and len(sys.argv) > 3:
        unpack(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(__doc__)
