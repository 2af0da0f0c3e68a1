//! The generated data set `solids`: renders of procedural objects, or of given meshes, in 3DIEBench's scene.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array2, Array4};
use rand::seq::SliceRandom;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::dataset::{Dataset, Split, channel_statistics};
use crate::draw::{Purpose, rng};
use crate::error::{Error, Result};
use crate::scene::{Class, Latents, Mesh, Paint, Renderer, Scratch, obj};
use crate::scene_latents::{LATENTS, SceneLatents};
use crate::set_kind::SetKind;

/// Version of the generator. A specification gives the same bytes only with the same version.
pub const GENERATOR_VERSION: u32 = 1;
/// Maximum number of bytes of a set's images. They are held in memory.
const IMAGE_LIMIT: usize = 64 << 30;

/// Specification of a set for [`generate`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SolidsSpec {
    /// Name of the set in tables.
    pub name: String,
    /// What a pair is: two renders of an object, or a render, taken as a photograph, and its transformation.
    #[serde(skip_serializing_if = "is_renders")]
    pub kind: SetKind,
    /// Side of the images in pixels, 8 to 1024.
    pub side: usize,
    /// Objects per class, at least 2. With `meshes`, the maximum number of objects that are used.
    pub objects_per_class: usize,
    /// Views per object, at least 2; photographs need only 1.
    pub views: usize,
    /// Share of each class's objects that go to the test split, above 0 and below 1. Both splits get at least
    /// one object per class.
    pub test_fraction: f64,
    /// Seed for shapes, latents and split.
    pub seed: u64,
    /// Reflectance of the objects.
    pub paint: Paint,
    /// Meshes to use instead of procedural objects: a folder of class folders with .obj files, or a .tar.gz
    /// of such a folder.
    pub meshes: Option<PathBuf>,
}

impl Default for SolidsSpec {
    fn default() -> Self {
        let name = "solids".to_owned();
        Self {
            name,
            kind: SetKind::Renders,
            side: 64,
            objects_per_class: 40,
            views: 20,
            test_fraction: 0.2,
            seed: 0,
            paint: Paint::Plain,
            meshes: None,
        }
    }
}

/// Number of classes of procedural objects.
pub const CLASS_COUNT: usize = Class::ALL.len();

impl SolidsSpec {
    /// Number of test objects in a class of `size` objects. `size` must be at least 2.
    pub fn held_out(&self, size: usize) -> usize {
        ((size as f64 * self.test_fraction).round() as usize).clamp(1, size - 1)
    }

    /// Number of training objects, or of training photographs; `None` if it depends on the meshes.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a value out of range.
    pub fn training_units(&self) -> Result<Option<usize>> {
        self.validate()?;
        let per_class = self.objects_per_class - self.held_out(self.objects_per_class);
        let of_object = match self.kind {
            SetKind::Renders => 1,
            SetKind::Photographs => self.views,
        };
        Ok(self.meshes.is_none().then_some(CLASS_COUNT * per_class * of_object))
    }

    /// Checks every value against its range.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the key, the value found and the allowed values.
    pub fn validate(&self) -> Result<()> {
        let refuse = |key: &str, found: &dyn std::fmt::Display, allowed: &str| {
            Err(Error::Invalid(format!("solids: {key} = {found} is out of range, allowed: {allowed}")))
        };
        if self.name.is_empty() {
            return refuse("name", &"\"\"", "any text that is not empty");
        }
        if !(8..=1024).contains(&self.side) {
            return refuse("side", &self.side, "8 to 1024 pixels");
        }
        if self.views < 2 && self.kind == SetKind::Renders {
            return refuse("views", &self.views, "2 or more, because a pair is two views of one object");
        }
        if self.views < 1 {
            return refuse("views", &self.views, "1 or more");
        }
        if self.objects_per_class < 2 {
            return refuse("objects_per_class", &self.objects_per_class, "2 or more, one for each split");
        }
        if !(self.test_fraction > 0.0 && self.test_fraction < 1.0) {
            return refuse("test_fraction", &self.test_fraction, "above 0 and below 1");
        }
        match self.meshes {
            None => self.check_size(self.objects_per_class.saturating_mul(CLASS_COUNT)),
            Some(_) => Ok(()),
        }
    }

    /// Checks that the images of `objects` objects fit in memory.
    fn check_size(&self, objects: usize) -> Result<()> {
        let (views, side) = (self.views, self.side);
        let bytes = [objects, views, side, side, 3].iter().try_fold(1usize, |all, &n| all.checked_mul(n));
        match bytes {
            Some(0..=IMAGE_LIMIT) => Ok(()),
            _ => Err(Error::Invalid(format!(
                "solids: {objects} objects x {views} views at {side} pixels exceed the {} GiB that a set may have\n\
                 hint: lower one of objects_per_class, views and side",
                IMAGE_LIMIT >> 30
            ))),
        }
    }
}

/// Renders a data set.
///
/// `progress` is called with the number of finished images and the number of all images. Several threads call
/// it, so the calls may be out of order. The result depends only on `spec` and the meshes, not on the number
/// of threads.
///
/// # Errors
/// [`Error::Invalid`] for a value out of range or a set above 64 GiB; the errors of [`obj::collect`].
pub fn generate(spec: &SolidsSpec, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<Dataset> {
    spec.validate()?;
    let source = ObjectSource::open(spec)?;
    let [train, test] = source.split(spec)?;
    let objects = train.len() + test.len();
    spec.check_size(objects)?;
    let done = AtomicUsize::new(0);
    let advance =
        || progress(done.fetch_add(spec.views, Ordering::Relaxed) + spec.views, objects * spec.views);
    let renderer = Renderer::new(spec.side, spec.paint);
    let train = source.render(spec, &train, &renderer, &advance)?;
    let test = source.render(spec, &test, &renderer, &advance)?;
    let (mean, std) = channel_statistics(&train.images);
    Ok(Dataset {
        name: spec.name.clone(),
        kind: spec.kind,
        class_names: source.class_names(),
        mean,
        std,
        train,
        test,
        provenance: source.provenance(spec),
    })
}

/// Where labels and shapes of the objects come from.
enum ObjectSource {
    /// Object k belongs to class k / objects per class.
    Procedural { per_class: usize, seed: u64 },
    /// Object k is mesh k of the collection.
    Meshes { name: String, collection: obj::Collection },
}

impl ObjectSource {
    fn open(spec: &SolidsSpec) -> Result<Self> {
        match &spec.meshes {
            None => Ok(Self::Procedural { per_class: spec.objects_per_class, seed: spec.seed }),
            Some(path) => Ok(Self::Meshes {
                name: file_name(path),
                collection: obj::collect(path, spec.objects_per_class)?,
            }),
        }
    }

    fn class_names(&self) -> Vec<String> {
        match self {
            Self::Procedural { .. } => Class::ALL.map(|class| class.name().to_owned()).to_vec(),
            Self::Meshes { collection, .. } => collection.class_names.clone(),
        }
    }

    /// Number of objects per class. Objects are numbered class by class.
    fn class_sizes(&self) -> Vec<usize> {
        match self {
            Self::Procedural { per_class, .. } => vec![*per_class; Class::ALL.len()],
            Self::Meshes { collection, .. } => {
                let mut sizes = vec![0; collection.class_names.len()];
                collection.meshes.iter().for_each(|(class, _)| sizes[*class] += 1);
                sizes
            }
        }
    }

    /// Objects (index, label) of the training and the test split. Within each class, they are in ascending
    /// order.
    fn split(&self, spec: &SolidsSpec) -> Result<[Vec<(usize, usize)>; 2]> {
        let mut splits = [Vec::new(), Vec::new()];
        let mut first = 0;
        for (class, size) in self.class_sizes().into_iter().enumerate() {
            if size < 2 {
                let name = &self.class_names()[class];
                let path = spec.meshes.clone().unwrap_or_default();
                let reason = format!("class {name} has {size} mesh, expected 2 or more: one for each split");
                return Err(Error::Format { path, reason });
            }
            let mut order: Vec<usize> = (0..size).collect();
            order.shuffle(&mut rng(spec.seed, 0, class as u64, Purpose::Subset));
            let held_out = spec.held_out(size);
            for (rank, split) in [(held_out..size, 0), (0..held_out, 1)] {
                let mut members = order[rank].to_vec();
                members.sort_unstable();
                splits[split].extend(members.into_iter().map(|member| (first + member, class)));
            }
            first += size;
        }
        Ok(splits)
    }

    /// Renders the views of `objects` (index, label).
    fn render(
        &self,
        spec: &SolidsSpec,
        objects: &[(usize, usize)],
        renderer: &Renderer,
        advance: &(dyn Fn() + Sync),
    ) -> Result<Split> {
        let (side, views) = (spec.side, spec.views);
        let mut images = Array4::<u8>::zeros((objects.len() * views, side, side, 3));
        let mut latents = Array2::<f32>::zeros((objects.len() * views, LATENTS));
        let image_rows =
            images.as_slice_mut().expect("a new array is contiguous").par_chunks_mut(views * side * side * 3);
        let latent_rows =
            latents.as_slice_mut().expect("a new array is contiguous").par_chunks_mut(views * LATENTS);
        objects.par_iter().zip(image_rows.zip(latent_rows)).try_for_each_init(
            Scratch::default,
            |scratch, (&(object, class), (images, latents))| {
                let built;
                let mesh = match self {
                    Self::Procedural { seed, .. } => {
                        built = Class::ALL[class].build(&mut rng(*seed, 0, object as u64, Purpose::Shape))?;
                        &built
                    }
                    Self::Meshes { collection, .. } => &collection.meshes[object].1,
                };
                render_object(spec.seed, object, mesh, renderer, scratch, images, latents);
                advance();
                Ok(())
            },
        )?;
        let labels =
            objects.iter().flat_map(|&(_, class)| std::iter::repeat_n(class as i32, views)).collect();
        let scene = (spec.kind == SetKind::Renders).then_some(SceneLatents { latents, views });
        Ok(Split { images, labels, scene })
    }

    /// How the set was made, without local paths.
    fn provenance(&self, spec: &SolidsSpec) -> serde_json::Value {
        let meshes = match self {
            Self::Procedural { .. } => serde_json::Value::Null,
            Self::Meshes { name, collection } => json!({ "name": name, "blake3": collection.checksum }),
        };
        let mut spec = json!(spec);
        spec["meshes"] = meshes;
        json!({
            "generator": "eqr-datasets solids",
            "crate_version": env!("CARGO_PKG_VERSION"),
            "generator_version": GENERATOR_VERSION,
            "spec": spec,
        })
    }
}

/// Sets of renders are recorded as they were before there were others.
fn is_renders(kind: &SetKind) -> bool {
    *kind == SetKind::Renders
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Draws the latents of all views of an object, (views, 7), and renders the views, (views, side, side, 3).
fn render_object(
    seed: u64,
    object: usize,
    mesh: &Mesh,
    renderer: &Renderer,
    scratch: &mut Scratch,
    images: &mut [u8],
    latents: &mut [f32],
) {
    let image_bytes = images.len() / (latents.len() / LATENTS);
    let rows = images.chunks_exact_mut(image_bytes).zip(latents.chunks_exact_mut(LATENTS));
    for (view, (image, row)) in rows.enumerate() {
        let drawn = Latents::draw(&mut rng(seed, view as u64, object as u64, Purpose::Latents));
        renderer.render(mesh, &drawn, scratch, image);
        row.copy_from_slice(&drawn.to_array());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn small() -> SolidsSpec {
        SolidsSpec {
            side: 16,
            objects_per_class: 3,
            views: 3,
            test_fraction: 0.34,
            seed: 5,
            ..SolidsSpec::default()
        }
    }

    fn quiet(spec: &SolidsSpec) -> Result<Dataset> {
        generate(spec, &|_, _| ())
    }

    #[test]
    fn photographs_are_the_renders_each_for_itself() {
        let renders = quiet(&small()).unwrap();
        let spec = SolidsSpec { kind: SetKind::Photographs, ..small() };
        let photographs = quiet(&spec).unwrap();
        assert_eq!(photographs.train.images, renders.train.images);
        assert_eq!(photographs.train.labels, renders.train.labels);
        assert!(photographs.train.scene.is_none() && photographs.kind == SetKind::Photographs);
        assert_eq!(spec.training_units().unwrap(), Some(photographs.train.labels.len()));
        assert_eq!(small().training_units().unwrap(), Some(photographs.train.labels.len() / 3));
        // one view is enough, and sets of renders are recorded as they always were
        SolidsSpec { views: 1, ..spec.clone() }.validate().unwrap();
        assert!(serde_json::to_value(small()).unwrap().get("kind").is_none());
        assert_eq!(photographs.provenance["spec"]["kind"], "photographs");
    }

    #[test]
    fn bytes_depend_on_the_seed_and_not_on_the_threads() {
        let with_threads = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| quiet(&small()).unwrap())
        };
        let one = with_threads(1);
        assert_eq!(one, with_threads(4));
        assert_ne!(one.train.images, quiet(&SolidsSpec { seed: 6, ..small() }).unwrap().train.images);
    }

    #[test]
    fn a_longer_set_starts_with_the_views_of_a_shorter_one() {
        let short = quiet(&small()).unwrap();
        let long = quiet(&SolidsSpec { views: 5, ..small() }).unwrap();
        for view in 0..3 {
            assert_eq!(
                short.train.images.index_axis(ndarray::Axis(0), view),
                long.train.images.index_axis(ndarray::Axis(0), view)
            );
        }
    }

    #[test]
    fn objects_are_split_with_every_class_on_both_sides() {
        let set = quiet(&small()).unwrap();
        assert_eq!((set.train.len(), set.test.len()), (16 * 2 * 3, 16 * 3));
        assert_eq!((set.train.units(), set.test.units()), (32, 16));
        let mut latents = HashSet::new();
        for split in [&set.train, &set.test] {
            let scene = split.scene.as_ref().unwrap();
            assert_eq!((scene.views, scene.latents.dim()), (3, (split.len(), LATENTS)));
            assert_eq!(split.labels.iter().collect::<HashSet<_>>().len(), set.class_names.len());
            assert!(split.labels.chunks(3).all(|views| views.iter().all(|label| *label == views[0])));
            for row in scene.latents.rows() {
                assert!(
                    latents.insert(row.iter().map(|value| value.to_bits()).collect::<Vec<_>>()),
                    "a view occurs twice"
                );
            }
        }
    }

    #[test]
    fn images_are_those_of_their_latents() {
        let set = quiet(&small()).unwrap();
        let source = ObjectSource::Procedural { per_class: 3, seed: 5 };
        let [_, test] = source.split(&small()).unwrap();
        let (object, class) = test[4];
        let mesh = Class::ALL[class].build(&mut rng(5, 0, object as u64, Purpose::Shape)).unwrap();
        let row = 4 * 3 + 1;
        let latents: Vec<f32> = set.test.scene.as_ref().unwrap().latents.row(row).to_vec();
        let image = crate::scene::render_view(&mesh, &latents.try_into().unwrap(), 16);
        let stored = set.test.images.index_axis(ndarray::Axis(0), row);
        assert!(stored.iter().eq(image.iter()));
        assert_eq!(set.test.labels[row], class as i32);
    }

    #[test]
    fn progress_ends_at_all_images() {
        let most = AtomicUsize::new(0);
        let set = generate(&small(), &|done, all| {
            assert!(done <= all && all == 16 * 3 * 3);
            most.fetch_max(done, Ordering::Relaxed);
        });
        assert_eq!(most.into_inner(), 16 * 3 * 3);
        assert!(set.unwrap().mean.iter().all(|mean| (0.3..0.7).contains(mean)));
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        for (spec, words) in [
            (SolidsSpec { side: 7, ..small() }, "side = 7"),
            (SolidsSpec { side: 1025, ..small() }, "8 to 1024"),
            (SolidsSpec { views: 1, ..small() }, "views = 1"),
            (SolidsSpec { objects_per_class: 1, ..small() }, "objects_per_class = 1"),
            (SolidsSpec { test_fraction: 0.0, ..small() }, "test_fraction = 0"),
            (SolidsSpec { test_fraction: f64::NAN, ..small() }, "test_fraction = NaN"),
            (SolidsSpec { name: String::new(), ..small() }, "name"),
            (SolidsSpec { views: usize::MAX / 2, ..small() }, "64 GiB"),
        ] {
            let error = quiet(&spec).unwrap_err();
            assert!(matches!(&error, Error::Invalid(message) if message.contains(words)), "{error}");
        }
    }

    fn write_meshes(folder: &Path, classes: &[(&str, usize)]) {
        for (class, count) in classes {
            std::fs::create_dir_all(folder.join(class)).unwrap();
            for file in 0..*count {
                let text = format!(
                    "v 0 0 0\nv {} 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n",
                    file + 2
                );
                std::fs::write(folder.join(class).join(format!("{file}.obj")), text).unwrap();
            }
        }
    }

    #[test]
    fn meshes_replace_the_procedural_objects() {
        let folder = tempfile::tempdir().unwrap();
        write_meshes(folder.path(), &[("wedge", 5), ("fin", 2)]);
        let spec = SolidsSpec { meshes: Some(folder.path().to_owned()), objects_per_class: 4, ..small() };
        let set = quiet(&spec).unwrap();
        assert_eq!(set.class_names, ["fin", "wedge"]);
        assert_eq!((set.train.len(), set.test.len()), ((1 + 3) * 3, 2 * 3));
        let provenance = set.provenance.to_string();
        assert!(!provenance.contains(&folder.path().parent().unwrap().to_string_lossy().into_owned()));
        assert_eq!(set.provenance["spec"]["meshes"]["blake3"].as_str().unwrap().len(), 64);
    }

    #[test]
    fn a_class_with_one_mesh_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        write_meshes(folder.path(), &[("wedge", 3), ("fin", 1)]);
        let error = quiet(&SolidsSpec { meshes: Some(folder.path().to_owned()), ..small() }).unwrap_err();
        assert!(error.to_string().contains("class fin has 1 mesh"), "{error}");
    }
}
