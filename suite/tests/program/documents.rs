//! The program accepts every command in the code blocks of README.md, CONTRIBUTING.md and docs/. The quick
//! ones are run on generated inputs.

use std::path::Path;

use crate::common::{colour_map, copy, eqr, photographs, stderr, tiny_run, traced};
use crate::feature_files::transfer_file;

/// Beginnings of the commands that are run.
const QUICK: [&str; 11] = [
    "data list",
    "data verify",
    "data show",
    "init",
    "suites",
    "transfer",
    "report",
    "export",
    "record",
    "compare results/reference/",
    "run quickstart --out runs/mine --dry-run",
];

/// A command of a document: its place, and the program's arguments.
struct Documented {
    place: String,
    args: Vec<String>,
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the suite is a member")
}

/// The words of a command, without its comment and the file that its output goes to.
fn words(command: &str) -> Vec<String> {
    let command =
        command.split(" #").next().and_then(|rest| rest.split(" > ").next()).expect("what comes first");
    let word = |(index, text): (usize, &str)| match index % 2 {
        0 => text.split_whitespace().map(str::to_owned).collect(),
        _ => vec![text.to_owned()], // between quotes
    };
    command.split('"').enumerate().flat_map(word).collect::<Vec<String>>()
}

/// The commands of all documents.
fn documented() -> Vec<Documented> {
    let docs =
        std::fs::read_dir(workspace().join("docs")).into_iter().flatten().flatten().map(|entry| entry.path());
    let named = ["README.md", "CONTRIBUTING.md"].map(|name| workspace().join(name));
    let files =
        docs.chain(named).filter(|path| path.is_file() && path.extension().is_some_and(|end| end == "md"));
    files.flat_map(|file| commands_of(&file)).collect()
}

/// The commands in the code blocks of a document, in order.
fn commands_of(file: &Path) -> Vec<Documented> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut found = Vec::new();
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        inside ^= line.trim_start().starts_with("```");
        // alone, after mpirun, or as the value of a TOML key
        let Some((before, command)) = line.split_once("eqr-bench ").filter(|_| inside) else { continue };
        let command = if before.ends_with('"') { command.trim_end_matches('"') } else { command };
        found.push(Documented { place: format!("{}:{}", file.display(), index + 1), args: words(command) });
    }
    found
}

#[test]
fn documented_commands_are_ones_that_the_program_takes() {
    let all = documented();
    assert!(all.len() > 10, "the documents show how to use the program");
    for Documented { place, args } in all {
        let parsed =
            eqr_bench::cli::parse(std::iter::once("eqr-bench").chain(args.iter().map(String::as_str)));
        parsed.unwrap_or_else(|error| panic!("{place}: eqr-bench {}: {error}", args.join(" ")));
    }
}

/// Makes the inputs of a command, under the names in the document. `pack` is a pack of photographs.
fn provide(here: &Path, pack: &Path, args: &[String]) {
    let mut option = "";
    for word in args {
        let path = here.join(word);
        std::fs::create_dir_all(path.parent().expect("inside the folder")).unwrap();
        match option {
            "--out" | "--junit" => (),
            "--encoder" => traced(&path, 16, colour_map),
            "--features" => transfer_file(&path),
            _ if word.ends_with(".h5") => drop(std::fs::copy(pack, path).unwrap()),
            _ if word.starts_with("runs/") => copy(tiny_run(), &path),
            _ if workspace().join(word).is_dir() => copy(&workspace().join(word), &path),
            _ if word.starts_with("results/") => drop(std::fs::copy(workspace().join(word), path).unwrap()),
            _ => (),
        }
        option = word;
    }
}

#[test]
fn documented_commands_of_seconds_run() {
    let data = tempfile::tempdir().unwrap();
    photographs(data.path());
    let is_quick = |args: &[String]| QUICK.iter().any(|begin| args.join(" ").starts_with(begin));
    let quick: Vec<Documented> = documented().into_iter().filter(|command| is_quick(&command.args)).collect();
    assert!(!quick.is_empty(), "none of {QUICK:?} is documented");
    for Documented { place, args } in quick {
        let folder = tempfile::tempdir().unwrap();
        provide(folder.path(), &data.path().join("photos.h5"), &args);
        let output = eqr(folder.path(), &args.iter().map(String::as_str).collect::<Vec<_>>());
        // `compare` ends with 1 if something became worse
        let fine = output.status.success() || args[0] == "compare" && output.status.code() == Some(1);
        assert!(fine, "{place}: {}", stderr(&output));
    }
}

/// The tutorial as it stands, in an empty folder with an encoder.
#[test]
fn the_tutorial_ends_with_the_encoder_in_a_table() {
    let commands = commands_of(&workspace().join("docs/tutorial-own-encoder.md"));
    assert!((5..=10).contains(&commands.len()), "{} commands", commands.len());
    let folder = tempfile::tempdir().unwrap();
    traced(&folder.path().join("encoder.pt"), 32, colour_map);
    let mut printed = String::new();
    for Documented { place, args } in commands {
        let output = eqr(folder.path(), &args.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(output.status.success(), "{place}: {}", stderr(&output));
        printed += &String::from_utf8_lossy(&output.stdout);
    }
    let table = std::fs::read_dir(folder.path().join("runs/mine/tables")).unwrap().flatten();
    let table = table.map(|file| file.path()).find(|path| path.extension().is_some_and(|end| end == "md"));
    let table = std::fs::read_to_string(table.expect("a table in Markdown")).unwrap();
    let rows = ["| Mine |", "| *Random init (floor)* |", "| PCA of the pixels (16) |"];
    assert!(rows.iter().all(|row| table.contains(row)), "{table}");
    assert!(printed.contains("Mine"), "{printed}");
}
