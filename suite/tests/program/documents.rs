//! The program accepts every command in the code blocks of README.md, CONTRIBUTING.md and docs/. Quick ones
//! are run on generated inputs.

use std::path::{Path, PathBuf};

use crate::common::{colour_map, copy, eqr, folder, photographs, stderr, tiny_run, traced};
use crate::feature_files::transfer_file;

/// Beginnings of the commands that are run.
const RUN: [&str; 6] =
    ["data list", "data verify", "data show", "transfer", "compare results/reference/", "record runs/"];

/// A command of a document: its place, and the program's arguments.
struct Documented {
    place: String,
    args: Vec<String>,
}

/// The words of a shell command up to a comment or a pipe. `[--option]` is read as `--option`.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quote, mut open) = (vec![String::new()], None, false);
    for character in line.chars() {
        let last = words.last_mut().expect("never empty");
        match (quote, character) {
            (Some(mark), _) if mark == character => quote = None,
            (Some(_), _) => last.push(character),
            (None, '"' | '\'') => (quote, open) = (Some(character), true),
            (None, '#' | '|' | '&' | ';' | '>') if last.is_empty() => break,
            (None, ' ') if last.is_empty() && !open => (),
            (None, ' ') => {
                words.push(String::new());
                open = false;
            }
            (None, '[' | ']') => (),
            (None, _) => last.push(character),
        }
    }
    words.pop_if(|last| last.is_empty() && !open);
    words
}

/// The commands of all documents.
fn documented() -> Vec<Documented> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let docs = std::fs::read_dir(root.join("docs")).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = docs.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    files.extend(["README.md", "CONTRIBUTING.md"].map(|name| root.join(name)).into_iter().filter(|path| path.exists()));
    let mut found = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap().replace("\\\n", "  ");
        let mut inside = false;
        for (index, line) in text.lines().enumerate() {
            inside ^= line.trim_start().starts_with("```");
            // a command by itself, after a launcher, or the value of a key of TOML
            let begins = line.match_indices("eqr-bench ").map(|(at, name)| (&line[..at], &line[at + name.len()..])).next();
            let Some((before, mut after)) = begins.filter(|(before, _)| inside && !before.contains('#')) else { continue };
            if before.ends_with('"') {
                after = after.split('"').next().expect("what comes first");
            }
            found.push(Documented { place: format!("{}, line {}", file.display(), index + 1), args: words(after) });
        }
    }
    found
}

#[test]
fn words_are_split_as_a_shell_does() {
    assert_eq!(words("run a  --methods \"A, b\" --set k='' [--json] # no"), ["run", "a", "--methods", "A, b", "--set", "k=", "--json"]);
    assert_eq!(words("x \"\" | y"), ["x", ""]);
}

#[test]
fn documented_commands_are_ones_that_the_program_takes() {
    let all = documented();
    assert!(all.len() > 5, "the documents show how to use the program");
    for Documented { place, args } in all {
        let parsed = eqr_bench::cli::parse(std::iter::once("eqr-bench").chain(args.iter().map(String::as_str)));
        parsed.unwrap_or_else(|error| panic!("{place}: eqr-bench {}: {error}", args.join(" ")));
    }
}

/// Makes the inputs of a command, under the names in the document.
fn provide(here: &Path, args: &[String]) {
    let option = |index: usize| index.checked_sub(1).map_or("", |before| args[before].as_str());
    for (index, word) in args.iter().enumerate() {
        let path = here.join(word);
        std::fs::create_dir_all(path.parent().expect("inside the folder")).unwrap();
        match option(index) {
            "--out" | "--junit" => (),
            "--encoder" => traced(&path, 16, colour_map),
            "--features" => transfer_file(&path),
            _ if word.ends_with(".h5") => drop(std::fs::copy(here.join("made.h5"), path).unwrap()),
            _ if word.starts_with("runs/") => copy(tiny_run(), &path),
            _ if word.starts_with("results/") => {
                let record = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(word);
                drop(std::fs::copy(&record, path).unwrap_or_else(|e| panic!("{}: {e}", record.display())));
            }
            _ => (),
        }
    }
}

#[test]
fn documented_commands_of_seconds_run() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    std::fs::rename(here.join("photos.h5"), here.join("made.h5")).unwrap();
    let quick = |args: &[String]| RUN.iter().any(|begin| args.join(" ").starts_with(begin));
    let all: Vec<Documented> = documented().into_iter().filter(|command| quick(&command.args)).collect();
    assert!(!all.is_empty(), "none of {RUN:?} is documented");
    for Documented { place, args } in all {
        provide(here, &args);
        let output = eqr(here, &args.iter().map(String::as_str).collect::<Vec<_>>());
        // `compare` ends with 1 if something became worse
        let expected = if args[0] == "compare" { [0, 1] } else { [0, 0] };
        assert!(output.status.code().is_some_and(|code| expected.contains(&code)), "{place}: {}", stderr(&output));
    }
}
