from spack_repo.builtin.build_systems.cargo import CargoPackage

from spack.package import *


class EqrBench(CargoPackage):
    """Benchmark and evaluation suite for equivariance in self-supervised learning: pretrains
    encoders with joint-embedding methods, freezes them, and measures what they keep of every
    transformation."""

    # Where the site keeps its checkout. `spack develop --path CHECKOUT eqr-bench@main` builds
    # from a folder.
    homepage = "https://eqr-bench.invalid"
    git = "https://eqr-bench.invalid/eqr-bench.git"

    license("MIT OR Apache-2.0")

    version("main", branch="main")

    variant("mpi", default=True, description="Ranks under MPI")

    depends_on("c", type="build")
    depends_on("cxx", type="build")
    depends_on("rust@1.89:", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("llvm+clang", type="build", when="+mpi")  # the bindings of MPI are generated
    depends_on("python@3.6:", type=("build", "run"))  # set-up
    depends_on("hdf5@1.10:")
    depends_on("openblas")
    depends_on("mpi", when="+mpi")
    depends_on("py-torch@2.11", type=("build", "link", "run"))

    # the workspace's programs are in the package `suite`
    build_directory = "suite"

    def setup_build_environment(self, env: EnvironmentModifications) -> None:
        env.set("LIBTORCH", self.libtorch)
        env.set("LIBTORCH_BYPASS_VERSION_CHECK", "1")
        env.set("HDF5_DIR", self.spec["hdf5"].prefix)
        if self.spec.satisfies("+mpi"):
            env.set("LIBCLANG_PATH", self.spec["llvm"].prefix.lib)

    def setup_run_environment(self, env: EnvironmentModifications) -> None:
        # the launcher gives this libtorch, with its CUDA half if it has one, to the engines
        env.set("LIBTORCH", self.libtorch)

    @property
    def libtorch(self) -> str:
        """The folder of the package torch, which holds include/ and lib/."""
        platlib = self.spec["python"].package.platlib
        return join_path(self.spec["py-torch"].prefix, platlib, "torch")

    @property
    def build_args(self):
        if self.spec.satisfies("+mpi"):
            return ["--locked"]
        return ["--locked", "--no-default-features", "--features", "onnx"]

    @run_before("build")
    def link_libtorch(self):
        """Puts links to libtorch into .libtorch/, where the build looks for it."""
        with working_dir(self.stage.source_path):
            Executable("scripts/setup.sh")("libtorch")

    @run_after("install")
    def install_jobscripts(self):
        install_tree(join_path(self.stage.source_path, "jobscripts"), self.prefix.share.jobscripts)

    @run_after("install")
    @on_package_attributes(run_tests=True)
    def runs(self):
        """The program starts with this libtorch, and takes the suite of the benchmark."""
        program = Executable(self.prefix.bin.join("eqr-bench"))
        program("doctor")
        program("run", "weekly", "--out", join_path(self.stage.path, "weekly"), "--dry-run")
