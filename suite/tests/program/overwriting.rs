//! What the program writes destroys neither an input nor a file of another kind, and what cannot be written
//! is told before the work begins.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use eqr_datasets::Pack;

use crate::common::{
    PROGRAM, class_folders, copy, eqr, folder, output, photographs, run_args, stderr, succeeded, tiny_run,
};

/// The command is refused with all of `says`, and the files named are as before.
fn refused(here: &Path, args: &[&str], says: &[&str], kept: &[&str]) {
    let contents = || kept.iter().map(|name| fs::read(here.join(name)).ok()).collect::<Vec<_>>();
    let before = contents();
    let output = eqr(here, args);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
    for part in says {
        assert!(stderr(&output).contains(part), "{args:?} should say `{part}`: {}", stderr(&output));
    }
    assert!(contents() == before, "{args:?} changed one of {kept:?}");
}

fn is_pack(path: &Path) -> bool {
    Pack::open(path).is_ok()
}

#[test]
fn a_pack_replaces_only_a_pack() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    class_folders(here, "photos", 2, 3, |_| (8, 8));
    succeeded(&output(Command::new("tar").args(["-cf", "set.tar", "photos"]).current_dir(here)));
    fs::write(here.join("thesis.txt"), "my thesis").unwrap();
    symlink("set.tar", here.join("link.h5")).unwrap();
    fs::hard_link(here.join("set.tar"), here.join("hard.h5")).unwrap();
    let pack = |input, out, more: &[&'static str]| {
        [&["data", "pack", "class-folders", input, "--out", out], more].concat()
    };
    for out in ["set.tar", "./photos/../set.tar", "link.h5", "hard.h5"] {
        for more in [&[][..], &["--force"]] {
            refused(here, &pack("set.tar", out, more), &["this is the input"], &["set.tar", "thesis.txt"]);
        }
    }
    refused(here, &pack("set.tar", "thesis.txt", &[]), &["not a pack", "--force"], &["thesis.txt"]);
    let image = "photos/class 0/000.png";
    refused(here, &pack("photos", image, &["--force"]), &["that is read"], &[image]);
    // a folder of that name is told before an image is decoded: a broken one is not mentioned
    fs::create_dir(here.join("folder.h5")).unwrap();
    fs::write(here.join("photos/class 0/000.png"), "broken").unwrap();
    let output = eqr(here, &pack("photos", "folder.h5", &[]));
    assert!(stderr(&output).contains("a folder") && !stderr(&output).contains("000.png"));
    for _ in 0..2 {
        succeeded(&eqr(here, &pack("set.tar", "set.h5", &[])));
    }
    succeeded(&eqr(here, &pack("set.tar", "thesis.txt", &["--force"])));
    assert!(is_pack(&here.join("thesis.txt")));
    // a second one replaces it without being asked to
    succeeded(&eqr(here, &pack("set.tar", "thesis.txt", &[])));
    // the meshes of `generate` are an input too
    refused(
        here,
        &["data", "generate", "solids", "--meshes", "set.tar", "--out", "set.tar"],
        &["this is the input"],
        &["set.tar"],
    );
}

#[test]
fn a_pack_goes_through_links_and_into_devices_and_pipes() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    class_folders(here, "photos", 2, 3, |_| (8, 8));
    fs::create_dir(here.join("disk")).unwrap();
    symlink("disk/set.h5", here.join("set.h5")).unwrap();
    let pack = |out| eqr(here, &["data", "pack", "class-folders", "photos", "--out", out]);
    // into a file that is not there yet, then over it
    for _ in 0..2 {
        succeeded(&pack("set.h5"));
        assert!(here.join("set.h5").is_symlink() && is_pack(&here.join("disk/set.h5")));
    }
    let whole = fs::read(here.join("set.h5")).unwrap();
    succeeded(&pack("/dev/null"));
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    assert!(!Path::new("/dev/null.part").exists());
    let script = "\"$0\" data pack class-folders photos --out /dev/stdout | cat > piped.h5 && \
                  \"$0\" data pack class-folders photos --out /dev/stdout > redirected.h5";
    succeeded(&output(
        Command::new("bash").args(["-o", "pipefail", "-c", script, PROGRAM]).current_dir(here),
    ));
    for copy in ["piped.h5", "redirected.h5"] {
        assert!(fs::read(here.join(copy)).unwrap() == whole, "{copy} is not the pack");
    }
    let full = pack("/dev/full");
    assert_eq!(full.status.code(), Some(2), "{}", stderr(&full));
    assert!(stderr(&full).contains("/dev/full"), "{}", stderr(&full));
    let mut left: Vec<_> = fs::read_dir(here).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["disk", "photos", "piped.h5", "redirected.h5", "set.h5"]);
}

/// A folder `NAME.part` that is somebody's keeps its files.
#[test]
fn the_folder_of_unfinished_work_is_not_somebody_elses() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    class_folders(here, "photos", 2, 3, |_| (8, 8));
    fs::create_dir(here.join("set.h5.part")).unwrap();
    for (name, text) in [("notes.txt", "mine"), ("journal", "dear diary"), ("bytes", "mine")] {
        let file = here.join("set.h5.part").join(name);
        fs::write(&file, text).unwrap();
        let args = ["data", "pack", "class-folders", "photos", "--out", "set.h5"];
        refused(here, &args, &["set.h5.part", name], &[&format!("set.h5.part/{name}")]);
        fs::remove_file(file).unwrap();
    }
    succeeded(&eqr(here, &["data", "pack", "class-folders", "photos", "--out", "set.h5"]));
}

#[test]
fn pictures_exports_and_verdicts_replace_only_their_like() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    copy(tiny_run(), &here.join("run"));
    fs::copy(here.join("run/metrics.csv"), here.join("before.csv")).unwrap();
    fs::write(here.join("thesis.txt"), "my thesis").unwrap();
    let checkpoint = "run/checkpoints/ours-seed0/step-21";
    let parameters = &format!("{checkpoint}/parameters.safetensors");
    assert!(here.join(parameters).exists());
    symlink(parameters, here.join("link.safetensors")).unwrap();

    let show = ["data", "show", "photos.h5", "--out"];
    let export = ["export", "run", "--method", "Ours", "--out"];
    let compare = ["compare", "before.csv", "run", "--junit"];
    for command in [&show[..], &export, &compare] {
        let to = |out| [command, &[out]].concat();
        refused(here, &to("thesis.txt"), &["thesis.txt", "--force"], &["thesis.txt"]);
        refused(here, &to("run"), &["a folder"], &[]);
        refused(here, &to("absent/out"), &["cannot write to absent"], &[]);
        succeeded(&eqr(here, &to("/dev/null")));
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        for _ in 0..2 {
            succeeded(&eqr(here, &to("out")));
        }
        fs::remove_file(here.join("out")).unwrap();
    }
    refused(here, &[&show[..], &["photos.h5"]].concat(), &["this is the input"], &["photos.h5"]);
    for out in [parameters.as_str(), "link.safetensors"] {
        for from in [&export[..], &["export", checkpoint, "--out"]] {
            let args = [from, &[out, "--force"]].concat();
            refused(here, &args, &["this is the input"], &[parameters]);
        }
    }
    for (out, says) in [("before.csv", "this is the input"), ("run/metrics.csv", "that is read")] {
        refused(here, &[&compare[..], &[out, "--force"]].concat(), &[says], &[out]);
    }
    // told before the runs are read
    refused(here, &["compare", "absent", "run", "--junit", "thesis.txt"], &["thesis.txt"], &["thesis.txt"]);
    let force = [&show[..], &["thesis.txt", "--force"]].concat();
    succeeded(&eqr(here, &force));
    assert!(fs::read(here.join("thesis.txt")).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn a_run_is_not_made_of_the_files_that_it_writes() {
    let folder = folder();
    let here = folder.path();
    copy(tiny_run(), &here.join("run"));
    symlink("run/metrics.csv", here.join("link.csv")).unwrap();
    for file in ["run/metrics.csv", "link.csv"] {
        let row = format!("Ours again={file}");
        let args = run_args("run", &["--external", &row]);
        refused(here, &args, &["Ours again", "written by this run itself"], &["run/metrics.csv"]);
    }
}

fn limited(here: &Path, kibibytes: u64, args: &[&str]) -> Output {
    let script = format!("ulimit -f {kibibytes}; exec \"$0\" \"$@\"");
    output(Command::new("bash").args(["-c", &script, PROGRAM]).args(args).current_dir(here))
}

#[test]
fn a_limit_on_file_sizes_is_told() {
    let folder = folder();
    let here = folder.path();
    class_folders(here, "photos", 2, 20, |_| (60, 60));
    for (args, says) in [
        (["data", "pack", "class-folders", "photos", "--out", "out.h5"], "out.h5"),
        (["data", "generate", "solids", "--objects=2", "--out", "solids.h5"], "solids.h5"),
    ] {
        let output = limited(here, 16, &args);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{:?}: {text}", output.status);
        assert!(text.contains(says) && text.contains("ulimit -f"), "{text}");
    }
    let stopped = limited(here, 8, &run_args("run", &[]));
    let text = stderr(&stopped);
    assert!(matches!(stopped.status.code(), Some(2 | 3)), "{:?}: {text}", stopped.status);
    assert!(text.contains("run/") && text.contains("ulimit -f"), "{text}");
    // stdout is a file too
    let script = "ulimit -f 1; exec \"$0\" data list > list.txt";
    let listed = output(Command::new("bash").args(["-c", script, PROGRAM]).current_dir(here));
    assert_eq!(listed.status.code(), Some(2), "{}", stderr(&listed));
    assert!(stderr(&listed).contains("cannot write to stdout"), "{}", stderr(&listed));
}

#[test]
fn a_log_on_a_full_disk_does_not_end_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    class_folders(here, "photos", 2, 3, |_| (8, 8));
    let script = "exec \"$0\" data pack class-folders photos --out set.h5 2> /dev/full";
    succeeded(&output(Command::new("bash").args(["-c", script, PROGRAM]).current_dir(here)));
    assert!(is_pack(&here.join("set.h5")));
}
