//! Which libtorch `scripts/setup.sh` takes, tested on a copy of the scripts. Nothing is downloaded or
//! installed.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::MutexGuard;

use tempfile::TempDir;

/// A checkout with only the scripts, and an `apt-get` that installs nothing.
struct Checkout {
    dir: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Checkout {
    fn new() -> Self {
        let checkout = Checkout { _turn: crate::turn(), dir: tempfile::tempdir().unwrap() };
        fs::create_dir(checkout.path("scripts")).unwrap();
        for script in ["setup.sh", "libtorch.py"] {
            fs::copy(workspace().join("scripts").join(script), checkout.path("scripts").join(script))
                .unwrap();
        }
        fs::create_dir(checkout.path("programs")).unwrap();
        let apt_get = checkout.path("programs/apt-get");
        fs::write(&apt_get, "#!/bin/sh\nexit 1\n").unwrap();
        fs::set_permissions(&apt_get, fs::Permissions::from_mode(0o755)).unwrap();
        checkout
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    /// `setup.sh` with these steps, without the environment of cargo and without a network.
    fn setup(&self, steps: &[&str]) -> Command {
        let mut command = Command::new("bash");
        command.arg(self.path("scripts/setup.sh")).args(steps).stdin(Stdio::null());
        for name in ["LIBTORCH", "LD_LIBRARY_PATH", "VIRTUAL_ENV"] {
            command.env_remove(name);
        }
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.path("programs").display()));
        command.env("PIP_NO_INDEX", "1").env("PIP_FIND_LINKS", self.path("no-wheels"));
        command
    }

    /// A libtorch with links to the files of the real one, and an empty CUDA library.
    fn libtorch(&self, name: &str, version_file: &str, version: &str) -> PathBuf {
        let root = self.path(name);
        let real = workspace().join(".libtorch");
        fs::create_dir_all(root.join("lib")).unwrap();
        for file in fs::read_dir(real.join("lib")).unwrap() {
            let file = file.unwrap();
            symlink(file.path().canonicalize().unwrap(), root.join("lib").join(file.file_name())).unwrap();
        }
        fs::write(root.join("lib/libtorch_cuda.so"), "").unwrap();
        symlink(real.join("include").canonicalize().unwrap(), root.join("include")).unwrap();
        fs::write(root.join(version_file), version).unwrap();
        root
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap().trim().to_owned()
    }

    /// Identifies `.libtorch`: it changes when the folder is recreated.
    fn facade_identity(&self) -> u64 {
        fs::metadata(self.path(".libtorch")).unwrap().ino()
    }

    fn assert_facade_is_whole(&self) {
        for file in [
            "lib/libtorch.so",
            "lib/libtorch_cpu.so",
            "lib/libc10.so",
            "include/torch/csrc/api/include/torch/torch.h",
        ] {
            assert!(self.path(".libtorch").join(file).exists(), "{file}");
        }
        assert!(
            !self.path(".libtorch/lib/libtorch_cuda.so").exists(),
            "the build must not link the CUDA half"
        );
        assert!(!self.path(".libtorch.tmp").exists() && !self.path(".libtorch.old").exists());
    }
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn assert_fine(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

/// Asserts exit code 2, an error and a hint that contain the words, and no `.libtorch`.
fn assert_refused(checkout: &Checkout, output: &Output, words: &[&str]) {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("error: ") && text.contains("hint: "), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} not in {text}");
    }
    assert!(!checkout.path(".libtorch").exists() && !checkout.path(".libtorch.tmp").exists());
}

#[test]
fn a_libtorch_of_another_version_is_refused_before_anything_is_done() {
    let checkout = Checkout::new();
    for (name, file, text) in [
        ("archive", "build-version", "2.9.1+cpu\n"),
        ("package", "version.py", "__version__ = '2.12.0+cu130'\n"),
    ] {
        let wrong = checkout.libtorch(name, file, text);
        let output = checkout.setup(&[]).env("LIBTORCH", &wrong).output().unwrap();
        assert_refused(&checkout, &output, &["$LIBTORCH", wrong.to_str().unwrap(), "needs 2.11"]);
    }
}

#[test]
fn a_folder_that_is_not_a_whole_libtorch_is_refused() {
    let checkout = Checkout::new();
    let output = checkout.setup(&["libtorch"]).env("LIBTORCH", checkout.path("nowhere")).output().unwrap();
    assert_refused(&checkout, &output, &["has no lib/libtorch.so"]);

    let headless = checkout.libtorch("headless", "build-version", "2.11.0\n");
    fs::remove_file(headless.join("include")).unwrap();
    let output = checkout.setup(&["libtorch"]).env("LIBTORCH", &headless).output().unwrap();
    assert_refused(&checkout, &output, &["has no include/"]);
}

#[test]
fn what_libtorch_names_is_linked_once_and_again_when_it_changes() {
    let checkout = Checkout::new();
    let first = checkout.libtorch("first", "build-version", "2.11.0+cpu\n");
    let setup = |libtorch: Option<&Path>| {
        let mut command = checkout.setup(&["libtorch"]);
        if let Some(path) = libtorch {
            command.env("LIBTORCH", path);
        }
        assert_fine(&command.output().unwrap());
        checkout.assert_facade_is_whole();
        checkout.facade_identity()
    };

    let made = setup(Some(&first));
    assert_eq!(checkout.read(".libtorch/version"), "2.11.0+cpu");
    assert_eq!(setup(Some(&first)), made, "the second time there is nothing to do");
    assert_eq!(setup(None), made, "no wish leaves it as it is");
    assert_eq!(setup(Some(&checkout.path(".libtorch"))), made, "cargo names the result itself");

    let second = checkout.libtorch("second", "build-version", "2.11.1\n");
    setup(Some(&second));
    assert_eq!(checkout.read(".libtorch/version"), "2.11.1");
    assert!(checkout.read(".libtorch/source").ends_with(second.to_str().unwrap()));
}

#[test]
fn an_interrupted_set_up_does_not_pass_for_a_finished_one() {
    let checkout = Checkout::new();
    let libtorch = checkout.libtorch("libtorch", "build-version", "2.11.0\n");
    // A killed set-up leaves a half-filled temporary folder, or an older `.libtorch` without its last file.
    fs::create_dir_all(checkout.path(".libtorch.tmp/lib")).unwrap();
    fs::create_dir_all(checkout.path(".libtorch/lib")).unwrap();
    fs::write(checkout.path(".libtorch/source"), "1 LIBTORCH somewhere\n").unwrap();
    assert_fine(&checkout.setup(&["libtorch"]).env("LIBTORCH", &libtorch).output().unwrap());
    checkout.assert_facade_is_whole();
    assert_eq!(checkout.read(".libtorch/version"), "2.11.0");
}

#[test]
fn pythons_torch_is_found_without_importing_it() {
    if !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return crate::skip::skip("python", "no python3 on this machine");
    }
    let checkout = Checkout::new();
    let package = checkout.libtorch(
        "site-packages/torch",
        "version.py",
        "debug = False\n__version__ = '2.11.0+cu130'\n",
    );
    fs::write(package.join("__init__.py"), "raise RuntimeError('imported')\n").unwrap();
    let setup =
        || checkout.setup(&["libtorch"]).env("PYTHONPATH", package.parent().unwrap()).output().unwrap();
    assert_fine(&setup());
    checkout.assert_facade_is_whole();
    assert_eq!(checkout.read(".libtorch/source"), format!("1 python {}", package.display()));

    // After an upgrade in place the links lead to a version that must not be used, and there is no other.
    fs::write(package.join("version.py"), "__version__ = '2.12.0'\n").unwrap();
    let output = setup();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("version 2.12.0") && text.contains("not used"), "{text}");
}

/// A wheel with empty files of these names.
fn wheel(path: &Path, files: &[&str]) {
    let mut wheel = zip::ZipWriter::new(fs::File::create(path).unwrap());
    for file in files {
        wheel.start_file(*file, zip::write::SimpleFileOptions::default()).unwrap();
    }
    wheel.finish().unwrap();
}

/// On aarch64, libtorch_cpu.so is linked to libraries of Arm and NVIDIA that lie beside it.
#[test]
fn wheels_of_both_machines_are_unpacked_with_what_libtorch_is_linked_to() {
    if !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return crate::skip::skip("python", "no python3 on this machine");
    }
    let checkout = Checkout::new();
    let x86 = ["libtorch.so", "libtorch_cpu.so", "libc10.so", "libgomp.so.1"];
    let arm = [
        "libarm_compute.so",
        "libarm_compute_graph.so",
        "libgfortran.so.5",
        "libnvpl_blas_core.so.0",
        "libnvpl_blas_lp64_gomp.so.0",
        "libnvpl_lapack_core.so.0",
        "libnvpl_lapack_lp64_gomp.so.0",
    ];
    let of_cuda = ["libtorch_cuda.so", "libtorch_cuda_linalg.so", "libtorch_nvshmem.so", "libc10_cuda.so"];
    for (machine, libraries) in [("x86_64", x86.to_vec()), ("aarch64", [&x86[..], &arm].concat())] {
        let torch: Vec<String> =
            libraries.iter().chain(&of_cuda).map(|name| format!("torch/lib/{name}")).collect();
        let names: Vec<&str> = torch.iter().map(String::as_str).collect();
        let [first, second] = ["torch", "nvidia"].map(|name| checkout.path(&format!("{name}-{machine}.whl")));
        wheel(&first, &[&names[..], &["torch/include/torch/torch.h", "torch/_C.so"]].concat());
        wheel(&second, &["nvidia/cu13/lib/libcudart.so.13", "nvidia/cu13/lib/libnvblas.so.13"]);
        let folder = checkout.path(machine);
        let unpacked = Command::new("python3")
            .arg(checkout.path("scripts/libtorch.py"))
            .arg("unpack")
            .args([&folder, &first, &second])
            .output();
        assert_fine(&unpacked.unwrap());
        let files = fs::read_dir(folder.join("lib")).unwrap();
        let mut found: Vec<String> =
            files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        found.sort();
        let mut expected = [&libraries[..], &["libcudart.so.13"]].concat();
        expected.sort();
        assert_eq!(found, expected, "{machine}");
        assert!(folder.join("include/torch/torch.h").exists());
        let for_the_linker = fs::read_to_string(folder.join("lib/libtorch.so")).unwrap();
        assert_eq!(for_the_linker, "INPUT(libtorch_cpu.so)\n", "the program must not need the CUDA half");
    }
}
