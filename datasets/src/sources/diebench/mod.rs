//! 3DIEBench: renders of objects, with the latents of each scene.

mod splits;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use self::splits::ObjectKey;
use super::access::{Access, Download, Size};
use super::listing::Listing;
use super::member_path::{file_name, last_components};
use super::plan::{PackPlan, Sample};
use super::source::{Options, Source, SourceInfo};
use crate::error::{Error, Result};
use crate::formats::npy::{self, Values};
use crate::scene_latents::LATENTS;
use crate::set_kind::SetKind;

/// Renders with latents.
pub const DIEBENCH: Source = Source {
    kind: "3diebench",
    is_list: |path| splits::FILES.contains(&file_name(path)),
    is_sniffed: |_| false,
    plan,
    records: None,
    side: None,
    info: SourceInfo {
        name: "3DIEBench",
        expects: "\
3DIEBench.tar.gz, or its tree
  <synset>/<object>/image_0.jpg .. image_49.jpg
  <synset>/<object>/latent_0.npy .. latent_49.npy    7 values: 3 angles, floor hue, light theta, light phi, light hue
or a folder with either and, from data/ of github.com/facebookresearch/SIE,
  train_images.npy, train_labels.npy, val_images.npy, val_labels.npy
without these files, a share of each class's objects becomes the test split",
        sizes: "41,920 train / 10,552 test objects x 50 views",
        access: Access::Public(&[
            Download {
                url: "https://dl.fbaipublicfiles.com/SIE/3DIEBench.tar.gz",
                size: Size::About(17_000_000_000),
                sha256: None,
            },
            Download {
                url: "https://raw.githubusercontent.com/facebookresearch/SIE/\
                      54541cfa40780aa3e502e3bbb52b30aae672b487/data/train_images.npy",
                size: Size::Exact(7_210_368),
                sha256: None,
            },
            Download {
                url: "https://raw.githubusercontent.com/facebookresearch/SIE/\
                      54541cfa40780aa3e502e3bbb52b30aae672b487/data/train_labels.npy",
                size: Size::Exact(335_488),
                sha256: Some("784aeab9ef69cc8c246f6a5ab0131557977cddd6a0323fcafc31fabf55a114dc"),
            },
            Download {
                url: "https://raw.githubusercontent.com/facebookresearch/SIE/\
                      54541cfa40780aa3e502e3bbb52b30aae672b487/data/val_images.npy",
                size: Size::Exact(1_815_072),
                sha256: Some("9a945e83ade9197171567b2533d46cc28ffdf2cac6b5dec7e59a60f4a2684c38"),
            },
            Download {
                url: "https://raw.githubusercontent.com/facebookresearch/SIE/\
                      54541cfa40780aa3e502e3bbb52b30aae672b487/data/val_labels.npy",
                size: Size::Exact(84_544),
                sha256: Some("2f0022b5b84229895de2207e2d2e4e6d890831d5a41cf3a36b2c8f6a99a86663"),
            },
        ]),
        described: "Garrido et al. 2023, Self-Supervised Learning of Split Invariant Equivariant Representations; \
                    arXiv:2302.10283; github.com/facebookresearch/SIE",
        licence: "CC BY-NC (its version not stated in the set's README)",
    },
};

/// Reads the seven latents of a render, in the order of [`crate::SceneLatents::latents`].
///
/// # Errors
/// What is wrong if `bytes` is not a `.npy` file of seven finite floats.
pub fn read_latents(bytes: &[u8]) -> std::result::Result<[f32; LATENTS], String> {
    let array = npy::read(bytes)?;
    let values: [f64; LATENTS] = match array.values {
        Values::Floats(values) if array.shape.len() == 1 => values
            .try_into()
            .map_err(|values: Vec<f64>| format!("expected 7 latents, found {}", values.len()))?,
        _ => return Err("expected 7 latents as floats in one dimension, found another array".into()),
    };
    let latents = values.map(|value| value as f32);
    match latents.iter().position(|latent| !latent.is_finite()) {
        None => Ok(latents),
        Some(at) => {
            Err(format!("latent {} of 7 is {:?}, expected a finite number of 32 bits", at + 1, values[at]))
        }
    }
}

/// The files of an object, each with its view number.
#[derive(Default)]
struct Object<'a> {
    images: Vec<(u32, &'a str)>,
    latents: Vec<(u32, &'a str)>,
}

/// All objects, by synset and object name.
type Objects<'a> = BTreeMap<ObjectKey<'a>, Object<'a>>;

/// Finds the objects and their views, and splits the objects into training and test objects.
fn plan(listing: &Listing, options: &Options) -> Result<PackPlan> {
    let objects = objects(listing)?;
    let views = views(listing, &objects)?;
    let split = splits::split(listing, options, &objects.keys().copied().collect::<Vec<_>>())?;
    let samples = |keys: &[(ObjectKey, i32)]| -> Vec<Sample> {
        keys.iter().filter_map(|(key, label)| Some(renders(objects.get(key)?, *label))).flatten().collect()
    };
    Ok(PackPlan {
        name: options.name_or("3DIEBench"),
        kind: SetKind::Renders,
        class_names: split.class_names,
        views: Some(views),
        splits: vec![("train".into(), samples(&split.train)), ("test".into(), samples(&split.test))],
        missing: Vec::new(),
        notes: split.notes,
    })
}

/// The renders of an object. Its views must be complete and sorted.
fn renders<'a>(object: &'a Object, label: i32) -> impl Iterator<Item = Sample> + 'a {
    object.images.iter().zip(&object.latents).map(move |((_, image), (_, latents))| Sample {
        latents: Some(latents.to_string()),
        ..Sample::labelled(*image, label)
    })
}

/// The files of all objects, sorted by view number.
fn objects<'a>(listing: &'a Listing) -> Result<Objects<'a>> {
    let mut objects = Objects::new();
    for path in listing.paths() {
        let Some([synset, name, file]) = last_components(path) else {
            continue;
        };
        if let Some(view) = view(file, "image_").filter(|_| listing.is_image(path)) {
            objects.entry((synset, name)).or_default().images.push((view, path));
        } else if let Some(view) = view(file, "latent_").filter(|_| file.ends_with(".npy")) {
            objects.entry((synset, name)).or_default().latents.push((view, path));
        }
    }
    if objects.is_empty() {
        let reason = "expected <synset>/<object>/image_0.jpg and latent_0.npy, found none";
        return Err(Error::format(listing.input, reason));
    }
    for files in objects.values_mut().flat_map(|object| [&mut object.images, &mut object.latents]) {
        files.sort_unstable();
        if let Some(pair) = files.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(Error::member(
                listing.input,
                pair[1].1,
                format!("occurs twice, also as {}", pair[0].1),
            ));
        }
    }
    Ok(objects)
}

/// The number `K` in `image_K.jpg` or `latent_K.npy`. 3DIEBench writes it without leading zeros.
fn view(file: &str, start: &str) -> Option<u32> {
    let (digits, _) = file.strip_prefix(start)?.split_once('.')?;
    let number: u32 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

/// The number of views, which must be the same for all objects.
fn views(listing: &Listing, objects: &Objects) -> Result<usize> {
    let last = |object: &Object| object.images.iter().chain(&object.latents).map(|&(view, _)| view).max();
    let views = objects.values().filter_map(last).max().map_or(0, |last| last as usize + 1);
    if views < 2 {
        return Err(Error::format(listing.input, "expected at least two views of each object, found one"));
    }
    for ((synset, name), object) in objects {
        for (files, form) in [(&object.images, "image_K.jpg"), (&object.latents, "latent_K.npy")] {
            // the files are sorted and have no duplicates, so the first gap is where number and position
            // differ
            let found = files.iter().zip(0..).take_while(|((view, _), at)| view == at).count();
            if found < views {
                let file = form.replace('K', &found.to_string());
                let reason = format!(
                    "{file} is missing, expected {views} views of every object, as many as the largest has"
                );
                return Err(Error::member(listing.input, format!("{synset}/{name}"), reason));
            }
        }
    }
    Ok(views)
}
