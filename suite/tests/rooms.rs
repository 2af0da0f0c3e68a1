//! The order of the rooms: a folder of `suite/src` uses only the folders below it. No files of any crate use
//! each other in a cycle, except two files of one folder. The tests only read the sources, so they link no
//! crate of the workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The rooms of `suite/src` from top to bottom. Those in one row do not use each other.
const ORDER: [&[&str]; 9] = [
    &["cli"],
    &["bench"],
    &["run", "verify"],
    &["pretrain", "measure", "report", "perf"],
    &["encoder"],
    &["data"],
    &["run_folder"],
    &["suite_file", "cluster"],
    &["console", "failure", "registry"],
];

const CRATES: [&str; 5] = ["suite", "datasets", "models", "models/device", "probes"];

/// A path as written: its segments, and whether `pub use` re-exports it under its last name.
#[derive(Debug, PartialEq)]
struct Mention {
    /// Inline modules around it.
    depth: usize,
    segments: Vec<String>,
    re_exported_as: Option<String>,
}

/// The paths that a file mentions, and its test modules.
#[derive(Debug, Default, PartialEq)]
struct Source {
    mentions: Vec<Mention>,
    /// Modules that are compiled only for tests: they may use anything.
    test_modules: Vec<String>,
}

impl Source {
    fn read(text: &str) -> Source {
        let mut source = Source::default();
        source.walk(TokenStream::from_str(text).expect("a source file is made of tokens"), 0);
        source
    }

    fn walk(&mut self, stream: TokenStream, depth: usize) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            if is_punct(&tokens, at, '#')
                && tokens.get(at + 1).is_some_and(|group| text(group) == "[cfg(test)]")
            {
                at = self.skip_item(&tokens, at + 2);
                continue;
            }
            match &tokens[at] {
                TokenTree::Group(group) => {
                    let is_module = at > 1 && is_ident(&tokens, at - 2, "mod");
                    self.walk(group.stream(), depth + usize::from(is_module));
                    at += 1;
                }
                TokenTree::Ident(_) if is_path_start(&tokens, at) => {
                    let is_public =
                        is_ident(&tokens, at.wrapping_sub(1), "use") && is_public(&tokens[..at - 1]);
                    at = self.path(&tokens, at, depth, &[], is_public);
                }
                _ => at += 1,
            }
        }
    }

    /// Returns the position after the item at `at`. Records the name if it is a module.
    fn skip_item(&mut self, tokens: &[TokenTree], mut at: usize) -> usize {
        let is_end = |token: &TokenTree| match token {
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            token => text(token) == ";",
        };
        while at < tokens.len() && !is_end(&tokens[at]) {
            if is_ident(tokens, at, "mod") {
                self.test_modules.push(text(&tokens[at + 1]));
            }
            at += 1;
        }
        at + 1
    }

    /// Records the path that starts at `at`, with `prefix` before it and with all branches of its braces.
    /// Returns the position after it.
    fn path(
        &mut self,
        tokens: &[TokenTree],
        mut at: usize,
        depth: usize,
        prefix: &[String],
        public: bool,
    ) -> usize {
        let mut segments = prefix.to_vec();
        loop {
            match tokens.get(at) {
                Some(TokenTree::Ident(name)) => segments.push(name.to_string()),
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    let branches = inner.split(|token| text(token) == ",");
                    branches.filter(|branch| !branch.is_empty()).for_each(|branch| {
                        self.path(branch, 0, depth, &segments, public);
                    });
                    return at + 1;
                }
                // a glob, or the `<` of generic arguments
                _ => break,
            }
            at += 1;
            if !(is_punct(tokens, at, ':') && is_punct(tokens, at + 1, ':')) {
                break;
            }
            at += 2;
        }
        let renamed = if is_ident(tokens, at, "as") { tokens.get(at + 1).map(text) } else { None };
        if segments.last().is_some_and(|last| last == "self") && segments.len() > 1 {
            segments.pop();
        }
        let re_exported_as = public.then(|| renamed.or(segments.last().cloned())).flatten();
        self.mentions.push(Mention { depth, segments, re_exported_as });
        at
    }
}

fn text(token: &TokenTree) -> String {
    token.to_string().replace([' ', '\n'], "")
}

fn is_punct(tokens: &[TokenTree], at: usize, wanted: char) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn is_ident(tokens: &[TokenTree], at: usize, wanted: &str) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Ident(name)) if name == wanted)
}

/// Whether a path of several segments, or a tree of `use`, starts at `at`.
fn is_path_start(tokens: &[TokenTree], at: usize) -> bool {
    let follows_another = at > 1 && is_punct(tokens, at - 1, ':') && is_punct(tokens, at - 2, ':');
    let goes_on = is_punct(tokens, at + 1, ':') && is_punct(tokens, at + 2, ':');
    goes_on && !follows_another
}

/// Whether `tokens` end with `pub` or `pub(..)`.
fn is_public(tokens: &[TokenTree]) -> bool {
    let end = tokens.len();
    is_ident(tokens, end.wrapping_sub(1), "pub") || is_ident(tokens, end.wrapping_sub(2), "pub")
}

type ModulePath = Vec<String>;

/// The files of one crate by their module paths.
struct Crate {
    root: PathBuf,
    files: BTreeMap<ModulePath, (PathBuf, Source)>,
}

impl Crate {
    fn read(name: &str) -> Crate {
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join(name).join("src");
        let mut files = BTreeMap::new();
        for path in rust_files(&root) {
            let relative = path.strip_prefix(&root).expect("below the root").with_extension("");
            let mut module: ModulePath =
                relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            // the binaries are crates of their own
            if module[0] == "bin" {
                continue;
            }
            if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
                module.pop();
            }
            let source = Source::read(&fs::read_to_string(&path).expect("a source file"));
            files.insert(module, (path, source));
        }
        let for_tests: Vec<ModulePath> = files
            .iter()
            .flat_map(|(module, (_, source))| {
                source
                    .test_modules
                    .iter()
                    .map(move |name| [module.as_slice(), std::slice::from_ref(name)].concat())
            })
            .collect();
        files.retain(|module, _| !for_tests.iter().any(|test| module.starts_with(test)));
        Crate { root, files }
    }

    /// The path of a mention from the crate's root; `None` if it leads out of the crate.
    fn absolute(&self, module: &[String], mention: &Mention) -> Option<ModulePath> {
        let (first, rest) = mention.segments.split_first()?;
        let child = [module, std::slice::from_ref(first)].concat();
        let mut base = match first.as_str() {
            "crate" => return Some(rest.to_vec()),
            "self" => module.to_vec(),
            "super" if mention.depth > 0 => module.to_vec(),
            "super" => module[..module.len() - 1].to_vec(),
            _ if self.files.contains_key(&child) => child,
            _ => return None,
        };
        let mut rest = rest;
        while let Some(("super", further)) =
            rest.split_first().map(|(first, further)| (first.as_str(), further))
        {
            base.pop();
            rest = further;
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    /// The module that defines the item at `path`, following re-exports.
    fn definition(&self, path: &[String]) -> Option<&ModulePath> {
        let length = (0..=path.len()).rev().find(|&length| self.files.contains_key(&path[..length]))?;
        let (module, (_, source)) = self.files.get_key_value(&path[..length])?;
        let Some(name) = path.get(length) else { return Some(module) };
        let passed_on = source.mentions.iter().find(|mention| mention.re_exported_as.as_ref() == Some(name));
        match passed_on.and_then(|mention| self.absolute(module, mention)) {
            Some(target) if target != path => self.definition(&[&target, &path[length + 1..]].concat()),
            _ => Some(module),
        }
    }

    /// The other modules that each module uses, and by which path.
    fn uses(&self) -> BTreeMap<&ModulePath, BTreeMap<&ModulePath, String>> {
        let of_file = |module: &ModulePath, source: &Source| {
            // a re-export only passes a name on
            let used = source.mentions.iter().filter(|mention| mention.re_exported_as.is_none()).filter_map(
                |mention| {
                    let definition = self.definition(&self.absolute(module, mention)?)?;
                    Some((definition, mention.segments.join("::")))
                },
            );
            used.filter(|(definition, _)| *definition != module).collect()
        };
        self.files.iter().map(|(module, (_, source))| (module, of_file(module, source))).collect()
    }

    fn shown(&self, module: &ModulePath) -> String {
        let workspace = self.root.ancestors().nth(2).expect("a workspace");
        self.files[module].0.strip_prefix(workspace).expect("below the workspace").display().to_string()
    }

    /// Groups of files that use each other in a cycle.
    fn circles(&self) -> Vec<String> {
        let uses = self.uses();
        let reached: BTreeMap<_, _> = uses.keys().map(|&module| (module, reachable(&uses, module))).collect();
        let mut seen = BTreeSet::new();
        let mut circles = Vec::new();
        for (&module, others) in &reached {
            let circle: Vec<&ModulePath> =
                others.iter().copied().filter(|&other| reached[other].contains(module)).collect();
            let folders: BTreeSet<_> = circle.iter().map(|&module| self.files[module].0.parent()).collect();
            if seen.contains(module) || circle.len() < 2 || (circle.len() == 2 && folders.len() == 1) {
                continue;
            }
            seen.extend(circle.iter().copied());
            let within = circle.iter().flat_map(|&file| {
                let used = uses[file].iter().filter(|(other, _)| circle.contains(other));
                used.map(move |(other, path)| {
                    format!("\n  {} uses {}: {path}", self.shown(file), self.shown(other))
                })
            });
            circles.push(format!(
                "{} files use each other in a cycle:{}",
                circle.len(),
                within.collect::<String>()
            ));
        }
        circles
    }
}

/// All modules that `from` uses, also through others.
fn reachable<'a>(
    uses: &BTreeMap<&'a ModulePath, BTreeMap<&'a ModulePath, String>>,
    from: &'a ModulePath,
) -> BTreeSet<&'a ModulePath> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(module) = open.pop() {
        let found: Vec<_> = uses[module].keys().copied().filter(|&used| reached.insert(used)).collect();
        open.extend(found);
    }
    reached
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => files.extend(rust_files(&path)),
            false if path.extension().is_some_and(|extension| extension == "rs") => files.push(path),
            false => (),
        }
    }
    files.sort();
    files
}

fn row(room: &str) -> Option<usize> {
    ORDER.iter().position(|row| row.contains(&room))
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn a_room_uses_only_the_rooms_below_it() {
    let suite = Crate::read("suite");
    let mut offenders = Vec::new();
    for (module, used) in suite.uses() {
        let Some(room) = module.first() else { continue };
        if row(room).is_none() {
            offenders.push(format!("{}: the order does not name the room {room}", suite.shown(module)));
        }
        for (other, path) in used {
            let is_below = other.first().is_some_and(|other| other == room || row(room) < row(other));
            if !is_below {
                offenders.push(format!("{} uses {path}", suite.shown(module)));
            }
        }
    }
    assert_none("these use a room in the same row or above their own", &offenders);
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let circles: Vec<String> = CRATES.iter().flat_map(|name| Crate::read(name).circles()).collect();
    assert_none("only two files of one folder may use each other", &circles);
}

#[test]
fn every_folder_says_what_it_is_for() {
    let folders = CRATES.iter().flat_map(|name| Crate::read(name).files.into_values().map(|(path, _)| path));
    let folders: BTreeSet<PathBuf> = folders.filter_map(|path| Some(path.parent()?.to_owned())).collect();
    let says = |folder: &&PathBuf| {
        let first = ["mod.rs", "lib.rs"].iter().find_map(|name| fs::read_to_string(folder.join(name)).ok());
        !first.is_some_and(|text| text.starts_with("//! "))
    };
    let silent: Vec<String> =
        folders.iter().filter(says).map(|folder| folder.display().to_string()).collect();
    assert_none("expected a mod.rs that begins with `//! ` in", &silent);
}

#[test]
fn paths_are_found_in_uses_and_in_code() {
    let source = Source::read(
        r#"
        //! Reads `crate::comment`.
        use std::fs;

        use crate::a::{self, B};
        use crate::c::d as e;
        pub use self::f::G;
        mod inner {
            fn text() { super::h::i("crate::string"); }
        }
        #[cfg(test)]
        mod tests {
            use crate::only_in_tests;
        }
        "#,
    );
    let found: Vec<(usize, String)> =
        source.mentions.iter().map(|mention| (mention.depth, mention.segments.join("::"))).collect();
    let expected =
        [(0, "std::fs"), (0, "crate::a"), (0, "crate::a::B"), (0, "crate::c::d"), (0, "self::f::G")];
    let expected =
        expected.into_iter().chain([(1, "super::h::i")]).map(|(depth, path)| (depth, path.to_owned()));
    assert_eq!(found, expected.collect::<Vec<_>>());
    assert_eq!(source.mentions[4].re_exported_as.as_deref(), Some("G"));
    assert_eq!(source.test_modules, ["tests"]);
}
