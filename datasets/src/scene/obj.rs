//! Wavefront .obj meshes: single files, folders of classes, and archives of such folders.
//!
//! Only the `v` and `f` lines of a file are used (Wavefront's "Object Files (.obj)" specification, version
//! 3.0). Colours, texture coordinates, normals, groups and materials are ignored.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use glam::Vec3;

use super::mesh::{Mesh, Surface, triangulate};
use crate::archives::{Tree, Visit};
use crate::error::{Error, Result};

/// Maximum size of an .obj file in bytes.
const FILE_LIMIT: u64 = 64 << 20;
/// Maximum number of triangles of a collection in memory: about 5 GiB including their corners.
const TRIANGLE_LIMIT: usize = 50_000_000;
/// Maximum folder depth of the search.
const DEPTH_LIMIT: usize = 8;

/// Meshes and their classes.
#[derive(Clone, Debug)]
pub struct Collection {
    /// Class names, sorted. They are the names of the folders that contain the files.
    pub class_names: Vec<String>,
    /// Class index and mesh, sorted by class and then by path.
    pub meshes: Vec<(usize, Mesh)>,
    /// BLAKE3 hash (hex) of the archive, or of the paths and contents of the files that were used from a
    /// folder.
    pub checksum: String,
}

/// Parses the text of an .obj file.
///
/// # Errors
/// What is wrong, with the line number if the error is in one line.
pub fn parse(text: &[u8]) -> std::result::Result<Mesh, String> {
    let mut points = Vec::new();
    let mut triangles = Vec::new();
    let mut pending = String::new();
    for (number, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = String::from_utf8_lossy(line);
        let line = line.split('#').next().unwrap_or_default().trim();
        // a backslash at the end joins a line with the next one
        if let Some(start) = line.strip_suffix('\\') {
            pending.push_str(start);
            pending.push(' ');
            continue;
        }
        pending.push_str(line);
        read_line(&pending, &mut points, &mut triangles)
            .map_err(|reason| format!("line {}: {reason}", number + 1))?;
        pending.clear();
    }
    if triangles.is_empty() {
        return Err(format!("expected faces (lines `f ...`), found none besides {} vertices", points.len()));
    }
    Mesh::new(&points, &triangles, Surface::Open).map_err(|error| error.to_string())
}

fn read_line(
    line: &str,
    points: &mut Vec<Vec3>,
    triangles: &mut Vec<[u32; 3]>,
) -> std::result::Result<(), String> {
    let mut words = line.split_ascii_whitespace();
    match words.next() {
        Some("v") => points.push(vertex(words)?),
        Some("f") => {
            let corners: Vec<u32> =
                words.map(|word| corner(word, points.len())).collect::<std::result::Result<_, _>>()?;
            if corners.len() < 3 {
                return Err(format!("a face needs at least 3 corners, found {}", corners.len()));
            }
            triangles.extend(triangulate(points, &corners));
        }
        _ => {}
    }
    Ok(())
}

fn vertex<'a>(mut words: impl Iterator<Item = &'a str>) -> std::result::Result<Vec3, String> {
    let mut coordinates = [0.0; 3];
    for (at, coordinate) in coordinates.iter_mut().enumerate() {
        let word = words.next().ok_or_else(|| format!("a vertex needs 3 coordinates, found {at}"))?;
        *coordinate = word.parse().map_err(|_| format!("expected a coordinate, found `{word}`"))?;
        if !f32::is_finite(*coordinate) {
            return Err(format!("a coordinate must be a finite number, found `{word}`"));
        }
    }
    Ok(Vec3::from_array(coordinates))
}

/// The point index of a corner `v`, `v/vt`, `v//vn` or `v/vt/vn`. Negative numbers count backwards from the
/// last vertex.
fn corner(word: &str, points: usize) -> std::result::Result<u32, String> {
    let malformed = || format!("expected a corner such as 7, 7/1, 7//3 or 7/1/3, found `{word}`");
    let mut fields = word.split('/');
    let index: i64 = fields.next().and_then(|field| field.parse().ok()).ok_or_else(malformed)?;
    let rest: Vec<&str> = fields.collect();
    if rest.len() > 2 || rest.iter().any(|field| !field.is_empty() && field.parse::<i64>().is_err()) {
        return Err(malformed());
    }
    let count = points as i64;
    let absolute = if index < 0 { count + index } else { index - 1 };
    if !(0..count).contains(&absolute) {
        return Err(format!("vertex {index} does not exist: {points} are defined above, numbered from 1"));
    }
    Ok(absolute as u32)
}

/// Reads one .obj file of at most 64 MiB.
///
/// # Errors
/// [`Error::Io`], or [`Error::Format`] with the line number.
pub fn read(path: &Path) -> Result<Mesh> {
    let text = read_text(path)?;
    parse(&text).map_err(|reason| Error::format(path, reason))
}

fn read_text(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io(path))?;
    let mut text = Vec::new();
    file.take(FILE_LIMIT + 1).read_to_end(&mut text).map_err(Error::io(path))?;
    if text.len() as u64 > FILE_LIMIT { Err(Error::format(path, too_large())) } else { Ok(text) }
}

fn too_large() -> String {
    format!("an .obj file may have at most {} MiB, but this one is larger", FILE_LIMIT >> 20)
}

/// Reads the .obj files of a folder with one subfolder per class, or of a .tar, .tar.gz or .zip of such a
/// folder. Archives are not unpacked to disk.
///
/// The class of a file is the name of its folder. The first `per_class` files of each class are used, sorted
/// by path.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] or [`Error::Member`] for a file that is not a mesh, a link, an absolute
/// path, or too much data.
pub fn collect(path: &Path, per_class: usize) -> Result<Collection> {
    let mut builder = CollectionBuilder { per_class, triangles: 0, classes: BTreeMap::new() };
    let checksum = if path.is_dir() { builder.add_folder(path)? } else { builder.add_archive(path)? };
    if builder.classes.is_empty() {
        let reason = "expected .obj files in one folder per class (class/name.obj), found none";
        return Err(Error::format(path, reason));
    }
    let class_names = builder.classes.keys().cloned().collect();
    let classes = builder.classes.into_values().enumerate();
    let meshes =
        classes.flat_map(|(class, files)| files.into_values().map(move |mesh| (class, mesh))).collect();
    Ok(Collection { class_names, meshes, checksum })
}

/// A collection that is still being read: meshes by class and path.
struct CollectionBuilder {
    per_class: usize,
    triangles: usize,
    classes: BTreeMap<String, BTreeMap<PathBuf, Mesh>>,
}

impl CollectionBuilder {
    /// Whether a file is among the first `per_class` files of its class that were seen so far.
    fn wants(&self, class: &str, member: &Path) -> bool {
        self.classes.get(class).is_none_or(|files| {
            files.len() < self.per_class || files.last_key_value().is_some_and(|(last, _)| member < last)
        })
    }

    /// Adds a mesh. If the class then has too many meshes, its last one is removed.
    fn insert(&mut self, class: String, member: PathBuf, mesh: Mesh) -> std::result::Result<(), String> {
        self.triangles += mesh.triangle_count();
        let files = self.classes.entry(class).or_default();
        files.insert(member, mesh);
        if files.len() > self.per_class {
            self.triangles -= files.pop_last().map_or(0, |(_, mesh)| mesh.triangle_count());
        }
        if self.triangles > TRIANGLE_LIMIT {
            return Err(format!(
                "more than {TRIANGLE_LIMIT} triangles in all; hint: take fewer objects per class"
            ));
        }
        Ok(())
    }

    fn add_folder(&mut self, root: &Path) -> Result<String> {
        let mut files = Vec::new();
        list_files(root, DEPTH_LIMIT, &mut files)?;
        files.sort();
        let mut hash = blake3::Hasher::new();
        for path in files {
            let member = path.strip_prefix(root).unwrap_or(&path).to_owned();
            let Some(class) = class_folder(&member) else { continue };
            if !self.wants(&class, &member) {
                continue;
            }
            let text = read_text(&path)?;
            hash.update(member.to_string_lossy().as_bytes())
                .update(&(text.len() as u64).to_le_bytes())
                .update(&text);
            let mesh = parse(&text).map_err(|reason| Error::format(&path, reason))?;
            self.insert(class, member, mesh).map_err(|reason| Error::format(&path, reason))?;
        }
        Ok(hash.finalize().to_hex().to_string())
    }

    fn add_archive(&mut self, path: &Path) -> Result<String> {
        let tree = Tree::open(path)?;
        let hash = tree.visit(&mut |member, size, reader| {
            let place = Path::new(member);
            let Some(class) = class_folder(place).filter(|class| self.wants(class, place)) else {
                return Ok(Visit::Continue);
            };
            let refuse = |reason: String| Error::member(path, member, reason);
            let text = tree.read_member(member, size, reader, FILE_LIMIT)?;
            let mesh = parse(&text).map_err(refuse)?;
            self.insert(class, place.to_owned(), mesh).map_err(refuse)?;
            Ok(Visit::Continue)
        })?;
        Ok(hash.expect("an archive that was read to its end").to_hex().to_string())
    }
}

/// The folder of an .obj file; `None` for other files, hidden files, and files without a folder.
fn class_folder(member: &Path) -> Option<String> {
    let name = member.file_name()?.to_string_lossy();
    let is_mesh = member.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("obj"));
    let folder = member.parent()?.file_name()?;
    (is_mesh && !name.starts_with('.')).then(|| folder.to_string_lossy().into_owned())
}

/// Lists all files in a folder, at most `depth` levels deep.
fn list_files(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        if !path.is_dir() {
            files.push(path);
        } else if depth > 0 {
            list_files(&path, depth - 1, files)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    const TETRAHEDRON: &str = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n";

    fn triangles(text: &str) -> usize {
        parse(text.as_bytes()).unwrap().triangle_count()
    }

    #[test]
    fn every_form_of_a_face_is_read() {
        assert_eq!(triangles(TETRAHEDRON), 4);
        assert_eq!(triangles(&TETRAHEDRON.replace('\n', "\r\n")), 4);
        let square = "v 0 0 0\nv 1 0 0\nv 1 1 0 1.0\nv 0 1 0 0.5 0.5 0.5\nvt 0 0\nvn 0 0 1\n";
        for face in [
            "f 1 2 3 4",
            "f -4 -3 -2 -1",
            "f 1/1 2/1 3/1 4/1",
            "f 1//1 2//1 3//1 4//1",
            "f 1/1/1 2/1/1 3/1/1 4/1/-1",
        ] {
            assert_eq!(
                triangles(&format!("# a comment\no x\ng y\n{square}usemtl z\n{face} # note\n")),
                2,
                "{face}"
            );
        }
        assert_eq!(triangles(&format!("{square}f 1 2 \\\n3 4\n")), 2);
        let arrow = "v 0 0 0\nv 4 0 0\nv 1 0 1\nv 0 0 4\nf 1 2 3 4\n";
        assert_eq!(triangles(arrow), 2);
        assert!(parse(b"# caf\xe9\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3").is_ok());
    }

    #[test]
    fn bad_lines_are_named() {
        let square = "v 0 0 0\nv 1 0 0\nv 0 1 0\n";
        for (text, line, words) in [
            ("v 0 0\n", 1, "found 2"),
            ("v 0 0 0\nv 0 nan 0\n", 2, "finite"),
            ("v 0 0 inf\n", 1, "finite"),
            ("v 0 x 0\n", 1, "`x`"),
            (&format!("{square}f 1 2\n"), 4, "at least 3 corners"),
            (&format!("{square}\nf 1 2 4\n"), 5, "vertex 4 does not exist"),
            (&format!("{square}f 0 1 2\n"), 4, "vertex 0"),
            (&format!("{square}f -4 1 2\n"), 4, "vertex -4"),
            (&format!("{square}f 1/a 2 3\n"), 4, "`1/a`"),
            (&format!("{square}f 1/2/3/4 2 3\n"), 4, "such as"),
            (&format!("{square}f 99999999999999999999 2 3\n"), 4, "such as"),
        ] {
            let reason = parse(text.as_bytes()).unwrap_err();
            assert!(
                reason.starts_with(&format!("line {line}: ")) && reason.contains(words),
                "{text:?}: {reason}"
            );
        }
        assert!(parse(b"v 1 2 3\n").unwrap_err().contains("found none"));
        assert!(parse(b"v 1 2 3\nf 1 1 1\n").unwrap_err().contains("extent"));
    }

    #[test]
    fn a_file_and_its_line_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.obj");
        std::fs::write(&path, "v 0 0 0\nv 1 b 0\n").unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("bad.obj") && message.contains("line 2"), "{message}");
        assert!(matches!(read(&folder.path().join("none.obj")), Err(Error::Io { .. })));
    }

    /// An archive in `folder` with the given members: path, link target or contents.
    fn archive(folder: &Path, members: &[(&str, &str)]) -> PathBuf {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, contents) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(contents.len() as u64);
            // write the name directly into the header: the builder refuses the names that the reader must
            // refuse
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_mode(0o644);
            header.set_cksum();
            tar.append(&header, contents.as_bytes()).unwrap();
        }
        let path = folder.join("meshes.tar.gz");
        let mut gzip = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
        gzip.write_all(&tar.into_inner().unwrap()).unwrap();
        gzip.finish().unwrap();
        path
    }

    #[test]
    fn folders_and_archives_give_the_same_classes() {
        let folder = tempfile::tempdir().unwrap();
        let members = [
            ("set/b/2.obj", TETRAHEDRON),
            ("set/a/1.OBJ", TETRAHEDRON),
            ("set/b/1.obj", TETRAHEDRON),
            ("set/b/3.obj", TETRAHEDRON),
            ("set/readme.txt", "no mesh"),
            ("set/b/._1.obj", "no mesh either"),
        ];
        for (name, contents) in members {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, contents).unwrap();
        }
        let packed = archive(folder.path(), &members);
        for source in [folder.path().join("set"), packed] {
            let all = collect(&source, usize::MAX).unwrap();
            assert_eq!(all.class_names, ["a", "b"]);
            assert_eq!(all.meshes.iter().map(|(class, _)| *class).collect::<Vec<_>>(), [0, 1, 1, 1]);
            assert_eq!(all.checksum.len(), 64);
            assert_eq!(collect(&source, 2).unwrap().meshes.len(), 3);
        }
    }

    #[test]
    fn bad_archives_are_refused_with_the_member() {
        let folder = tempfile::tempdir().unwrap();
        let refused =
            |members: &[(&str, &str)]| collect(&archive(folder.path(), members), 9).unwrap_err().to_string();
        assert!(refused(&[("/a/x.obj", TETRAHEDRON)]).contains("absolute"));
        assert!(refused(&[("a/../../x.obj", TETRAHEDRON)]).contains("`..`"));
        let broken = refused(&[("a/x.obj", TETRAHEDRON), ("a/y.obj", "v 0 0 0\nf 1 2 3\n")]);
        assert!(
            broken.contains("a/y.obj") && broken.contains("line 2") && broken.contains("meshes.tar.gz"),
            "{broken}"
        );
        assert!(refused(&[("x.obj", TETRAHEDRON)]).contains("found none"));
        let path = folder.path().join("noise.tar.gz");
        std::fs::write(&path, [0x1f, 0x8b, 1, 2, 3, 4]).unwrap();
        assert!(collect(&path, 9).unwrap_err().to_string().contains("archive"));
        assert!(matches!(collect(&folder.path().join("none"), 9), Err(Error::Io { .. })));
    }

    #[test]
    fn links_in_archives_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, "a/x.obj", "/etc/passwd").unwrap();
        let path = folder.path().join("links.tar");
        std::fs::write(&path, tar.into_inner().unwrap()).unwrap();
        assert!(collect(&path, 9).unwrap_err().to_string().contains("a symbolic link to /etc/passwd"));
    }
}
