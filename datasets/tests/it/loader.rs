//! Reading a pack batch by batch gives the same images for any number of ranks and threads, and the same as
//! loading.

use std::fs;
use std::path::{Path, PathBuf};

use eqr_datasets::draw::{Purpose, rng};
use eqr_datasets::packing::{Resize, pack};
use eqr_datasets::sources::CLASS_FOLDERS;
use eqr_datasets::transforms::{base_view, field_side};
use eqr_datasets::{Loader, Pack};
use image::{Rgb, RgbImage};
use rand::seq::SliceRandom;
use tch::{IndexOp, Kind, Tensor};

use crate::common::spec;

/// Seed and epoch of the draws.
const KEYS: (u64, u64) = (5, 2);

fn picture(width: u32, height: u32, salt: u32) -> RgbImage {
    let wave = |at: u32, slow: u32| (128.0 + 100.0 * ((at + salt * 3) as f32 / slow as f32).sin()) as u8;
    RgbImage::from_fn(width, height, |x, y| Rgb([wave(x, 5), wave(y, 7), wave(x + 2 * y, 9 + salt % 5)]))
}

/// A pack of two classes of 20 images with the sizes of `size`.
fn packed(folder: &Path, size: impl Fn(u32) -> (u32, u32), resize: Resize) -> PathBuf {
    let input = folder.join("photos");
    for index in 0..40 {
        let (width, height) = size(index);
        let class = input.join(["cat", "dog"][index as usize % 2]);
        fs::create_dir_all(&class).unwrap();
        // both file formats
        let kind = if index % 3 == 0 { "jpg" } else { "png" };
        picture(width, height, index).save(class.join(format!("{index:02}.{kind}"))).unwrap();
    }
    let out = folder.join("photos.h5");
    pack(&CLASS_FOLDERS, &input, &out, &spec(resize, 0.25, 1), &|_, _| ()).unwrap();
    out
}

fn of_all_sizes(index: u32) -> (u32, u32) {
    (24 + index * 2, 70 - index)
}

fn loader(pack: &Path, side: usize) -> Loader {
    Loader::new(Pack::open(pack).unwrap().split("train").unwrap().clone(), side)
}

fn views(loader: &Loader, indices: &[usize]) -> Tensor {
    loader.base_views(indices, KEYS.0, KEYS.1, 1.0).unwrap()
}

/// The images of a split in the order of an epoch.
fn order(loader: &Loader) -> Vec<usize> {
    let mut order: Vec<usize> = (0..loader.split().units()).collect();
    order.shuffle(&mut rng(KEYS.0, KEYS.1, 0, Purpose::Shuffle));
    order
}

#[test]
fn ranks_that_read_shares_of_each_batch_read_what_one_reads() {
    let folder = tempfile::tempdir().unwrap();
    let pack = packed(folder.path(), of_all_sizes, Resize::Keep);
    let alone = loader(&pack, 16);
    let order = order(&alone);
    assert_eq!(order.len(), 30);
    for ranks in [1, 2, 3] {
        // each rank opens the pack, and all read at the same time
        let read = |rank: usize| -> Vec<[Tensor; 2]> {
            let own = loader(&pack, 16);
            let share = |batch: &[usize]| {
                let (from, to) = (batch.len() * rank / ranks, batch.len() * (rank + 1) / ranks);
                [views(&own, &batch[from..to]), own.squares(&batch[from..to]).unwrap()]
            };
            order.chunks(7).map(share).collect()
        };
        let of_ranks: Vec<Vec<[Tensor; 2]>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..ranks).map(|rank| scope.spawn(move || read(rank))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (step, batch) in order.chunks(7).enumerate() {
            let whole = [views(&alone, batch), alone.squares(batch).unwrap()];
            for (what, whole) in whole.iter().enumerate() {
                let parts: Vec<&Tensor> = of_ranks.iter().map(|rank| &rank[step][what]).collect();
                assert!(Tensor::cat(&parts, 0) == *whole, "{ranks} ranks, step {step}");
            }
        }
    }
}

#[test]
fn squares_of_images_of_one_size_are_the_images_that_loading_gives() {
    for resize in [Resize::Keep, Resize::Square(24)] {
        let folder = tempfile::tempdir().unwrap();
        let pack = packed(folder.path(), |_| (24, 24), resize);
        let streamed = loader(&pack, 24);
        assert_eq!(streamed.split().is_decoded(), resize != Resize::Keep);
        let images = streamed.split().load().unwrap().images;
        let resident =
            Tensor::from_slice(images.as_slice().unwrap()).view([30, 24, 24, 3]).permute([0, 3, 1, 2]);
        let indices = [29, 0, 7, 7, 12];
        let expected = resident.index_select(0, &Tensor::from_slice(&indices.map(|index| index as i64)));
        assert!(streamed.squares(&indices).unwrap() == expected, "{resize:?}");
    }
}

/// The two computations of view 1 differ in rounding: 8 bits after each axis here, floats there.
#[test]
fn streamed_views_are_those_of_images_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let streamed = loader(&packed(folder.path(), |_| (40, 40), Resize::Keep), 40);
    let indices: Vec<usize> = (0..30).collect();
    let keys: Vec<u64> = indices.iter().map(|&index| index as u64).collect();
    let resident = streamed.squares(&indices).unwrap();
    let expected = base_view(&resident, &keys, KEYS.0, KEYS.1, 1.0).pixels();
    let difference = (views(&streamed, &indices).to_kind(Kind::Float) / 255.0 - expected).abs();
    let largest = difference.max().double_value(&[]) * 255.0;
    assert!(largest < 2.0, "{largest} of 255");
}

#[test]
fn a_view_depends_on_seed_epoch_and_image_alone() {
    let folder = tempfile::tempdir().unwrap();
    let pack = packed(folder.path(), of_all_sizes, Resize::Keep);
    let all = loader(&pack, 16);
    let indices: Vec<usize> = (0..30).collect();
    let whole = views(&all, &indices);
    assert_eq!(whole.size(), [30, 3, 16, 16]);
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(pool.install(|| views(&all, &indices)) == whole, "{threads} threads");
    }
    let mixed = [9, 28, 9, 3];
    let part = views(&all, &mixed);
    for (row, &index) in mixed.iter().enumerate() {
        assert!(part.i(row as i64) == whole.i(index as i64), "image {index} in another batch");
    }
    let other = |seed, epoch| all.base_views(&indices, seed, epoch, 1.0).unwrap();
    assert!(other(KEYS.0, KEYS.1 + 1) != whole && other(KEYS.0 + 1, KEYS.1) != whole);
    assert_eq!(all.base_views(&[], 0, 0, 1.0).unwrap().size(), [0, 3, 16, 16]);
    let field = field_side(16, 1.5) as i64;
    assert_eq!(all.base_views(&[4], 0, 0, 1.5).unwrap().size(), [1, 3, field, field]);
}

#[test]
fn a_damaged_image_is_named_and_the_others_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let pack = packed(folder.path(), of_all_sizes, Resize::Keep);
    let file = loader(&pack, 16).split().image_file(11).unwrap().unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    let place = bytes.windows(file.len()).position(|window| window == file).unwrap();
    bytes[place..place + 16].fill(0);
    fs::write(&pack, bytes).unwrap();
    let read = loader(&pack, 16);
    let error = read.squares(&[10, 11]).unwrap_err().to_string();
    assert!(error.contains("photos.h5") && error.contains("train image 11 is damaged"), "{error}");
    assert!(read.squares(&[10, 12]).is_ok());
}
