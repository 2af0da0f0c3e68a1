//! Broken or hostile data, and packs that cannot be written: exit code 2, one message that names file and
//! member, and no file that looks like a pack.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use eqr_datasets::Pack;
use image::ImageFormat;
use tar::EntryType;
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use crate::common::{PROGRAM, class_folders, eqr, is_refusal, output, picture, spawn, stderr, succeeded};

/// `data pack` of class folders `input` to `out.h5`.
fn pack_args<'a>(input: &'a str, extra: &[&'a str]) -> Vec<&'a str> {
    [&["data", "pack", "class-folders", input, "--out", "out.h5", "--threads", "1"], extra].concat()
}

/// Packing `input` is refused and leaves neither a pack nor a partial one.
fn refused(here: &Path, input: &str, says: &[&str]) {
    is_refusal(&eqr(here, &pack_args(input, &[])), says);
    assert!(!here.join("out.h5").exists() && !here.join("out.h5.part").exists(), "something was left");
}

/// The program with a file size limit of `kibibytes`. Writes beyond it fail as on a full disk.
fn with_room(here: &Path, kibibytes: u64, args: &[&str]) -> Output {
    let script = format!("trap '' XFSZ; ulimit -f {kibibytes}; exec \"$0\" \"$@\"");
    output(Command::new("bash").args(["-c", &script, PROGRAM]).args(args).current_dir(here))
}

#[test]
fn a_full_disk_keeps_what_is_done_and_the_same_command_finishes_it() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    class_folders(here, "photos", 2, 20, |_| (60, 60));
    succeeded(&eqr(here, &["data", "pack", "class-folders", "photos", "--out", "whole.h5"]));
    let whole = fs::read(here.join("whole.h5")).unwrap();
    // room for some images; for all images, but not for the rest of the pack
    let images: u64 =
        Pack::open(here.join("whole.h5")).unwrap().splits.iter().map(|split| split.image_bytes()).sum();
    for room in [images / 2048, images / 1024 + 1] {
        assert!(room * 1024 < whole.len() as u64);
        let full = with_room(here, room, &pack_args("photos", &[]));
        is_refusal(&full, &["out.h5", "is kept in out.h5.part; run the same command to continue"]);
        assert!(!here.join("out.h5").exists() && here.join("out.h5.part").exists(), "room for {room} KiB");
        succeeded(&eqr(here, &pack_args("photos", &[])));
        assert!(
            fs::read(here.join("out.h5")).unwrap() == whole,
            "another pack after a full disk at {room} KiB"
        );
        fs::remove_file(here.join("out.h5")).unwrap();
    }
    let mut left: Vec<_> = fs::read_dir(here).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["photos", "whole.h5"]);
}

fn start(here: &Path, args: &[&str]) -> Child {
    spawn(Command::new(PROGRAM).args(args).current_dir(here).stdout(Stdio::null()).stderr(Stdio::piped()))
}

#[test]
fn two_processes_that_pack_to_one_file_leave_one_whole_pack() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    class_folders(here, "photos", 2, 40, |_| (100, 80));
    let args = pack_args("photos", &["--short-side", "40"]);
    let outputs = [start(here, &args), start(here, &args)].map(|child| child.wait_with_output().unwrap());
    assert!(outputs.iter().any(|output| output.status.success()), "neither packed: {}", stderr(&outputs[0]));
    for output in outputs.iter().filter(|output| !output.status.success()) {
        is_refusal(output, &["out.h5", "another process is packing to this file", "hint:"]);
    }
    succeeded(&eqr(here, &["data", "verify", "out.h5"]));
    assert!(!here.join("out.h5.part").exists());
}

#[test]
fn killed_in_the_middle_and_started_again_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    class_folders(here, "photos", 2, 150, |_| (120, 90));
    let args = pack_args("photos", &["--short-side", "60"]);
    succeeded(&eqr(here, &args));
    fs::rename(here.join("out.h5"), here.join("whole.h5")).unwrap();

    let mut child = start(here, &args);
    let journal = here.join("out.h5.part/journal");
    let length = || fs::metadata(&journal).map_or(0, |journal| journal.len());
    let deadline = Instant::now() + Duration::from_secs(60);
    while length() < 10_000 {
        assert!(Instant::now() < deadline && !here.join("out.h5").exists(), "it was not met in the middle");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        !here.join("out.h5").exists() && length() >= 10_000,
        "killed before the end, and something is kept"
    );
    succeeded(&eqr(here, &args));
    assert!(fs::read(here.join("out.h5")).unwrap() == fs::read(here.join("whole.h5")).unwrap());
    assert!(!here.join("out.h5.part").exists());
}

fn png() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture(12, 12, 1).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Names and contents of the files of a set of two classes.
fn two_classes() -> Vec<(String, Vec<u8>)> {
    (0..8).map(|index| (format!("{}/{index}.png", index % 2), png())).collect()
}

/// The bytes of a tar member; `declared` is the size in its header.
fn tar_member(name: &str, kind: EntryType, declared: usize, bytes: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..9].copy_from_slice(b"0/0.png\0\0");
    header.set_entry_type(kind);
    header.set_size(declared as u64);
    header.set_cksum();
    let mut member = header.as_bytes().to_vec();
    member.extend_from_slice(bytes);
    member.resize(member.len().next_multiple_of(512), 0);
    member
}

/// A tar of two classes with `last` as its last member.
fn tar_with(last: &[u8]) -> Vec<u8> {
    let member =
        |(name, bytes): (String, Vec<u8>)| tar_member(&name, EntryType::Regular, bytes.len(), &bytes);
    let mut tar: Vec<u8> = two_classes().into_iter().flat_map(member).collect();
    tar.extend_from_slice(last);
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// A zip of two classes and `last`.
fn zip_with(last: (&str, &[u8])) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    let mut add = |name: &str, bytes: &[u8]| {
        writer.start_file(name, options).unwrap();
        writer.write_all(bytes).unwrap();
    };
    two_classes().iter().for_each(|(name, bytes)| add(name, bytes));
    add(last.0, last.1);
    writer.finish().unwrap().into_inner()
}

#[test]
fn archives_that_reach_outside_or_lie() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let write = |name: &str, bytes: &[u8]| fs::write(here.join(name), bytes).unwrap();
    write("good.tar", &tar_with(&[]));
    succeeded(&eqr(here, &pack_args("good.tar", &[])));
    fs::remove_file(here.join("out.h5")).unwrap();

    let regular = |name: &str| tar_member(name, EntryType::Regular, 3, b"abc");
    let cases: [(&str, Vec<u8>, &[&str]); 5] = [
        ("parent.tar", regular("0/../../outside.png"), &["0/../../outside.png", ".."]),
        ("absolute.tar", regular("/etc/outside.png"), &["/etc/outside.png", "absolute"]),
        ("symlink.tar", tar_member("0/link.png", EntryType::Symlink, 0, b""), &["0/link.png", "link"]),
        ("hardlink.tar", tar_member("0/link.png", EntryType::Link, 0, b""), &["0/link.png", "link"]),
        ("short.tar", tar_member("0/9.png", EntryType::Regular, 1 << 20, b"abc"), &["0/9.png", "truncated"]),
    ];
    for (name, member, says) in cases {
        write(name, &tar_with(&member));
        refused(here, name, &[&[name], says].concat());
    }
    assert!(!here.join("outside.png").exists() && !here.parent().unwrap().join("outside.png").exists());

    write("parent.zip", &zip_with(("0/../../outside.png", b"abc")));
    refused(here, "parent.zip", &["parent.zip", "0/../../outside.png"]);
    // 65 MiB of zeros, where an image file may have 64: refused before it is unpacked
    let zeros = vec![0; 65 << 20];
    let bomb = zip_with(("0/bomb.png", &zeros));
    assert!(bomb.len() < 100 << 10);
    write("bomb.zip", &bomb);
    refused(here, "bomb.zip", &["bomb.zip", "0/bomb.png", "expected at most"]);
    let skipped = eqr(here, &pack_args("bomb.zip", &["--skip-bad"]));
    succeeded(&skipped);
    assert_eq!(left_out(here), ["0/bomb.png"]);
    fs::remove_file(here.join("out.h5")).unwrap();
    // the same, with 100 bytes as its size in the local header and the directory
    let (honest, lie) = ((zeros.len() as u32).to_le_bytes(), 100u32.to_le_bytes());
    let mut liar = bomb;
    let places: Vec<usize> = (0..liar.len() - 4).filter(|&at| liar[at..at + 4] == honest).collect();
    assert_eq!(places.len(), 2);
    places.into_iter().for_each(|at| liar[at..at + 4].copy_from_slice(&lie));
    write("liar.zip", &liar);
    refused(here, "liar.zip", &["liar.zip", "0/bomb.png"]);
}

#[test]
fn packs_of_another_version_truncated_or_with_a_flipped_byte() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    class_folders(here, "photos", 2, 6, |_| (30, 20));
    succeeded(&eqr(here, &pack_args("photos", &[])));
    let whole = fs::read(here.join("out.h5")).unwrap();
    let verified = |bytes: &[u8], says: &[&str]| {
        fs::write(here.join("bad.h5"), bytes).unwrap();
        is_refusal(&eqr(here, &["data", "verify", "bad.h5"]), &[&["bad.h5"], says].concat());
    };
    let mut other = whole.clone();
    assert!(other.starts_with(b"eqr-pack 3\n"));
    other[9] = b'1';
    verified(&other, &["version 2 to 3", "version 1", "hint: pack the set again"]);
    verified(&whole[..whole.len() / 2], &["truncated"]);
    verified(&whole[..100], &["first 512 bytes"]);
    verified(b"", &["found an empty file"]);

    let image = fs::read(here.join("photos/class 1/003.png")).unwrap();
    let place = whole.windows(image.len()).position(|window| window == image).unwrap();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    verified(&flipped(place + image.len() / 2), &["class 1/003.png", "is damaged"]);
    let name = whole.windows(15).position(|window| window == b"class 1/003.png").unwrap();
    verified(&flipped(name), &["damaged outside its images"]);
    // the digits of the length and of the hash in the seal
    verified(&flipped(20), &["truncated or altered"]);
    let hash = whole.windows(7).position(|window| window == b"blake3 ").unwrap();
    verified(&flipped(hash + 8), &["damaged"]);
}

#[test]
fn images_that_cannot_be_used_are_listed_or_left_out_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let root = class_folders(here, "photos", 2, 8, |_| (20, 20));
    fs::write(root.join("class 0/002.png"), b"").unwrap();
    fs::write(root.join("class 1/005.png"), &png()[..60]).unwrap();
    refused(here, "photos", &["class 0/002.png", "class 1/005.png", "2 of 16 members", "--skip-bad"]);
    let packed = eqr(here, &pack_args("photos", &["--skip-bad"]));
    succeeded(&packed);
    assert!(stderr(&packed).contains("left out: 2 images that cannot be used"), "{}", stderr(&packed));
    let pack = Pack::open(here.join("out.h5")).unwrap();
    assert_eq!(pack.splits.iter().map(|split| split.len()).sum::<usize>(), 14);
    assert_eq!(left_out(here), ["class 0/002.png", "class 1/005.png"]);
}

/// The members that `out.h5` lists as left out. Each has a reason.
fn left_out(here: &Path) -> Vec<String> {
    let pack = Pack::open(here.join("out.h5")).unwrap();
    let entries = pack.provenance["left_out"].as_array().unwrap();
    assert!(entries.iter().all(|entry| !entry["reason"].as_str().unwrap().is_empty()));
    let mut members: Vec<String> =
        entries.iter().map(|entry| entry["member"].as_str().unwrap().to_owned()).collect();
    members.sort_unstable();
    members
}

#[test]
fn images_that_lists_name_and_that_are_missing_are_listed_or_left_out_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let write = |name: &str, bytes: &[u8]| {
        let path = here.join("dtd").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    for (at, split) in ["train", "val", "test"].into_iter().enumerate() {
        let names = [0, 1].map(|image| format!("woven/woven_{at}{image}.jpg"));
        names.iter().for_each(|name| write(&format!("images/{name}"), &png()));
        write(&format!("labels/{split}1.txt"), (names.join("\r\n") + "\r\n").as_bytes());
    }
    fs::remove_file(here.join("dtd/images/woven/woven_11.jpg")).unwrap();
    let args = ["data", "pack", "dtd", "dtd", "--out", "out.h5"];
    let says =
        ["images/woven/woven_11.jpg", "labels/val1.txt line 2 lists it", "1 of 6 members", "--skip-bad"];
    is_refusal(&eqr(here, &args), &says);
    assert!(!here.join("out.h5").exists() && !here.join("out.h5.part").exists());
    succeeded(&eqr(here, &[args.as_slice(), &["--skip-bad"]].concat()));
    assert_eq!(left_out(here), ["images/woven/woven_11.jpg"]);
    assert_eq!(Pack::open(here.join("out.h5")).unwrap().split("val").unwrap().len(), 1);
}

#[test]
fn places_where_no_pack_can_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    class_folders(here, "photos", 2, 3, |_| (8, 8));
    fs::write(here.join("file"), "not a folder").unwrap();
    fs::create_dir(here.join("folder.h5")).unwrap();
    // nobody may write to /proc, not even root
    for (out, says) in [
        ("/proc/x.h5", "/proc"),
        ("absent/x.h5", "absent"),
        ("file/x.h5", "file"),
        ("folder.h5", "folder.h5"),
    ] {
        is_refusal(&eqr(here, &["data", "pack", "class-folders", "photos", "--out", out]), &[says]);
    }
}
