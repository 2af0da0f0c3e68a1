//! What holds of every plan of class folders. Also used by the fuzz target `class_folders`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use eqr_datasets::FileKind;
use eqr_datasets::sources::{CLASS_FOLDERS, Listing, Options};

/// Plans class folders with a member in each line of `text`: its path and, after a tab, a letter for what it
/// is. Returns whether there is a plan. In a plan every image has exactly one place or is counted.
pub fn every_image_has_one_place(text: &str) -> bool {
    let mut kinds = BTreeMap::new();
    for line in text.lines() {
        let (path, letter) = line.split_once('\t').unwrap_or((line, ""));
        // a tree yields only such paths
        if path.split('/').all(|part| !part.is_empty() && !part.starts_with('.')) {
            let kind = match letter {
                "j" => FileKind::Jpeg,
                "a" => FileKind::Avif,
                "p" => FileKind::GitLfsPointer,
                _ => FileKind::Text,
            };
            kinds.insert(path.to_owned(), kind);
        }
    }
    let members: Vec<(String, u64)> = kinds.keys().map(|path| (path.clone(), 1)).collect();
    kinds.retain(|path, _| (CLASS_FOLDERS.is_sniffed)(path));
    let listing = Listing { input: Path::new("input"), members, lists: BTreeMap::new(), kinds };
    let options = Options { name: None, test_fraction: 0.25, seed: 3 };
    let Ok(plan) = (CLASS_FOLDERS.plan)(&listing, &options) else { return false };

    let samples = || plan.splits.iter().flat_map(|(_, samples)| samples);
    let placed: BTreeSet<&str> = samples().map(|sample| sample.image.as_str()).collect();
    assert_eq!(placed.len(), samples().count(), "an image in two places");
    let count = |key: &str| plan.notes[key].as_u64().unwrap() as usize;
    let images = listing.members.len() - count("files_passed_over");
    let left = images - placed.len() - count("images_outside_splits");
    let below =
        |(path, _): &&(String, u64)| plan.missing.iter().any(|folder| path.starts_with(&folder.member));
    assert!(left <= listing.members.iter().filter(below).count(), "{left} images are nowhere");
    assert!(left == 0 || !plan.missing.is_empty());

    let names = &plan.class_names;
    assert!(names.is_sorted() && names.iter().collect::<BTreeSet<_>>().len() == names.len());
    assert!(samples().all(|sample| (0..names.len() as i32).contains(&sample.label)));
    let trained: BTreeSet<i32> = plan.splits[0].1.iter().map(|sample| sample.label).collect();
    assert_eq!(trained.len(), names.len(), "a class without training images");
    true
}
