//! `eqr-bench data fetch`: downloads a published set and packs it.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;
use eqr_datasets::fetch::{Client, Step, Watch, fetch};
use eqr_datasets::output::Output;
use eqr_datasets::pack::PACK;
use eqr_datasets::packing::made_otherwise;
use eqr_datasets::sources::{Access, Download, SOURCES, Source, source};

use super::pack::{PackOptions, existing, pack_set, refusal};
use crate::cli::force::FORCE_HELP;
use crate::console::{ByteProgress, print_text, say};

/// Options of `data fetch`.
#[derive(Args)]
pub struct FetchArgs {
    /// Name of the set; see `data list`.
    #[arg(value_name = "SET", value_parser = PossibleValuesParser::new(published()))]
    set: String,
    /// The pack to write; default: SET.h5.
    #[arg(long, conflicts_with = "no_pack")]
    out: Option<PathBuf>,
    #[arg(long, help = FORCE_HELP)]
    force: bool,
    /// Folder for the downloads, which are in a folder of the set's name there.
    #[arg(long, default_value = ".")]
    to: PathBuf,
    /// Only download, and print the command that packs.
    #[arg(long)]
    no_pack: bool,
    #[command(flatten)]
    pub(super) options: PackOptions,
}

/// The names of the sets that somebody has published.
fn published() -> Vec<&'static str> {
    let published = SOURCES.iter().filter(|source| !matches!(source.info.access, Access::Own));
    published.map(|source| source.kind).collect()
}

/// Downloads what is missing of the set, and packs it.
///
/// # Errors
/// A set that needs an account, a download that fails, a pack that cannot be written.
pub fn run(args: &FetchArgs) -> Result<()> {
    let set = source(&args.set).expect("clap checked the name");
    args.fetch(set, &Client::from_environment()?)
}

impl FetchArgs {
    fn fetch(&self, set: &Source, client: &Client) -> Result<()> {
        let files = match set.info.access {
            Access::Public(files) => files,
            Access::Account { page, steps, .. } => bail!(needs_account(set.kind, page, steps)),
            Access::Own => unreachable!("clap takes published sets only"),
        };
        let out = self.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}.h5", set.kind)));
        let output = if self.no_pack { None } else { Some(self.output(set, &out)?) };
        if let Some(Target::IsThere) = output {
            say(&format!("{}: there already\nhint: --force makes it anew", out.display()));
            return Ok(());
        }
        say(&format!("{}: {}; licence: {}", set.kind, set.info.access.size(), set.info.licence));
        let folder = self.to.join(set.kind);
        let input = download(files, &folder, client)?;
        let Some(Target::New(output)) = output else {
            let (input, out) = (input.display(), out.display());
            return print_text(&format!("eqr-bench data pack {} {input} --out {out}\n", set.kind));
        };
        pack_set(set, &input, &out, &output, &self.options.spec())?;
        say(&format!("{}: the downloads are not needed any more", folder.display()));
        Ok(())
    }

    /// Checks that the pack can be written, before hours of downloading.
    fn output(&self, set: &Source, out: &Path) -> Result<Target> {
        let output = Output::new(out, &PACK, &[], self.force)?;
        match existing(out) {
            Some(pack) if !self.force => match made_otherwise(&pack, set, &self.options.spec()) {
                Some(difference) => bail!(refusal(out, &difference)),
                None => Ok(Target::IsThere),
            },
            _ => Ok(Target::New(output)),
        }
    }
}

/// Where the pack goes.
enum Target {
    New(Output),
    /// The pack has been made with the same options.
    IsThere,
}

/// Downloads `files`, and returns what is to be packed: the only file, or the folder with all of them.
fn download(files: &[Download], folder: &Path, client: &Client) -> Result<PathBuf> {
    let mut last = folder.to_owned();
    for file in files {
        let shown = Shown { name: file.file_name(), progress: RefCell::new(None) };
        last = fetch(file, folder, client, &shown)?;
    }
    Ok(if files.len() == 1 { last } else { folder.to_owned() })
}

/// Shows the progress of a file.
struct Shown {
    name: &'static str,
    progress: RefCell<Option<(Step, ByteProgress)>>,
}

impl Watch for Shown {
    fn at(&self, step: Step, done: u64, all: Option<u64>) {
        let mut progress = self.progress.borrow_mut();
        if progress.as_ref().is_none_or(|(shown, _)| *shown != step) {
            let what = match step {
                Step::Downloading => "downloading",
                Step::Checking => "checking",
            };
            *progress = Some((step, ByteProgress::new(&format!("{what} {}", self.name))));
        }
        if let Some((_, progress)) = &*progress {
            progress.at(done, all);
        }
    }

    fn say(&self, text: &str) {
        // a bar would be drawn over the text
        if let Some((_, progress)) = self.progress.take() {
            progress.finish();
        }
        say(text);
    }
}

fn needs_account(kind: &str, page: &str, steps: &str) -> String {
    format!(
        "{kind}: its publisher gives it to registered users only\n\
         hint: at {page}\n{steps}\nthen `eqr-bench data pack {kind} FOLDER --out {kind}.h5`"
    )
}

#[cfg(test)]
#[path = "../../../../datasets/src/fetch/loopback.rs"]
mod loopback;

#[cfg(test)]
mod tests {
    use clap::Parser;
    use eqr_datasets::Pack;
    use eqr_datasets::sources::{PETS, Size, SourceInfo};
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use image::{ImageFormat, RgbImage};

    use super::loopback::{Server, rest, status};
    use super::*;
    use crate::suite_file::presets::PRESETS;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        args: FetchArgs,
    }

    fn tar_gz(files: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append_data(&mut header, path, &bytes[..]).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    /// Two breeds with two training images and a test image each, as published: images and annotations.
    fn archives() -> [Vec<u8>; 2] {
        let (mut images, mut lists) = (Vec::new(), [String::new(), String::new()]);
        for (class, breed) in ["Abyssinian", "beagle"].into_iter().enumerate() {
            for number in 0..3 {
                let mut file = std::io::Cursor::new(Vec::new());
                RgbImage::from_pixel(12, 10, image::Rgb([number * 80, class as u8 * 90, 7]))
                    .write_to(&mut file, ImageFormat::Png)
                    .unwrap();
                images.push((format!("images/{breed}_{number}.jpg"), file.into_inner()));
                lists[usize::from(number == 2)] += &format!("{breed}_{number} {} 1 1\n", class + 1);
            }
        }
        let names = ["annotations/trainval.txt", "annotations/test.txt"];
        let lists: Vec<_> = names.into_iter().zip(lists).collect();
        let lists: Vec<_> =
            lists.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect();
        [tar_gz(&images), tar_gz(&lists)]
    }

    /// The set of these archives, in place of the published ones.
    fn tiny(archives: &[Vec<u8>; 2]) -> Source {
        let file =
            |url, archive: &Vec<u8>| Download { url, size: Size::Exact(archive.len() as u64), sha256: None };
        let files = vec![
            file("https://data.example/pets/images.tar.gz", &archives[0]),
            file("https://data.example/pets/annotations.tar.gz", &archives[1]),
        ];
        Source { info: SourceInfo { access: Access::Public(files.leak()), ..PETS.info }, ..PETS }
    }

    #[test]
    fn a_set_of_two_archives_is_downloaded_and_packed_once() {
        let folder = tempfile::tempdir().unwrap();
        let archives = archives();
        let set = tiny(&archives);
        let server = Server::start(move |_, request| match request.path.as_str() {
            "/pets/images.tar.gz" => rest(&archives[0], request),
            "/pets/annotations.tar.gz" => rest(&archives[1], request),
            _ => status("404 Not Found"),
        });
        let client = Client::new(Some(&server.address)).unwrap();
        let out = folder.path().join("pets.h5");
        let to = ["--to".to_owned(), folder.path().display().to_string()];
        let fetch = |more: &[&str]| {
            let out = out.display().to_string();
            let line = ["fetch", "pets", "--out", &out, &to[0], &to[1]];
            Alone::parse_from([&line[..], more].concat()).args.fetch(&set, &client)
        };
        fetch(&["--side", "8"]).unwrap();
        let pack = Pack::open(&out).unwrap();
        assert_eq!(pack.class_names, ["Abyssinian", "beagle"]);
        assert_eq!((pack.splits[0].len(), pack.splits[1].len(), pack.splits[0].side()), (4, 2, Some(8)));
        assert_eq!(pack.provenance["input"], "pets");
        assert_eq!(server.requests().len(), 2);
        // with the pack, nothing is downloaded or packed again
        std::fs::remove_dir_all(folder.path().join("pets")).unwrap();
        fetch(&["--side", "8"]).unwrap();
        assert_eq!(server.requests().len(), 2);
        let other = fetch(&["--side", "6"]).unwrap_err().to_string();
        assert!(other.contains("an existing pack that was made otherwise"), "{other}");
        fetch(&["--side", "6", "--force"]).unwrap();
        assert_eq!((server.requests().len(), Pack::open(&out).unwrap().splits[0].side()), (4, Some(6)));
    }

    /// The commands that presets name for their packs.
    fn made_by() -> Vec<(&'static str, String)> {
        let lines = |text: &'static str| text.lines().filter_map(|line| line.strip_prefix("made_by = "));
        let commands = PRESETS.iter().flat_map(|&(name, text)| lines(text).map(move |value| (name, value)));
        commands.map(|(name, value)| (name, value.trim_matches('"').to_owned())).collect()
    }

    #[test]
    fn presets_name_commands_that_make_their_packs() {
        let commands = made_by();
        assert!(commands.len() > 20);
        for (preset, command) in commands {
            let parsed = crate::cli::parse(command.split(' '));
            parsed.unwrap_or_else(|error| panic!("{preset}: {command}: {error}"));
            let words: Vec<&str> = command.split(' ').collect();
            let public =
                |kind| source(kind).is_some_and(|source| matches!(source.info.access, Access::Public(_)));
            match words[1..4] {
                ["data", "fetch", kind] => assert!(public(kind), "{preset}: {command}: not public"),
                // under another name it is another set in the same layout
                ["data", "pack", kind] => {
                    assert!(
                        words.contains(&"--name") || !public(kind),
                        "{preset}: {command}: can be fetched"
                    );
                }
                _ => assert_eq!(words[1..3], ["data", "generate"], "{preset}"),
            }
        }
    }

    #[test]
    fn every_published_set_has_files_or_says_where_they_are() {
        for set in SOURCES {
            match set.info.access {
                Access::Public(files) => {
                    let mut names: Vec<&str> = files.iter().map(Download::file_name).collect();
                    names.sort_unstable();
                    names.dedup();
                    assert!(!files.is_empty() && names.len() == files.len(), "{}", set.kind);
                    for file in files {
                        let digits =
                            |sum: &str| sum.len() == 64 && sum.chars().all(|c| c.is_ascii_hexdigit());
                        assert!(file.url.starts_with("http") && !file.url.contains(' '), "{}", file.url);
                        assert!(file.sha256.is_none_or(digits), "{}", file.url);
                    }
                }
                Access::Account { page, steps, .. } => {
                    let text = needs_account(set.kind, page, steps);
                    assert!(text.contains(&format!("eqr-bench data pack {} FOLDER", set.kind)), "{text}");
                }
                Access::Own => assert!(!published().contains(&set.kind)),
            }
        }
    }
}
