//! Pairs of renders: every image that is drawn is encoded once, and the pairs of its object are drawn anew
//! for each epoch of the probes.

use std::rc::Rc;

use anyhow::Result;
use eqr_datasets::{HostNumbers, view_pairs};
use eqr_probes::bootstrap::Objects;
use eqr_probes::redraw::{EpochPairs, PairDraw};
use tch::{Device, Kind, Tensor};

use crate::data::pairs::{PairSource, render_parameters};
use crate::encoder::representation::{FeatureEncoder, Representation};
use crate::measure::evaluation::encode;
use crate::measure::pair_features::RedrawnPairs;

/// Which pairs are drawn from a split of renders.
#[derive(Clone, Copy, Debug)]
pub(super) struct RenderDraws {
    /// Number of pairs of an epoch.
    pub count: usize,
    /// With the epoch, what the pairs depend on.
    pub seed: u64,
    /// Number of epochs with pairs of their own.
    pub epochs: usize,
}

impl RenderDraws {
    /// Both images of every pair of an epoch, unit by unit.
    fn pairs(self, source: &PairSource, epoch: u64) -> Vec<[usize; 2]> {
        let scene = source.scene().expect("renders have scenes");
        unit_draws(source.units(), self.count, epoch)
            .flat_map(|(draw, units)| view_pairs(scene.views, self.seed, draw, &units))
            .collect()
    }

    /// The images that are in a pair of any epoch, ascending.
    pub fn images(self, source: &PairSource) -> Vec<usize> {
        let all = source.indices();
        let mut drawn = vec![false; source.len()];
        let mut left = all.len();
        for epoch in 0..self.epochs.max(1) as u64 {
            for image in self.pairs(source, epoch).into_iter().flatten() {
                left -= usize::from(!std::mem::replace(&mut drawn[image], true));
            }
            if left == 0 {
                break;
            }
        }
        all.into_iter().filter(|&image| drawn[image]).collect()
    }
}

/// The encoded images of a split, and how pairs are drawn from them.
pub(super) struct Renders {
    images: Representation,
    /// The number of each image in the split, ascending.
    numbers: Rc<[usize]>,
    /// Images of one object in the split.
    views: usize,
    draw: PairDraw,
}

impl Renders {
    /// Encodes the images of `source` that are drawn, each once.
    pub(super) fn encode(
        encoder: &dyn FeatureEncoder,
        source: &PairSource,
        draws: RenderDraws,
    ) -> Result<Renders> {
        let numbers: Rc<[usize]> = draws.images(source).into();
        let images = encode(encoder, source, &numbers)?;
        let draw = draw(source.share(), draws, numbers.clone(), images.y.device());
        Ok(Renders { images, numbers, views: source.views(), draw })
    }

    /// Representations of the first and second views, and the parameters between them, in epoch 0.
    pub(super) fn first_epoch(&self) -> (Representation, Representation, Tensor) {
        let EpochPairs { first, second, parameters } = (self.draw)(0);
        (self.images.select(&first), self.images.select(&second), parameters)
    }

    /// y of every image, (I, D).
    pub(super) fn images(&self) -> &Tensor {
        &self.images.y
    }

    /// The pairs of epoch 0.
    pub(super) fn rows(&self) -> EpochPairs {
        (self.draw)(0)
    }

    /// The object of each pair of epoch 0.
    pub(super) fn objects(&self) -> Objects {
        let first = (self.draw)(0).first.to_device(Device::Cpu);
        let first: Vec<i64> = Vec::try_from(&first).expect("one row a pair");
        let object = |row: i64| (self.numbers[row as usize] / self.views) as i64;
        Objects::new(&first.into_iter().map(object).collect::<Vec<_>>())
    }

    /// The pairs of later epochs, with `outputs` parameters from column `start` on as targets.
    pub(super) fn redrawn(&self, start: i64, outputs: i64) -> RedrawnPairs {
        RedrawnPairs { images: self.images.shallow_clone(), draw: self.draw.clone(), start, outputs }
    }
}

/// Draws the pairs of an epoch as rows of the images `numbers`, which are ascending and hold all that are
/// drawn.
pub(super) fn draw(source: PairSource, draws: RenderDraws, numbers: Rc<[usize]>, device: Device) -> PairDraw {
    Rc::new(move |epoch| {
        let pairs = draws.pairs(&source, epoch);
        let row = |image: usize| numbers.binary_search(&image).expect("every image that is drawn has a row");
        let mut sent = HostNumbers::default();
        let [first, second] = [0, 1]
            .map(|which| sent.push_indices(&pairs.iter().map(|pair| row(pair[which])).collect::<Vec<_>>()));
        let scene = source.scene().expect("renders have scenes");
        let parameters = sent.push(&[pairs.len() as i64, 6], render_parameters(scene, &pairs));
        let sent = sent.on_device(device);
        EpochPairs {
            first: sent.get(&first, Kind::Int64),
            second: sent.get(&second, Kind::Int64),
            parameters: sent.get(&parameters, Kind::Float),
        }
    })
}

/// (draw, units) until `count` pairs are drawn, one pair per unit and draw. No two epochs share a draw. The
/// last draw may be of some units only; each epoch goes on where the one before it stopped.
fn unit_draws(units: &[usize], count: usize, epoch: u64) -> impl Iterator<Item = (u64, Vec<usize>)> {
    let rows = units.len();
    let draws = count.div_ceil(rows);
    let rest = count - (draws - 1) * rows;
    let start = (epoch as usize * rest) % rows;
    (0..draws).map(move |draw| {
        let last = draw + 1 == draws;
        let (from, length) = if last { (start, rest) } else { (0, rows) };
        let mut units: Vec<usize> = units.iter().cycle().skip(from).take(length).copied().collect();
        units.sort_unstable();
        (epoch * draws as u64 + draw as u64, units)
    })
}

#[cfg(test)]
mod tests {
    use eqr_datasets::{Dataset, Pack, SceneLatents, SetKind, Split};
    use ndarray::{Array2, Array4};

    use super::*;
    use crate::data::open::OpenedPack;
    use crate::suite_file::transforms::Transforms;

    const VIEWS: usize = 5;

    const DRAWS: RenderDraws = RenderDraws { count: 8, seed: 1, epochs: 2 };

    /// Represents an image by its upper left pixel, which here is the index of the image.
    struct Index;

    impl FeatureEncoder for Index {
        fn represent(&self, images: &Tensor) -> Result<Representation> {
            let y = images.narrow(2, 0, 1).narrow(3, 0, 1).reshape([-1, 3]).narrow(1, 0, 2);
            Ok(Representation { y: y * 255.0, grid: None })
        }
    }

    /// Four objects with five views each. The floor hue of image i is i / 20.
    fn source(folder: &tempfile::TempDir) -> PairSource {
        let split = || Split {
            images: Array4::from_shape_fn((20, 4, 4, 3), |(i, ..)| i as u8),
            labels: vec![0; 20],
            scene: Some(SceneLatents {
                latents: Array2::from_shape_fn((20, 7), |(i, j)| if j == 3 { i as f32 / 20.0 } else { 0.1 }),
                views: VIEWS,
            }),
        };
        let dataset = Dataset {
            name: "set".into(),
            kind: SetKind::Renders,
            class_names: vec!["a".into()],
            mean: [0.0; 3],
            std: [1.0; 3],
            train: split(),
            test: split(),
            provenance: serde_json::Value::Null,
        };
        let path = folder.path().join("set.h5");
        dataset.write(&path).unwrap();
        let opened = OpenedPack { pack: Pack::open(&path).unwrap(), side: 4 };
        PairSource::new(&opened, "train", &Transforms::default(), Device::Cpu).unwrap()
    }

    #[test]
    fn units_are_drawn_again_until_there_are_enough_pairs() {
        let draws = |epoch| -> Vec<(u64, Vec<usize>)> { unit_draws(&[3, 5, 9], 7, epoch).collect() };
        assert_eq!(draws(0), [(0, vec![3, 5, 9]), (1, vec![3, 5, 9]), (2, vec![3])]);
        assert_eq!(draws(2), [(6, vec![3, 5, 9]), (7, vec![3, 5, 9]), (8, vec![9])]);
    }

    /// One pair of each of two objects: at most four images of the first epoch, which keep their objects.
    #[test]
    fn only_images_that_are_drawn_are_encoded() {
        let folder = tempfile::tempdir().unwrap();
        let source = source(&folder).restricted(&[1, 3]);
        let once = RenderDraws { count: 2, epochs: 1, ..DRAWS };
        let renders = Renders::encode(&Index, &source, once).unwrap();
        assert_eq!((renders.images.y.size()[0], renders.numbers.len()), (4, 4));
        let (first, second, _) = renders.first_epoch();
        let image = |view: &Representation, pair| view.y.double_value(&[pair, 0]).round() as usize;
        for (pair, object) in [(0, 1), (1, 3)] {
            assert_eq!([&first, &second].map(|view| image(view, pair) / VIEWS), [object; 2]);
        }
        assert_eq!(renders.objects(), Objects::new(&[1, 3]));
        assert_eq!(RenderDraws { epochs: 100, ..once }.images(&source), source.indices());
    }

    /// Every epoch has other pairs, each of two views of one object, with the parameters between those views.
    #[test]
    fn an_epoch_draws_its_own_pairs_of_each_object() {
        let folder = tempfile::tempdir().unwrap();
        let source = source(&folder).restricted(&[0, 2, 3]);
        let renders = Renders::encode(&Index, &source, DRAWS).unwrap();
        let redraw = renders.redrawn(4, 2).redraw(crate::registry::Readout::Y, Rc::new(|t, _| t.copy()));
        let epoch = |epoch: u64| {
            let pairs = (redraw.pairs)(epoch);
            let images =
                Vec::<f32>::try_from(redraw.features(&pairs).to_kind(Kind::Float).view([-1])).unwrap();
            let hue = Vec::<f32>::try_from(redraw.targets(&pairs, epoch).select(1, 0)).unwrap();
            let images: Vec<[usize; 2]> =
                images.chunks(4).map(|pair| [pair[0].round() as usize, pair[2].round() as usize]).collect();
            (images, hue)
        };
        let (first, hue) = epoch(0);
        assert_eq!(first.len(), 8);
        for ([one, two], hue) in first.iter().zip(hue) {
            assert!(one / VIEWS == two / VIEWS && one != two && one / VIEWS != 1, "{one} {two}");
            assert!((hue - (*two as f32 - *one as f32) / 20.0).abs() < 1e-6, "{one} {two}: {hue}");
        }
        assert_eq!(epoch(0).0, first);
        assert_ne!(epoch(1).0, first);
        let again = Renders::encode(&Index, &source, DRAWS).unwrap().first_epoch();
        let rows: Vec<f32> = Vec::try_from(again.0.y.select(1, 0)).unwrap();
        assert_eq!(
            rows.iter().map(|row| row.round() as usize).collect::<Vec<_>>(),
            first.iter().map(|pair| pair[0]).collect::<Vec<_>>()
        );
        assert_ne!(
            (Renders::encode(&Index, &source, RenderDraws { seed: 2, ..DRAWS }).unwrap().draw)(0).first,
            (redraw.pairs)(0).first
        );
    }
}
