//! The run's pictures, inside the page.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use maud::{Markup, html};

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
}

/// Id of the group of the reconstructions.
pub const RECONSTRUCTIONS: &str = "reconstructions";

/// The groups in the order of the page.
pub const GROUPS: [Group; 3] = [
    Group {
        id: "curves",
        name: "Training",
        prefixes: &["training-curves", "encoder-gradient", "probe-curve"],
        class: "pictures",
    },
    Group { id: RECONSTRUCTIONS, name: "Reconstructions", prefixes: &["reconstruction-"], class: "pictures" },
    Group { id: "segmentation", name: "Segmented scenes", prefixes: &["segment-"], class: "pictures many" },
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
        let markup =
            || html! { div class=(self.class) { @for (name, png) in &pictures { (picture(name, png)) } } };
        (!pictures.is_empty()).then(markup)
    }
}

fn picture(name: &str, png: &[u8]) -> Markup {
    let caption = caption(name);
    let smaller = if name.starts_with("segment-") { as_jpeg(png) } else { as_webp(png) };
    let (kind, bytes) = smaller.unwrap_or(("png", png.to_vec()));
    let source = format!("data:image/{kind};base64,{}", STANDARD.encode(bytes));
    html! { figure { figcaption { (caption) } img alt=(caption) src=(source); } "\n" }
}

/// A format's name and a picture in it.
type Encoded = (&'static str, Vec<u8>);

/// Converts a photograph to JPEG, which takes a tenth of the space. `None` if the file is not a picture.
fn as_jpeg(png: &[u8]) -> Option<Encoded> {
    let picture = image::load_from_memory(png).ok()?.to_rgb8();
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 80).encode_image(&picture).ok()?;
    Some(("jpeg", jpeg))
}

/// Converts a drawing to WebP, which takes half the space and loses nothing. `None` if the file is not a
/// picture.
fn as_webp(png: &[u8]) -> Option<Encoded> {
    let picture = image::load_from_memory(png).ok()?.to_rgb8();
    let mut webp = Vec::new();
    WebPEncoder::new_lossless(&mut webp)
        .encode(&picture, picture.width(), picture.height(), ExtendedColorType::Rgb8)
        .ok()?;
    Some(("webp", webp))
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
        let reconstructions = markup(&GROUPS[1]).unwrap();
        assert!(
            reconstructions.contains("<figcaption>ours seed0: view 1, view 2, view 2 rebuilt from both<")
        );
        let scenes = markup(&GROUPS[2]).unwrap();
        assert!(
            scenes.contains("data:image/png;base64,") && scenes.contains("class=\"pictures many\""),
            "{scenes}"
        );
    }

    #[test]
    fn photographs_become_jpeg() {
        let mut png = std::io::Cursor::new(Vec::new());
        image::RgbImage::new(8, 8).write_to(&mut png, image::ImageFormat::Png).unwrap();
        let kind = |name| {
            picture(name, png.get_ref())
                .into_string()
                .contains(&format!("data:image/{};", if name == "a.png" { "webp" } else { "jpeg" }))
        };
        assert!(kind("segment-a.png") && kind("a.png"));
    }
}
