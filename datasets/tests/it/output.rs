//! Outputs: what is replaced and what is not, links, pipes and devices, and that checks come before the work.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use eqr_datasets::output::{Output, OutputKind, write_file};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nold";
const NEW: &[u8] = b"\x89PNG\r\n\x1a\nnew";

/// Checks `out` and writes [`NEW`] to it.
fn write(out: &Path, inputs: &[&Path], force: bool) -> Result<(), String> {
    let output = Output::new(out, &OutputKind::PNG, inputs, force).map_err(|error| error.to_string())?;
    output.write(NEW).map_err(|error| error.to_string())
}

/// The folder's files are those named, so no temporary file was left.
fn holds(folder: &Path, names: &[&str]) {
    let mut found: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    found.sort();
    assert_eq!(found, names);
}

#[test]
fn a_file_is_replaced_only_by_its_like() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let [new, old, thesis, empty] = ["new.png", "old.png", "thesis.txt", "empty"].map(|name| here.join(name));
    fs::write(&old, PNG).unwrap();
    fs::write(&thesis, "my thesis").unwrap();
    fs::write(&empty, "").unwrap();
    for out in [&new, &old, &empty] {
        write(out, &[], false).unwrap();
        assert_eq!(fs::read(out).unwrap(), NEW, "{}", out.display());
    }
    let refused = write(&thesis, &[], false).unwrap_err();
    assert!(refused.contains("thesis.txt") && refused.contains("not a PNG") && refused.contains("--force"));
    assert_eq!(fs::read(&thesis).unwrap(), b"my thesis");
    write(&thesis, &[], true).unwrap();
    assert_eq!(fs::read(&thesis).unwrap(), NEW);
    holds(here, &["empty", "new.png", "old.png", "thesis.txt"]);
}

#[test]
fn an_input_is_no_output_by_any_of_its_names() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let input = here.join("input.png");
    fs::write(&input, PNG).unwrap();
    symlink("input.png", here.join("link")).unwrap();
    symlink(here.join("link"), here.join("link of a link")).unwrap();
    fs::hard_link(&input, here.join("hard link")).unwrap();
    fs::create_dir(here.join("inner")).unwrap();
    let names = ["input.png", "link", "link of a link", "hard link", "inner/../input.png"];
    for (out, force) in names.iter().flat_map(|name| [(here.join(name), false), (here.join(name), true)]) {
        for read in ["input.png", "link", "hard link"] {
            let refused = write(&out, &[&here.join("other"), &here.join(read)], force).unwrap_err();
            assert!(refused.contains("this is the input"), "{refused}");
        }
    }
    assert_eq!(fs::read(&input).unwrap(), PNG);
    assert!(here.join("link").is_symlink());
}

#[test]
fn a_file_in_a_folder_that_is_read_is_never_lost() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let input = here.join("input");
    fs::create_dir_all(input.join("class")).unwrap();
    fs::write(input.join("class/1.jpg"), "a photograph").unwrap();
    symlink(&input, here.join("link")).unwrap();
    for (out, force) in
        [("input/class/1.jpg", false), ("input/class/1.jpg", true), ("link/class/1.jpg", true)]
    {
        let refused = write(&here.join(out), &[&input], force).unwrap_err();
        assert!(refused.contains("that is read"), "{refused}");
    }
    assert_eq!(fs::read(input.join("class/1.jpg")).unwrap(), b"a photograph");
    // the output of an earlier call may lie there
    write(&input.join("sheet.png"), &[&input], false).unwrap();
    write(&input.join("sheet.png"), &[&input], false).unwrap();
}

#[test]
fn links_are_written_through() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::create_dir(here.join("far")).unwrap();
    fs::write(here.join("far/old.png"), PNG).unwrap();
    symlink("far/old.png", here.join("to old")).unwrap();
    symlink("far/new.png", here.join("to new")).unwrap();
    symlink("absent/new.png", here.join("to nowhere")).unwrap();
    symlink("circle", here.join("circle")).unwrap();
    for (link, file) in [("to old", "far/old.png"), ("to new", "far/new.png")] {
        write(&here.join(link), &[], false).unwrap();
        assert!(here.join(link).is_symlink(), "{link} was replaced");
        assert_eq!(fs::read(here.join(file)).unwrap(), NEW);
    }
    for (link, says) in [("to nowhere", "absent"), ("circle", "circle")] {
        let refused = write(&here.join(link), &[], true).unwrap_err();
        assert!(refused.contains(says), "{refused}");
    }
    // the files of a run are written in the same way
    write_file(&here.join("to old"), b"text").unwrap();
    assert!(here.join("to old").is_symlink());
    assert_eq!(fs::read(here.join("far/old.png")).unwrap(), b"text");
    holds(&here.join("far"), &["new.png", "old.png"]);
}

#[test]
fn devices_and_pipes_are_written_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write(Path::new("/dev/null"), &[], false).unwrap();
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    let full = write(Path::new("/dev/full"), &[], false).unwrap_err();
    assert!(full.contains("/dev/full"), "{full}");
    let pipe = here.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // what needs a file of its own is copied from there
    for whole in [false, true] {
        let reader = {
            let pipe = pipe.clone();
            std::thread::spawn(move || fs::read(pipe).unwrap())
        };
        let output = Output::new(&pipe, &OutputKind::PNG, &[], false).unwrap();
        match whole {
            true => output.write(NEW).unwrap(),
            false => output.write_with(|path| write_file(path, NEW)).unwrap(),
        }
        assert_eq!(reader.join().unwrap(), NEW);
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
    }
    let _listener = UnixListener::bind(here.join("socket")).unwrap();
    assert!(write(&here.join("socket"), &[], true).unwrap_err().contains("socket"));
    holds(here, &["pipe", "socket"]);
}

#[test]
fn what_cannot_be_written_is_known_before_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::create_dir(here.join("folder.png")).unwrap();
    fs::write(here.join("file"), "").unwrap();
    fs::write(here.join("kept.png"), PNG).unwrap();
    fs::set_permissions(here.join("kept.png"), Permissions::from_mode(0o444)).unwrap();
    let check = |name: &str, force| {
        Output::new(&here.join(name), &OutputKind::PNG, &[], force)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    for (out, says) in [
        ("folder.png", "a folder"),
        ("new/", "a folder"),
        ("absent/x.png", "absent"),
        ("file/x.png", "file/x.png"),
        ("kept.png", "write-protected"),
        ("/proc/x.png", "cannot write to /proc"),
    ] {
        let refused = check(out, false).unwrap_err();
        assert!(refused.contains(says), "{refused}");
    }
    assert!(Output::new(Path::new(""), &OutputKind::PNG, &[], true).is_err());
    check("kept.png", true).unwrap();
    holds(here, &["file", "folder.png", "kept.png"]);
}

#[test]
fn a_replaced_file_keeps_its_permissions() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("private.png");
    fs::write(&out, PNG).unwrap();
    fs::set_permissions(&out, Permissions::from_mode(0o600)).unwrap();
    write(&out, &[], false).unwrap();
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read(&out).unwrap(), NEW);
}
