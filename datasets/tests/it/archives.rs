//! Folders and archives, valid and broken.

use std::fs;
use std::io::{self, Cursor, Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use eqr_datasets::archives::{IMAGE_BYTES, Listed, Selection, Tree, Visit};
use eqr_datasets::{Error, FileKind};
use tar::EntryType;
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use crate::common::{Files, gz_bytes, write_folder};

fn files(pairs: &[(&str, &[u8])]) -> Files {
    pairs.iter().map(|&(path, bytes)| (path.to_owned(), bytes.to_vec())).collect()
}

/// Names as in published sets, not sorted.
fn photographs() -> Files {
    files(&[
        ("b/Äpfel 2.jpg", b"two"),
        ("a-b/1.png", b"hyphen"),
        ("a/1.png", b""),
        ("labels.txt", b"a\r\nb\r\n"),
    ])
}

fn tar_header(name: &[u8], kind: EntryType, declared: u64) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(declared);
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// The bytes of one member of a tar. `tar::Builder` would refuse to write some of these names.
fn tar_member(name: &[u8], kind: EntryType, bytes: &[u8]) -> Vec<u8> {
    let mut member = tar_header(name, kind, bytes.len() as u64);
    member.extend_from_slice(bytes);
    member.resize(member.len().next_multiple_of(512), 0);
    member
}

fn tar_end(mut members: Vec<u8>) -> Vec<u8> {
    members.resize(members.len() + 1024, 0);
    members
}

fn tar_bytes(files: &Files) -> Vec<u8> {
    tar_end(
        files
            .iter()
            .flat_map(|(path, bytes)| tar_member(path.as_bytes(), EntryType::Regular, bytes))
            .collect(),
    )
}

fn zip_bytes(files: &Files, method: CompressionMethod) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, bytes) in files {
        writer.start_file(path.as_str(), SimpleFileOptions::default().compression_method(method)).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn deflated(files: &Files) -> Vec<u8> {
    zip_bytes(files, CompressionMethod::Deflated)
}

/// Replaces all occurrences of `from` by `to`, which has the same length.
fn patched(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> =
        (0..=bytes.len() - from.len()).filter(|&at| bytes[at..].starts_with(from)).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| bytes[at..at + to.len()].copy_from_slice(to));
    bytes
}

/// A folder for one test.
struct TestFolder(tempfile::TempDir);

impl TestFolder {
    fn new() -> Self {
        TestFolder(tempfile::tempdir().unwrap())
    }

    /// A file with `bytes`. The name does not show the format.
    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join("input");
        fs::write(&path, bytes).unwrap();
        path
    }

    fn folder(&self, files: &Files) -> PathBuf {
        write_folder(&self.0.path().join("tree"), files)
    }
}

/// All members with their contents in the order of the visit, and the hash.
fn read(input: &Path) -> eqr_datasets::Result<(Files, Option<blake3::Hash>)> {
    let tree = Tree::open(input)?;
    let mut files = Files::new();
    let hash = tree.visit(&mut |path, size, reader| {
        files.push((path.to_owned(), tree.read_member(path, size, reader, IMAGE_BYTES)?));
        Ok(Visit::Continue)
    })?;
    Ok((files, hash))
}

/// The member and the reason of the error about `input`. `Tree::list` must return the same error, unless only
/// the content of a member is wrong.
fn member_error(input: &Path) -> (String, String) {
    match read(input) {
        Err(Error::Member { container, member, reason }) => {
            assert_eq!(container, input);
            (member, reason)
        }
        other => panic!("expected Error::Member, found {other:?}"),
    }
}

fn format_error(input: &Path) -> String {
    match read(input) {
        Err(Error::Format { path, reason }) => {
            assert!(path.starts_with(input));
            reason
        }
        other => panic!("expected Error::Format, found {other:?}"),
    }
}

fn owned<T>((path, value): (&str, T)) -> (String, T) {
    (path.to_owned(), value)
}

/// Lists nothing but the paths.
const PATHS: Selection = Selection { is_list: |_| false, is_sniffed: |_| false };

fn sorted(mut files: Files) -> Files {
    files.sort();
    files
}

#[test]
fn folder_tar_tar_gz_and_zip_are_told_by_content_and_hold_the_same() {
    let files = photographs();
    let desk = TestFolder::new();
    let (found, hash) = read(&desk.folder(&files)).unwrap();
    assert_eq!(found, sorted(files.clone()), "sorted by path, `a-b/` before `a/`");
    assert_eq!(hash, None);
    let tar = tar_bytes(&files);
    let stored = zip_bytes(&files, CompressionMethod::Stored);
    for archive in [tar.clone(), gz_bytes(&tar), deflated(&files), stored] {
        let (found, hash) = read(&desk.file(&archive)).unwrap();
        assert_eq!(found, files, "in the order of the archive");
        assert_eq!(hash, Some(blake3::hash(&archive)));
    }
}

#[test]
fn the_list_is_sorted_and_holds_the_contents_of_the_lists_alone() {
    let desk = TestFolder::new();
    let tar = tar_bytes(&photographs());
    for input in [desk.folder(&photographs()), desk.file(&tar)] {
        let selection = Selection {
            is_list: |path| path.ends_with(".txt"),
            is_sniffed: |path| path.ends_with("1.png") || path.ends_with(".txt"),
        };
        let Listed { members, lists, kinds, remarks } = Tree::open(&input).unwrap().list(selection).unwrap();
        assert_eq!(kinds, [("a-b/1.png", FileKind::Text), ("a/1.png", FileKind::Empty)].map(owned).into());
        assert!(remarks.is_empty(), "{remarks:?}");
        let expected = [("a-b/1.png", 6), ("a/1.png", 0), ("b/Äpfel 2.jpg", 3), ("labels.txt", 6)];
        assert_eq!(members, expected.map(|(path, size)| (path.to_owned(), size)));
        assert_eq!(lists.into_iter().collect::<Files>(), files(&[("labels.txt", b"a\r\nb\r\n")]));
    }
}

#[test]
fn a_visitor_may_stop_and_then_there_is_no_hash() {
    let (desk, files) = (TestFolder::new(), photographs());
    let nested = tar_bytes(&vec![("x.tar".into(), tar_bytes(&files)), ("last".into(), vec![])]);
    for archive in [tar_bytes(&files), gz_bytes(&tar_bytes(&files)), deflated(&files), nested] {
        let mut met = 0;
        let hash = Tree::open(&desk.file(&archive)).unwrap().visit(&mut |_, _, _| {
            met += 1;
            Ok(if met == 2 { Visit::Stop } else { Visit::Continue })
        });
        assert_eq!((met, hash.unwrap()), (2, None));
    }
}

#[test]
fn what_the_visitor_says_is_passed_on() {
    let desk = TestFolder::new();
    let tree = Tree::open(&desk.file(&tar_bytes(&photographs()))).unwrap();
    let result = tree.visit(&mut |_, _, _| Err(Error::Invalid("enough".into())));
    assert!(matches!(result, Err(Error::Invalid(reason)) if reason == "enough"));
}

#[test]
fn archives_inside_are_folders_of_their_names() {
    let desk = TestFolder::new();
    let inner = files(&[("1.JPEG", b"one"), ("2.JPEG", b"two")]);
    let imagenet = files(&[("n01.tar", &tar_bytes(&inner)), ("n02.tar", &tar_bytes(&inner)), ("note", b"n")]);
    let pets =
        files(&[("annotations.tar.gz", &gz_bytes(&tar_bytes(&inner))), ("Images.ZIP", &deflated(&inner))]);
    let expected = |tops: [&str; 2]| -> Files {
        let below =
            tops.map(|top| inner.iter().map(move |(path, bytes)| (format!("{top}/{path}"), bytes.clone())));
        below.into_iter().flatten().collect()
    };
    let mut tar_of_tars = expected(["n01.tar", "n02.tar"]);
    tar_of_tars.push(("note".into(), b"n".to_vec()));
    for archive in [tar_bytes(&imagenet), gz_bytes(&tar_bytes(&imagenet)), deflated(&imagenet)] {
        assert_eq!(read(&desk.file(&archive)).unwrap().0, tar_of_tars);
    }
    assert_eq!(read(&desk.folder(&pets)).unwrap().0, expected(["Images.ZIP", "annotations.tar.gz"]));
    assert_eq!(
        read(&desk.file(&tar_bytes(&pets))).unwrap().0,
        expected(["annotations.tar.gz", "Images.ZIP"])
    );
}

#[test]
fn archives_are_at_most_three_deep() {
    let desk = TestFolder::new();
    let wrap = |bytes: Vec<u8>, name: &str| tar_bytes(&vec![(name.into(), bytes)]);
    let three = wrap(wrap(tar_bytes(&files(&[("x.jpg", b"x")])), "c.tar"), "b.tar");
    assert_eq!(read(&desk.file(&three)).unwrap().0, files(&[("b.tar/c.tar/x.jpg", b"x")]));
    let (member, reason) = member_error(&desk.file(&wrap(three, "a.tar")));
    assert_eq!(member, "a.tar/b.tar/c.tar");
    assert!(reason.contains("nested more than 3 deep"), "{reason}");
}

#[test]
fn hidden_files_are_passed_over_and_links_in_folders_followed() {
    let desk = TestFolder::new();
    let all = files(&[
        ("._a.jpg", b"mac"),
        (".DS_Store", b"mac"),
        ("__MACOSX/a.jpg", b"mac"),
        ("a.jpg", b"a"),
        ("x/.git/b.jpg", b"git"),
    ]);
    let shown = files(&[("a.jpg", b"a")]);
    assert_eq!(read(&desk.folder(&all)).unwrap().0, shown);
    assert_eq!(read(&desk.file(&tar_bytes(&all))).unwrap().0, shown);
    assert_eq!(read(&desk.file(&deflated(&all))).unwrap().0, shown);
    let root = desk.0.path().join("linked");
    fs::create_dir(&root).unwrap();
    symlink(desk.0.path().join("tree"), root.join("folder")).unwrap();
    symlink(desk.0.path().join("tree/a.jpg"), root.join("file.jpg")).unwrap();
    assert_eq!(read(&root).unwrap().0, files(&[("file.jpg", b"a"), ("folder/a.jpg", b"a")]));
    symlink(&root, root.join("circle")).unwrap();
    assert!(format_error(&root).contains("16 folders deep"));
}

#[test]
fn tars_hold_folders_global_headers_and_long_names() {
    let desk = TestFolder::new();
    let long = format!("{}/x.jpg", "ü".repeat(120));
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    builder.append_data(&mut header, &long, b"x".as_slice()).unwrap();
    let mut archive = tar_member(b"pax_global_header", EntryType::XGlobalHeader, b"19 comment=0123456\n");
    archive.extend(tar_member(b"./", EntryType::Directory, b""));
    archive.extend(tar_member(b"old/", EntryType::Regular, b""));
    archive.extend(builder.into_inner().unwrap());
    assert_eq!(read(&desk.file(&archive)).unwrap().0, files(&[(&long, b"x")]));
}

#[test]
fn members_that_reach_outside_or_are_no_files_are_refused() {
    let desk = TestFolder::new();
    let tars: [(&[u8], EntryType, &str); 7] = [
        (b"/etc/x.jpg", EntryType::Regular, "absolute"),
        (b"a/../../x.jpg", EntryType::Regular, "`..`"),
        (b"a/../../", EntryType::Directory, "`..`"),
        (b"x.jpg", EntryType::Symlink, "a symbolic link"),
        (b"x.jpg", EntryType::Link, "a hard link"),
        (b"x.jpg", EntryType::Fifo, "a special file"),
        (b"x.jpg", EntryType::Char, "a special file"),
    ];
    for (name, kind, expected) in tars {
        let archive = tar_end(tar_member(name, kind, b""));
        let (member, reason) = member_error(&desk.file(&archive));
        assert!(reason.contains(expected), "{member}: {reason}");
        assert_eq!(member, String::from_utf8_lossy(name));
        let inside = tar_bytes(&vec![("in.tar".into(), archive)]);
        assert_eq!(member_error(&desk.file(&inside)).0, format!("in.tar/{member}"));
    }
    let zips: [(&[u8], &str); 3] = [(b"/bc.jpg", "absolute"), (b"../.jpg", "`..`"), (b"..\\.jpg", "`..`")];
    for (name, expected) in zips {
        let archive = patched(deflated(&files(&[("abc.jpg", b"x")])), b"abc.jpg", name);
        let (member, reason) = member_error(&desk.file(&archive));
        assert!(reason.contains(expected), "{member}: {reason}");
    }
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer.add_symlink("x.jpg", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    let (member, reason) = member_error(&desk.file(&writer.finish().unwrap().into_inner()));
    assert_eq!((member.as_str(), reason.contains("a symbolic link")), ("x.jpg", true));
}

#[test]
fn special_files_and_broken_links_of_a_folder_are_members_that_cannot_be_read() {
    let desk = TestFolder::new();
    let root = desk.folder(&photographs());
    let socket = root.join("s.jpg");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let (member, reason) = member_error(&root);
    assert_eq!((member.as_str(), reason.contains("special")), ("s.jpg", true));
    fs::remove_file(socket).unwrap();
    symlink("gone/1.jpg", root.join("l.jpg")).unwrap();
    symlink("gone.tar", root.join("l.tar")).unwrap();
    let (member, reason) = member_error(&root);
    assert_eq!(
        (member.as_str(), reason.contains("a broken link to gone/1.jpg")),
        ("l.jpg", true),
        "{reason}"
    );
    let members = Tree::open(&root).unwrap().list(PATHS).unwrap().members;
    assert_eq!(members.len(), photographs().len() + 2, "a listing goes on after them");
}

#[test]
fn names_that_are_not_utf_8_are_written_with_their_bytes() {
    use std::os::unix::ffi::OsStrExt;
    let desk = TestFolder::new();
    let root = desk.0.path().join("latin");
    fs::create_dir(&root).unwrap();
    fs::write(root.join(std::ffi::OsStr::from_bytes(b"caf\xe9.jpg")), b"x").unwrap();
    let tar = tar_end(tar_member(b"caf\xe9.jpg", EntryType::Regular, b"x"));
    let zip = patched(deflated(&files(&[("cafe.jpg", b"x")])), b"cafe.jpg", b"caf\xe9.jpg");
    for input in [root, desk.file(&tar), desk.0.path().join("zip")] {
        if !input.exists() {
            fs::write(&input, &zip).unwrap();
        }
        assert_eq!(read(&input).unwrap().0, files(&[("caf\\xE9.jpg", b"x")]), "{}", input.display());
    }
}

#[test]
fn a_zip_with_backslashes_has_folders() {
    let desk = TestFolder::new();
    let zip = deflated(&files(&[("a+1.jpg", b"1"), ("a+b+2.jpg", b"2"), ("c+", b"")]));
    let zip = patched(patched(patched(zip, b"a+1", b"a\\1"), b"a+b+2", b"a\\b\\2"), b"c+", b"c\\");
    assert_eq!(read(&desk.file(&zip)).unwrap().0, files(&[("a/1.jpg", b"1"), ("a/b/2.jpg", b"2")]));
}

#[test]
fn a_bzip2_zip_is_read() {
    let desk = TestFolder::new();
    let zip = zip_bytes(&photographs(), CompressionMethod::Bzip2);
    assert_eq!(read(&desk.file(&zip)).unwrap().0, photographs());
}

#[test]
fn a_gzip_may_have_parts_and_zeros_after_its_end() {
    let desk = TestFolder::new();
    let tar = tar_bytes(&photographs());
    let whole = gz_bytes(&tar);
    let parts = [gz_bytes(&tar[..700]), gz_bytes(&tar[700..])].concat();
    for gz in [whole.clone(), parts] {
        for zeros in [1, 511, 300_000] {
            let padded = [gz.clone(), vec![0; zeros]].concat();
            let (found, hash) = read(&desk.file(&padded)).unwrap();
            assert_eq!((found, hash), (photographs(), Some(blake3::hash(&padded))));
        }
    }
    for other in [&b"\0\0x"[..], b"x", &[0x1f, 0x8b]] {
        let padded = [whole.clone(), other.to_vec()].concat();
        assert!(format_error(&desk.file(&padded)).contains("truncated or damaged"));
    }
}

#[test]
fn a_tar_without_an_end_mark_is_read_and_remarked() {
    let desk = TestFolder::new();
    let tar = tar_bytes(&photographs());
    let unmarked = &tar[..tar.len() - 1024];
    assert_eq!(read(&desk.file(unmarked)).unwrap().0, photographs());
    let remarks = |bytes: &[u8]| Tree::open(&desk.file(bytes)).unwrap().list(PATHS).unwrap().remarks;
    assert!(remarks(unmarked)[0].contains("no end-of-archive mark"));
    assert!(remarks(&tar).is_empty());
    // the end of the gzip shows that it is whole
    assert_eq!(read(&desk.file(&gz_bytes(unmarked))).unwrap().0, photographs());
    assert!(remarks(&gz_bytes(unmarked)).is_empty());
}

#[test]
fn an_archive_beside_what_it_holds_is_passed_over() {
    let desk = TestFolder::new();
    let inside = files(&[("images/1.jpg", b"one"), ("images/2.jpg", b"two"), ("labels.txt", b"1 2")]);
    let archive = gz_bytes(&tar_bytes(&inside));
    for below in ["", "set/"] {
        let mut tree = files(&[("root/set.tar.gz", &archive)]);
        tree.extend(inside.iter().map(|(path, bytes)| (format!("root/{below}{path}"), bytes.clone())));
        let root = write_folder(&desk.0.path().join(format!("beside {}", below.len())), &tree);
        let mut opened = Tree::open(&root).unwrap();
        let listed = opened.list(Selection { is_list: |path| path.ends_with(".txt"), ..PATHS }).unwrap();
        let paths: Vec<String> = listed.members.into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["images/1.jpg", "images/2.jpg", "labels.txt"].map(|p| format!("root/{below}{p}")));
        assert_eq!(listed.lists.len(), 1);
        assert_eq!(listed.remarks, ["root/set.tar.gz was not read: its files lie unpacked beside it"]);
        let mut visited = 0;
        opened
            .visit(&mut |_, _, _| {
                visited += 1;
                Ok(Visit::Continue)
            })
            .unwrap();
        assert_eq!(visited, 3);
        // of another size, and thus not what the archive holds
        fs::write(root.join(format!("root/{below}images/1.jpg")), b"other").unwrap();
        let error = Tree::open(&root).unwrap().list(PATHS).err().unwrap().to_string();
        assert!(error.contains("2 of its 3 files lie unpacked beside it"), "{error}");
        fs::write(root.join(format!("root/{below}images/2.jpg")), b"other").unwrap();
        assert_eq!(Tree::open(&root).unwrap().list(PATHS).unwrap().members.len(), 6, "a README may be alike");
    }
}

/// An unpacking that was cut off leaves a few images, which would be packed twice.
#[test]
fn an_archive_beside_any_of_its_images_is_refused() {
    let desk = TestFolder::new();
    let jpeg: &[u8] = b"\xff\xd8\xff\xe0 an image";
    let inside: Files = (0..9).map(|index| (format!("images/{index}.jpg"), jpeg.to_vec())).collect();
    let mut tree = files(&[("root/set.tar", &tar_bytes(&inside)[..]), ("root/README", b"read me")]);
    let root = write_folder(&desk.0.path().join("few"), &tree);
    let sniffed = Selection { is_sniffed: |path| path.ends_with(".jpg"), ..PATHS };
    assert_eq!(Tree::open(&root).unwrap().list(sniffed).unwrap().members.len(), 10);
    tree.extend(files(&[("root/images/3.jpg", jpeg)]));
    let root = write_folder(&desk.0.path().join("one"), &tree);
    let error = Tree::open(&root).unwrap().list(sniffed).err().unwrap().to_string();
    assert!(error.contains("1 of its 9 files lie unpacked beside it"), "{error}");
}

#[test]
fn a_line_feed_in_a_name_is_written_as_its_byte_and_other_odd_names_are_taken() {
    let desk = TestFolder::new();
    let odd = files(&[("a b/x\r", b"1"), ("a b/ü 日.jpg", b"2")]);
    for input in [desk.file(&tar_bytes(&odd)), desk.file(&deflated(&odd)), desk.folder(&odd)] {
        let mut found = read(&input).unwrap().0;
        found.sort();
        assert_eq!(found, odd);
    }
    // lists and packs end a name with a line feed, so the next names would belong to other images
    let split = files(&[("a/x\ny.jpg", b"1")]);
    let folder = write_folder(&desk.0.path().join("split"), &split);
    for input in [desk.file(&tar_bytes(&split)), desk.file(&deflated(&split)), folder] {
        assert_eq!(read(&input).unwrap().0, files(&[("a/x\\x0Ay.jpg", b"1")]));
    }
}

#[test]
fn a_name_may_come_once() {
    let desk = TestFolder::new();
    let twice = files(&[("a/x.jpg", b"1"), ("b.jpg", b"2"), ("a//x.jpg", b"3")]);
    let same = patched(deflated(&files(&[("x.jpg", b"1"), ("y.jpg", b"2")])), b"y.jpg", b"x.jpg");
    let inside = tar_bytes(&vec![("n.tar".into(), tar_bytes(&twice))]);
    let cases = [(tar_bytes(&twice), "a/x.jpg"), (deflated(&twice), "a/x.jpg"), (same, "x.jpg")];
    for (archive, expected) in cases.into_iter().chain([(inside, "n.tar/a/x.jpg")]) {
        let (member, reason) = member_error(&desk.file(&archive));
        assert_eq!((member.as_str(), reason.as_str()), (expected, "two members have this name"));
        assert!(Tree::open(&desk.file(&archive)).unwrap().list(PATHS).is_err());
    }
}

#[test]
fn no_cut_of_an_archive_passes_for_a_whole_one() {
    let desk = TestFolder::new();
    let noise: Vec<u8> = (0..2000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let files = files(&[("a.jpg", &noise), ("b.jpg", &noise[..700])]);
    let tar = tar_bytes(&files);
    // after the last member come the end mark, which may be missing, and padding
    let needed = tar.len() - 1024;
    let nested = tar_bytes(&vec![("in.tar".into(), tar.clone())]);
    let cases = [(tar.clone(), needed), (gz_bytes(&tar), usize::MAX), (deflated(&files), usize::MAX)];
    for (archive, needed) in cases.into_iter().chain([(nested.clone(), nested.len() - 1024)]) {
        for length in
            (0..archive.len().min(needed)).step_by(37).chain([512, 1024, archive.len().min(needed) - 1])
        {
            let input = desk.file(&archive[..length]);
            let result = read(&input);
            // whole members, and nothing shows that there were more
            let is_boundary = archive == tar && length == 512 + 2048;
            if is_boundary {
                continue;
            }
            let named = matches!(result, Err(Error::Format { .. } | Error::Member { .. }));
            assert!(named, "{length} of {} bytes: {result:?}", archive.len());
            let listed = Tree::open(&input).and_then(|mut tree| tree.list(PATHS));
            assert!(listed.is_err(), "{length} of {} bytes are listed", archive.len());
        }
    }
}

#[test]
fn a_cut_archive_in_a_folder_is_named() {
    let desk = TestFolder::new();
    let tar = gz_bytes(&tar_bytes(&photographs()));
    let (member, reason) = member_error(&desk.folder(&files(&[("x/images.tar.gz", &tar[..tar.len() / 2])])));
    assert_eq!(member, "x/images.tar.gz");
    assert!(reason.contains("truncated or damaged"), "{reason}");
    let (member, reason) =
        member_error(&desk.folder(&files(&[("x/images.tar.gz", b"a web page, not an archive")])));
    assert_eq!(member, "x/images.tar.gz");
    assert!(reason.contains("expected a tar, gzip or zip"), "{reason}");
}

#[test]
fn a_flipped_bit_in_packed_contents_is_found() {
    let desk = TestFolder::new();
    let files = files(&[("a.jpg", &[7; 3000])]);
    let stored = zip_bytes(&files, CompressionMethod::Stored);
    let at = stored.windows(9).position(|window| window == [7; 9]).unwrap();
    let mut flipped = stored.clone();
    flipped[at + 100] ^= 1;
    assert_eq!(member_error(&desk.file(&flipped)).0, "a.jpg");
    let mut gz = gz_bytes(&tar_bytes(&files));
    let crc = gz.len() - 8;
    gz[crc] ^= 1;
    assert!(format_error(&desk.file(&gz)).contains("truncated or damaged"));
}

#[test]
fn declared_sizes_that_lie_are_refused_and_not_allocated() {
    let desk = TestFolder::new();
    let huge = 1 << 40;
    let tar = [tar_header(b"x.jpg", EntryType::Regular, huge), vec![1; 512]].concat();
    let (member, reason) = member_error(&desk.file(&tar));
    assert_eq!(member, "x.jpg");
    assert!(reason.contains("expected at most"), "{reason}");
    let tar = [tar_header(b"x.jpg", EntryType::Regular, IMAGE_BYTES), vec![1; 512]].concat();
    let reason = member_error(&desk.file(&tar)).1;
    assert!(reason.contains("67108864 bytes declared, 512 found"), "{reason}");
    // the declared size of a member of 5,000 bytes in the directory of a zip
    let files = files(&[("x.jpg", &[0; 5000])]);
    for (declared, expected) in [(4999u32, "more found"), (5001, "5000 found")] {
        let lying = patched(deflated(&files), &5000u32.to_le_bytes(), &declared.to_le_bytes());
        let (member, reason) = member_error(&desk.file(&lying));
        assert_eq!(member, "x.jpg");
        assert!(reason.contains(expected) || reason.contains("damaged"), "{reason}");
    }
}

#[test]
fn bombs_are_met_with_limits() {
    let desk = TestFolder::new();
    // 300 MB of zeros declared as the name of a member, in 300 kB
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let size = 300 << 20;
    zipped.write_all(&tar_header(b"././@LongLink", EntryType::GNULongName, size)).unwrap();
    io::copy(&mut io::repeat(b'x').take(size), &mut zipped).unwrap();
    zipped.write_all(&[0; 1024]).unwrap();
    assert!(format_error(&desk.file(&zipped.finish().unwrap())).contains("bytes of headers for one member"));
    // a list that is compressed 1000 : 1 and exceeds the limit
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file("labels.txt", SimpleFileOptions::default().large_file(true)).unwrap();
    io::copy(&mut io::repeat(b'x').take(600 << 20), &mut writer).unwrap();
    let bomb = writer.finish().unwrap().into_inner();
    assert!(bomb.len() < 4 << 20);
    let selection = Selection { is_list: |path| path.ends_with(".txt"), ..PATHS };
    let listed = Tree::open(&desk.file(&bomb)).unwrap().list(selection);
    assert!(matches!(listed, Err(Error::Member { member, .. }) if member == "labels.txt"));
    assert!(member_error(&desk.file(&bomb)).1.contains("expected at most 67108864"));
    // sparse files declare more bytes than they have
    let sparse = tar_end(tar_member(b"x.jpg", EntryType::GNUSparse, b""));
    assert!(read(&desk.file(&sparse)).is_err());
}

#[test]
fn an_archive_inside_another_has_a_bound() {
    let desk = TestFolder::new();
    let declared = [tar_header(b"in.tar", EntryType::Regular, (1 << 30) + 1), vec![0; 512]].concat();
    let (member, reason) = member_error(&desk.file(&declared));
    assert_eq!(member, "in.tar");
    assert!(reason.contains("unpack the outer archive"), "{reason}");
    let zip = zip_bytes(&files(&[("x.jpg", &vec![0; 65 << 20])]), CompressionMethod::Stored);
    let (member, reason) = member_error(&desk.file(&tar_bytes(&vec![("in.zip".into(), zip)])));
    assert_eq!(member, "in.zip");
    assert!(reason.contains("a zip inside another archive"), "{reason}");
}

#[test]
fn other_inputs_are_refused() {
    let desk = TestFolder::new();
    for bytes in [&b""[..], b"text", b"BZh91AY&SY", &gz_bytes(b"no tar in here"), &gz_bytes(&gz_bytes(b"x"))]
    {
        assert!(format_error(&desk.file(bytes)).contains("expected"));
    }
    let nothing = desk.0.path().join("nothing");
    assert!(matches!(Tree::open(&nothing), Err(Error::Io { path, .. }) if path == nothing));
    assert_eq!(read(&desk.file(&[0; 1024])).unwrap().0, Files::new(), "a tar without members");
    assert_eq!(read(&desk.file(&deflated(&Files::new()))).unwrap().0, Files::new());
}

#[test]
fn an_encrypted_member_is_named() {
    let desk = TestFolder::new();
    let mut archive = deflated(&files(&[("x.jpg", b"x")]));
    // bit 0 of the flags, in the local header and in the directory
    for (mark, flags) in [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)] {
        let at = archive.windows(4).position(|window| window == mark).unwrap();
        archive[at + flags] |= 1;
    }
    let (member, reason) = member_error(&desk.file(&archive));
    assert_eq!(member, "x.jpg");
    assert!(reason.contains("cannot be read"), "{reason}");
}
