"""Helper of setup.sh: finds python's torch package, and extracts from wheels what a build for CPUs needs.

    libtorch.py find                  prints the folder of the torch package, or nothing if there is none
    libtorch.py unpack FOLDER WHEEL.. fills FOLDER/include and FOLDER/lib
"""

import fnmatch
import importlib.util
import os
import shutil
import sys
import zipfile

# libtorch_cuda and the CUDA libraries that it needs (gigabytes) are left out. An engine built without them
# loads them at run time from the libtorch in use. libtorch_cpu itself is linked to cudart and cupti.
LIBRARIES = ["libtorch_cpu.so", "libc10.so", "libgomp*.so*", "libcudart.so.*", "libcupti.so.*"]
# What libtorch_cpu is linked to on aarch64, where it has no MKL: BLAS, LAPACK, convolutions.
LIBRARIES += ["libnvpl_*.so.*", "libgfortran.so.*", "libarm_compute*.so"]


def find():
    """Locates the package without importing it. An import takes seconds and can fail for other reasons."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if entry and os.path.abspath(entry) != here]
    spec = importlib.util.find_spec("torch")
    if spec and spec.origin and spec.submodule_search_locations:
        print(list(spec.submodule_search_locations)[0])


def target_of(member):
    """The path below the folder for a member of a wheel; None if the member is not needed."""
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
    # libtorch.so has no code of libtorch, but names the CUDA half. A linker keeps it if it finds a function
    # of the C++ runtime there, as GNU ld does on aarch64, and the program then needs the CUDA half. So the
    # linker finds the CPU half in its place.
    with open(os.path.join(folder, "lib", "libtorch.so"), "w") as script:
        script.write("INPUT(libtorch_cpu.so)\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["find"]:
        find()
    elif sys.argv[1:2] == ["unpack"] and len(sys.argv) > 3:
        unpack(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(__doc__)
