//! The run's pictures, inside the page.

use maud::{Markup, html};

use super::small_pictures::{drawing, photographs};
use crate::run_folder::folder::RunFolder;
use crate::run_folder::layout;

/// Pictures that are shown together.
pub struct Group {
    /// Id of the group's section.
    pub id: &'static str,
    /// Heading of the section.
    pub name: &'static str,
    /// Prefixes of the pictures' file names.
    prefixes: &'static [&'static str],
    /// CSS class of the frame around the pictures.
    class: &'static str,
    /// What the pictures are made of.
    content: Content,
}

/// What pictures are made of.
#[derive(Clone, Copy)]
enum Content {
    Drawings,
    Photographs,
}

/// Id of the group of the reconstructions.
pub const RECONSTRUCTIONS: &str = "reconstructions";

/// The groups in the order of the page.
pub const GROUPS: [Group; 4] = [
    Group {
        id: "curves",
        name: "Training",
        prefixes: &["training-curves", "encoder-gradient", "probe-curve"],
        class: "pictures",
        content: Content::Drawings,
    },
    Group {
        id: "calibration-curves",
        name: "Calibration of the probes",
        prefixes: &["calibration"],
        class: "pictures",
        content: Content::Drawings,
    },
    Group {
        id: RECONSTRUCTIONS,
        name: "Reconstructions",
        prefixes: &["reconstruction-"],
        class: "pictures",
        content: Content::Photographs,
    },
    Group {
        id: "segmentation",
        name: "Segmented scenes",
        prefixes: &["segment-"],
        class: "pictures many",
        content: Content::Photographs,
    },
];

/// Name and content of every PNG in `figures/`, which a copied run may lack.
pub fn read(folder: &RunFolder) -> Vec<(String, Vec<u8>)> {
    let names = file_names(folder, layout::FIGURES).into_iter().filter(|name| name.ends_with(".png"));
    names
        .filter_map(|name| Some((name.clone(), std::fs::read(folder.path(layout::FIGURES).join(name)).ok()?)))
        .collect()
}

/// Sorted file names in a folder of the run; empty if the folder does not exist.
pub fn file_names(folder: &RunFolder, name: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path(name)).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

impl Group {
    /// The pictures of the group; `None` if it has none.
    pub fn markup(&self, all: &[(String, Vec<u8>)]) -> Option<Markup> {
        let own = |name: &str| self.prefixes.iter().any(|prefix| name.starts_with(prefix));
        let pictures: Vec<&(String, Vec<u8>)> = all.iter().filter(|(name, _)| own(name)).collect();
        let files: Vec<&[u8]> = pictures.iter().map(|(_, png)| &png[..]).collect();
        let sources = match self.content {
            Content::Drawings => files.into_iter().map(drawing).collect(),
            Content::Photographs => photographs(&files),
        };
        let shown = pictures.iter().zip(&sources);
        let markup = || {
            html! { div class=(self.class) { @for ((name, _), source) in shown { (picture(name, source)) } } }
        };
        (!pictures.is_empty()).then(markup)
    }
}

fn picture(name: &str, source: &str) -> Markup {
    let caption = caption(name);
    html! { figure { figcaption { (caption) } img alt=(caption) src=(source); } "\n" }
}

/// What a figure shows, derived from its file name.
fn caption(name: &str) -> String {
    let stem = name.strip_suffix(".png").unwrap_or(name);
    let words = stem.replace('-', " ");
    match words.split_once(' ') {
        Some(("reconstruction", rest)) => format!("{rest}: view 1, view 2, view 2 rebuilt from both"),
        Some(("segment", rest)) => format!("{rest}: image, truth, prediction"),
        _ => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_stand_in_their_group_with_a_caption() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("figures")).unwrap();
        for name in ["reconstruction-ours-seed0.png", "segment-x-ours-seed0-head0.png", "notes.txt"] {
            std::fs::write(folder.path().join("figures").join(name), b"no picture").unwrap();
        }
        let all = read(&RunFolder::new(folder.path()));
        assert_eq!(all.len(), 2);
        let markup = |group: &Group| group.markup(&all).map(Markup::into_string);
        assert!(markup(&GROUPS[0]).is_none());
        let reconstructions = markup(&GROUPS[2]).unwrap();
        assert!(
            reconstructions.contains("<figcaption>ours seed0: view 1, view 2, view 2 rebuilt from both<")
        );
        let scenes = markup(&GROUPS[3]).unwrap();
        assert!(
            scenes.contains("data:image/png;base64,") && scenes.contains("class=\"pictures many\""),
            "{scenes}"
        );
    }
}
