//! `scripts/install.sh` on a copy of a built checkout.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A built checkout with empty libraries and an engine that prints its arguments, and an empty prefix beside
/// it.
struct Built {
    dir: TempDir,
}

impl Built {
    fn new() -> Built {
        let dir = tempfile::tempdir().unwrap();
        let checkout = dir.path().join("checkout");
        for folder in ["scripts", "target/release", ".libtorch/lib"] {
            fs::create_dir_all(checkout.join(folder)).unwrap();
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/install.sh");
        fs::copy(script, checkout.join("scripts/install.sh")).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_eqr-bench"), checkout.join("target/release/eqr-bench")).unwrap();
        fs::write(checkout.join(".libtorch/version"), "2.11.0\n").unwrap();
        for library in ["libtorch.so", "libtorch_cpu.so", "libc10.so"] {
            fs::write(checkout.join(".libtorch/lib").join(library), "a library").unwrap();
        }
        let engine = checkout.join("target/release/eqr-bench-solo");
        fs::write(&engine, "#!/bin/sh\necho \"arguments: $*\"\n").unwrap();
        fs::set_permissions(&engine, fs::Permissions::from_mode(0o755)).unwrap();
        Built { dir }
    }

    fn prefix(&self) -> PathBuf {
        self.dir.path().join("prefix")
    }

    fn install(&self, args: &[&str]) -> Output {
        let script = self.dir.path().join("checkout/scripts/install.sh");
        Command::new(script).args(args).env("PREFIX", self.prefix()).output().unwrap()
    }
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

#[test]
fn an_installation_needs_no_checkout_and_can_be_removed() {
    let _turn = crate::turn();
    let built = Built::new();
    for _ in 0..2 {
        let output = built.install(&[]);
        let said = text(&output);
        assert!(output.status.success() && said.contains("installed: "), "{said}");
        assert!(said.contains("is not on your PATH: export PATH="), "{said}");
    }
    let program = built.prefix().join("bin/eqr-bench");
    fs::remove_dir_all(built.dir.path().join("checkout/target")).unwrap();
    fs::remove_dir_all(built.dir.path().join("checkout/.libtorch")).unwrap();
    let answer = Command::new(&program).args(["doctor", "now"]).env_remove("LIBTORCH").output().unwrap();
    assert!(answer.status.success() && text(&answer) == "arguments: doctor now\n", "{}", text(&answer));
    let page = built.prefix().join("share/man/man1/eqr-bench.1");
    assert_eq!(fs::read_to_string(&page).unwrap(), "arguments: man\n");
    let library = built.prefix().join("lib/eqr-bench/.libtorch/lib/libtorch_cpu.so");
    assert_eq!(fs::read_to_string(library).unwrap(), "a library");
    assert!(built.install(&["--remove"]).status.success());
    assert!(!page.exists() && !program.exists() && !built.prefix().join("lib/eqr-bench").exists());
}

#[test]
fn a_program_of_the_same_name_is_kept() {
    let _turn = crate::turn();
    let built = Built::new();
    fs::create_dir_all(built.prefix().join("bin")).unwrap();
    let other = built.prefix().join("bin/eqr-bench");
    fs::write(&other, "another program").unwrap();
    let output = built.install(&[]);
    let said = text(&output);
    assert!(output.status.code() == Some(2) && said.contains("exists and is no link"), "{said}");
    assert_eq!(fs::read_to_string(&other).unwrap(), "another program");
}
