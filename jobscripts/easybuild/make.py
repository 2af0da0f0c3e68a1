#!/usr/bin/env python3
"""Writes the easyconfig of eqr-bench. EasyBuild builds offline, so every crate of Cargo.lock is listed.

    jobscripts/easybuild/make.py            writes jobscripts/easybuild/eqr-bench-VERSION-foss-2025b.eb
    jobscripts/easybuild/make.py --check    exit code 1 if that file is not what would be written
"""

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

TEMPLATE = """\
# Written by make.py from Cargo.lock. `eb FILE --robot` builds it. A folder of EasyBuild's source path holds
# the archive of a checkout and the wheels of libtorch:
#
#   git archive --prefix=eqr-bench-%(version)s/ --output=eqr-bench-%(version)s.tar.gz HEAD
#   pip download --no-deps --python-version 3.12 --only-binary=:all: --platform manylinux_2_28_$(arch) \\
#       --platform manylinux_2_25_$(arch) --platform manylinux2014_$(arch) %(wheels)s
#
# This libtorch computes on CPUs. On a GPU node, set LIBTORCH to a PyTorch %(series)s with CUDA.
easyblock = 'Cargo'

name = 'eqr-bench'
version = '%(version)s'

# where the site keeps its checkout
homepage = 'https://eqr-bench.invalid'
description = "Benchmark and evaluation suite for equivariance in self-supervised learning"

toolchain = {'name': 'foss', 'version': '2025b'}

# name of the wheel, SHA-256
local_wheels = {
    'x86_64': [
        ('torch-%(torch)s-cp312-cp312-manylinux_2_28_x86_64.whl',
         '0f68f4ac6d95d12e896c3b7a912b5871619542ec54d3649cf48cc1edd4dd2756'),
        ('nvidia_cuda_runtime-%(cudart)s-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl',
         '7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548'),
        ('nvidia_cuda_cupti-%(cupti)s-py3-none-manylinux_2_25_x86_64.whl',
         '4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8'),
    ],
    'aarch64': [
        ('torch-%(torch)s-cp312-cp312-manylinux_2_28_aarch64.whl',
         'f99924682ef0aa6a4ab3b1b76f40dc6e273fca09f367d15a524266db100a723f'),
        ('nvidia_cuda_runtime-%(cudart)s-py3-none-manylinux2014_aarch64.manylinux_2_17_aarch64.whl',
         'ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55'),
        ('nvidia_cuda_cupti-%(cupti)s-py3-none-manylinux_2_25_aarch64.whl',
         '796bd679890ee55fb14a94629b698b6db54bcfd833d391d5e94017dd9d7d3151'),
    ],
}[ARCH]
# name, version, SHA-256
local_crates = [
%(crates)s
]

sources = ['eqr-bench-%%(version)s.tar.gz'] + [
    {'filename': local_wheel, 'extract_cmd': 'mkdir -p wheels && cp %%s wheels/'}
    for local_wheel, _ in local_wheels
]
crates = [(local_name, local_version) for local_name, local_version, _ in local_crates]
# the archive has none, because its bytes depend on git
checksums = [None] + [local_sum for _, local_sum in local_wheels] + [
    {'%%s-%%s.tar.gz' %% (local_name, local_version): local_sum}
    for local_name, local_version, local_sum in local_crates
]

builddependencies = [
    ('Rust', '1.91.1'),
    ('pkgconf', '2.4.3'),
    # the bindings of MPI are generated
    ('LLVM', '20.1.8'),
    ('Python', '3.13.5'),
]
dependencies = [('HDF5', '1.14.6')]

# puts libtorch into .libtorch/, from the wheels
prebuildopts = 'PIP_NO_INDEX=1 PIP_FIND_LINKS=%%(builddir)s/wheels scripts/setup.sh libtorch && '
enable_tests = False
preinstallopts = 'cd suite && '
installopts = '--locked'
# the launcher looks for it beside bin/
postinstallcmds = ['mkdir -p %%(installdir)s/.libtorch && cp -rL %%(start_dir)s/.libtorch/{lib,version} '
                   '%%(installdir)s/.libtorch/']
skipsteps = ['test']

sanity_check_paths = {
    'files': ['bin/eqr-bench', 'bin/eqr-bench-solo', 'bin/eqr-bench-mpi', '.libtorch/lib/libtorch_cpu.so'],
    'dirs': [],
}
sanity_check_commands = ['eqr-bench doctor', 'eqr-bench run weekly --out %%(builddir)s/weekly --dry-run']

moduleclass = 'ai'
"""


def value(pattern, path):
    return re.search(pattern, (ROOT / path).read_text()).group(1)


def crates():
    """(name, version, SHA-256) of every crate that is not a member of the workspace."""
    packages = (ROOT / "Cargo.lock").read_text().split("[[package]]")[1:]
    for package in packages:
        fields = dict(re.findall(r'^(\w+) = "(.*)"$', package, re.MULTILINE))
        if "source" in fields:
            yield fields["name"], fields["version"], fields["checksum"]


def easyconfig():
    setup = "scripts/setup.sh"
    versions = {
        "torch": value(r"TORCH_WHEEL=torch==(\S+)", setup),
        "cudart": value(r"nvidia-cuda-runtime==([\d.]+)", setup),
        "cupti": value(r"nvidia-cuda-cupti==([\d.]+)", setup),
    }
    wheels = "torch=={torch} \\\n#       nvidia-cuda-runtime=={cudart} nvidia-cuda-cupti=={cupti}"
    return TEMPLATE % {
        "version": value(r'\nversion = "(.*)"', "Cargo.toml"),
        "series": value(r"TORCH_SERIES=(\S+)", setup),
        "wheels": wheels.format(**versions),
        "crates": "\n".join(f"    {crate!r}," for crate in crates()),
        **versions,
    }


def main():
    text = easyconfig()
    version = value(r'\nversion = "(.*)"', "Cargo.toml")
    path = HERE / f"eqr-bench-{version}-foss-2025b.eb"
    if sys.argv[1:] == ["--check"]:
        if not path.exists() or path.read_text() != text:
            sys.exit(f"error: {path} is not of this Cargo.lock\nhint: jobscripts/easybuild/make.py")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        path.write_text(text)


if __name__ == "__main__":
    main()
