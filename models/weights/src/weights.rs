//! A file of weights in any of the forms that are read.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::element::Element;
use crate::error::{Error, Result};
use crate::legacy_file::{LegacyFile, MAGIC};
use crate::pickle::parse;
use crate::safetensors_file::SafetensorsFile;
use crate::shard_index::{shards, weight_map};
use crate::state_tree;
use crate::tensor::{RawTensor, View};
use crate::torch_zip::TorchZip;

/// A tensor as its file lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Type of the elements.
    pub element: Element,
    /// Length of each axis.
    pub shape: Vec<i64>,
}

/// The named tensors of a file. Nested dictionaries are joined with dots: `teacher.backbone.cls_token`.
pub struct Weights {
    listed: BTreeMap<String, Listed>,
    file: OpenFile,
}

enum OpenFile {
    Safetensors(SafetensorsFile),
    Torch { archive: Archive, views: BTreeMap<String, View> },
    Shards(Vec<Weights>),
}

enum Archive {
    Zip(TorchZip),
    Legacy(LegacyFile),
}

impl Weights {
    /// Opens a file that `torch.save` wrote, a safetensors file, or the index of several such files, which is
    /// JSON. The content decides.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged or is none of these; a pickle that names something that
    /// parameters do not need. Nothing of the file is run.
    pub fn open(path: &Path) -> Result<Weights> {
        let mut start = Vec::new();
        File::open(path)?.take(MAGIC.len() as u64).read_to_end(&mut start)?;
        if start.starts_with(b"PK\x03\x04") {
            let (zip, pickle) = TorchZip::open(path)?;
            let views = state_tree::tensors(&parse(&pickle)?)?;
            return Ok(Self::of_torch(Archive::Zip(zip), views));
        }
        if start.starts_with(MAGIC) {
            let (legacy, views) = LegacyFile::open(path)?;
            return Ok(Self::of_torch(Archive::Legacy(legacy), views));
        }
        if let [0x80, 2..=5, ..] = start[..] {
            return Error::form(
                "a pickle that torch.save did not write\nhint: torch.save(model.state_dict(), \"encoder.pth\") \
                 writes one that is read",
            );
        }
        if start.starts_with(b"{") {
            return Self::open_shards(path);
        }
        let file = SafetensorsFile::open(path)?;
        let places = file.places.iter();
        let listed =
            places.map(|(name, place)| (name.clone(), listed(place.element, &place.shape))).collect();
        Ok(Weights { listed, file: OpenFile::Safetensors(file) })
    }

    fn open_shards(index: &Path) -> Result<Weights> {
        let map = weight_map(index)?;
        let (mut files, mut listed) = (Vec::new(), BTreeMap::new());
        for path in shards(index)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let shard = match Self::open(&path) {
                Ok(Weights { file: OpenFile::Shards(_), .. }) => {
                    return Error::form(format!("shard {name}: an index"));
                }
                shard => shard.map_err(|error| Error::Form(format!("shard {name}: {error}")))?,
            };
            listed.extend(shard.listed.clone());
            files.push(shard);
        }
        match map.keys().find(|name| !listed.contains_key(*name)) {
            Some(missing) => {
                Error::form(format!("the index names the tensor {missing}, which no shard holds"))
            }
            None => Ok(Weights { listed, file: OpenFile::Shards(files) }),
        }
    }

    fn of_torch(archive: Archive, views: BTreeMap<String, View>) -> Weights {
        let element = |view: &View| listed(view.storage.element, &view.shape);
        let listed = views.iter().map(|(name, view)| (name.clone(), element(view))).collect();
        Weights { listed, file: OpenFile::Torch { archive, views } }
    }

    /// All tensors by name.
    pub fn listed(&self) -> &BTreeMap<String, Listed> {
        &self.listed
    }

    /// The texts that a safetensors file holds beside its tensors.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        match &self.file {
            OpenFile::Safetensors(file) => file.metadata.clone(),
            OpenFile::Torch { .. } | OpenFile::Shards(_) => BTreeMap::new(),
        }
    }

    /// The values of these tensors. Names that the file does not have are left out. A storage that several
    /// of them share is read once.
    ///
    /// # Errors
    /// A file that cannot be read; a storage that is missing or has another size.
    pub fn read<'a>(
        &mut self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<BTreeMap<String, RawTensor>> {
        let names = names.into_iter().filter(|name| self.listed.contains_key(*name));
        match &mut self.file {
            OpenFile::Shards(shards) => {
                let names: Vec<&str> = names.collect();
                let mut read = BTreeMap::new();
                for shard in shards {
                    read.extend(shard.read(names.iter().copied())?);
                }
                Ok(read)
            }
            OpenFile::Safetensors(file) => {
                names.map(|name| Ok((name.to_owned(), file.read(name)?))).collect()
            }
            OpenFile::Torch { archive, views } => {
                let mut by_storage: HashMap<Arc<str>, Vec<(&str, &View)>> = HashMap::new();
                for name in names {
                    let view = &views[name];
                    by_storage.entry(view.storage.key.clone()).or_default().push((name, view));
                }
                let mut read = BTreeMap::new();
                for views in by_storage.into_values() {
                    archive.gather(&views, &mut read)?;
                }
                Ok(read)
            }
        }
    }
}

/// How many times the elements of a storage may be part of tensors. Tied weights share a storage; a small
/// file must not become large in memory.
const MOST_COPIES: usize = 16;

impl Archive {
    /// Reads the tensors `views`, all of one storage, into `read`.
    fn gather(&mut self, views: &[(&str, &View)], read: &mut BTreeMap<String, RawTensor>) -> Result<()> {
        let storage = &views[0].1.storage;
        if let Some((name, _)) = views.iter().find(|(_, view)| view.storage != *storage) {
            return Error::form(format!("{name}: the storage {} has two types or sizes", storage.key));
        }
        let views_size = views.iter().map(|(_, view)| view.size()).fold(0, usize::saturating_add);
        if views_size / MOST_COPIES > storage.size().unwrap_or(0) {
            return Error::form(format!(
                "the tensors of the storage {} have more than {MOST_COPIES} times its elements",
                storage.key
            ));
        }
        let held;
        let bytes = match self {
            Archive::Zip(zip) => {
                held = zip.storage(storage)?;
                &held[..]
            }
            Archive::Legacy(file) => file.storage(storage)?,
        };
        read.extend(views.iter().map(|(name, view)| ((*name).to_owned(), view.gather(bytes))));
        Ok(())
    }
}

fn listed(element: Element, shape: &[usize]) -> Listed {
    Listed { element, shape: shape.iter().map(|&side| side as i64).collect() }
}
