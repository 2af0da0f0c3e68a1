//! Oxford-IIIT Pets (Parkhi, Vedaldi, Zisserman and Jawahar, CVPR 2012).

use std::collections::BTreeMap;

use super::access::{Access, Download, Size};
use super::listed_splits::{self, ListedImage, ListedSplit};
use super::listing::Listing;
use super::member_path::ends_in;
use super::plan::PackPlan;
use super::source::{Options, Source, SourceInfo};
use crate::error::{Error, Result};
use crate::formats::text_list::{TextLine, TextList};

/// The lists of the splits.
const SPLITS: [(&str, &str); 2] = [("train", "annotations/trainval.txt"), ("test", "annotations/test.txt")];

/// Oxford-IIIT Pets as published, with breeds in class order and `trainval` as the training split.
pub const PETS: Source = Source {
    kind: "pets",
    is_list: |path| SPLITS.iter().any(|(_, list)| ends_in(path, list)),
    is_sniffed: |_| false,
    plan,
    records: None,
    side: None,
    info: SourceInfo {
        name: "Pets",
        expects: "a folder with images.tar.gz and annotations.tar.gz, or with their contents:\n\
                  images/<Breed>_<number>.jpg\n\
                  annotations/trainval.txt, annotations/test.txt",
        sizes: "3,680 train / 3,669 test",
        access: Access::Public(&[
            Download {
                url: "https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz",
                size: Size::Exact(791_918_971),
                sha256: Some("67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d"),
            },
            Download {
                url: "https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz",
                size: Size::Exact(19_173_078),
                sha256: Some("52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91"),
            },
        ]),
        described: "Parkhi, Vedaldi, Zisserman, Jawahar: Cats and Dogs, CVPR 2012; robots.ox.ac.uk/~vgg/data/pets",
        licence: "CC BY-SA 4.0; copyright of the images remains with their owners",
    },
};

/// An image in a list.
struct Pet<'a> {
    /// Name of the image.
    image: &'a str,
    /// Class number of the breed, from 1.
    class: usize,
    line: usize,
}

fn plan(listing: &Listing, options: &Options) -> Result<PackPlan> {
    let mut splits = Vec::new();
    let mut breeds = BTreeMap::new();
    for (split, end) in SPLITS {
        let list = listing.require_list(end)?;
        let pets = pets(&list)?;
        for pet in &pets {
            add_breed(&mut breeds, pet).map_err(|reason| list.error_at(pet.line, reason))?;
        }
        let image = |pet: &Pet| ListedImage {
            image: format!("images/{}.jpg", pet.image),
            label: pet.class as i32 - 1,
            line: Some(pet.line),
        };
        splits.push(ListedSplit { split, images: pets.iter().map(image).collect(), list });
    }
    listed_splits::plan("Pets", listing, options, class_names(listing, &breeds)?, "images/", splits)
}

/// Reads the images of a list. A line is `Abyssinian_100 1 1 1`: name, class (from 1), species, breed within
/// the species. Lines that start with `#` are comments.
fn pets<'a>(list: &TextList<'a>) -> Result<Vec<Pet<'a>>> {
    let lines = list.lines()?.into_iter().filter(|line| !line.text.starts_with('#'));
    lines.map(|line| pet(line).map_err(|reason| list.error_at(line.number, reason))).collect()
}

fn pet(line: TextLine) -> std::result::Result<Pet, String> {
    // split from the right, because a name may contain spaces
    let mut fields = line.text.rsplitn(4, char::is_whitespace);
    let (_breed, _species) = (fields.next(), fields.next());
    match (fields.next().and_then(|class| class.parse::<u16>().ok()), fields.next()) {
        (Some(class), Some(image)) if class > 0 => {
            Ok(Pet { image: image.trim_end(), class: class.into(), line: line.number })
        }
        _ => Err(format!("expected `name class species breed`, class from 1, found {:?}", line.text)),
    }
}

/// Takes the breed from the image name (`Abyssinian` in `Abyssinian_100`) and adds it to the names by class.
fn add_breed<'a>(breeds: &mut BTreeMap<usize, &'a str>, pet: &Pet<'a>) -> std::result::Result<(), String> {
    let breed = match pet.image.rsplit_once('_') {
        Some((breed, number)) if number.parse::<u32>().is_ok() => breed,
        _ => return Err(format!("expected an image <Breed>_<number>, found {:?}", pet.image)),
    };
    match *breeds.entry(pet.class).or_insert(breed) {
        name if name == breed => Ok(()),
        name => {
            Err(format!("{} has class {}, which belongs to {name} in an earlier line", pet.image, pet.class))
        }
    }
}

/// The names of classes 1, 2, ..., without gaps or duplicates.
fn class_names(listing: &Listing, breeds: &BTreeMap<usize, &str>) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for (&class, breed) in breeds {
        if class != names.len() + 1 {
            let reason =
                format!("the lists have no image of class {}, but one of class {class}", names.len() + 1);
            return Err(Error::format(listing.input, reason));
        }
        if let Some(other) = names.iter().position(|name| name == breed) {
            let reason = format!("in the lists, class {} and class {class} are both {breed}", other + 1);
            return Err(Error::format(listing.input, reason));
        }
        names.push(breed.to_string());
    }
    Ok(names)
}
