//! The segmentation head learns the information in token maps, windows cover the whole image, and results do
//! not depend on the number of ranks.

use eqr_models::Solo;
use eqr_models::test_device::{test_device, test_tensor};
use eqr_models::thread_team::{Sums, run_on_threads};
use eqr_probes::Error;
use eqr_probes::hypernet::HyperNet;
use eqr_probes::scenes::{Scene, Scenes};
use eqr_probes::segmentation_head::{Encoder, Evaluated, Maps, SegmentConfig, evaluate, predict, train};
use tch::{Kind, Tensor};

const CLASSES: i64 = 3;
const VOID: i64 = 255;

/// Means over patches of side 4 and 8, with fixed mixtures of the colours as channels.
struct Patches;

impl Encoder for Patches {
    fn channels(&self) -> Vec<i64> {
        vec![6, 6]
    }

    fn maps(&self, images: &Tensor) -> Maps {
        let mix = (Tensor::arange(18, (Kind::Float, test_device())) * 1.3).sin().view([6, 3, 1, 1]);
        let mixed = images.conv2d::<Tensor>(&mix, None, [1, 1], [0, 0], [1, 1], 1);
        Ok([4, 8].map(|side| mixed.avg_pool2d([side, side], [side, side], [0, 0], false, true, None)).into())
    }
}

/// Noisy scenes of different sizes: a red rectangle of class 1 and a green one of class 2 on a blue
/// background of class 0. The top row is void.
struct Rectangles {
    count: usize,
    shift: i64,
}

impl Scenes for Rectangles {
    fn count(&self) -> usize {
        self.count
    }

    fn scene(&self, index: usize) -> Scene {
        let i = index as i64 + self.shift;
        let (height, width) = (40 + i % 3 * 12, 56 - i % 2 * 20);
        let mask = Tensor::zeros([height, width], (Kind::Int64, test_device()));
        let fill = |class: i64, top: i64, left: i64| {
            let _ = mask.narrow(0, top, 16).narrow(1, left, 16).fill_(class);
        };
        fill(1, 2 + i * 5 % 20, i * 7 % 20);
        fill(2, 20 + i * 3 % 4, i * 11 % 20);
        let noise =
            ((Tensor::arange(3 * height * width, (Kind::Float, test_device())) + i) * 78.233).sin() * 0.3;
        let colours = test_tensor(&[0.0f32, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0]).view([3, 3]);
        let image = colours.index_select(0, &mask.view([-1])).view([height, width, 3]).permute([2, 0, 1]);
        let _ = mask.narrow(0, 0, 1).fill_(VOID);
        Ok((image + noise.view([3, height, width]), mask))
    }
}

fn quick() -> SegmentConfig {
    SegmentConfig {
        width: 16,
        steps: 60,
        batch: 4,
        crop: 32,
        stride: 21,
        lr: 1e-2,
        ..SegmentConfig::default()
    }
}

#[test]
fn colours_are_learned_and_found_in_new_scenes() {
    let config = quick();
    let mut losses = Vec::new();
    let scenes = Rectangles { count: 12, shift: 0 };
    let head = train(&Patches, &scenes, (CLASSES, VOID), 0, &config, &Solo, &mut |_, loss| losses.push(loss))
        .unwrap();
    assert!(losses.len() == 60 && losses[59] < 0.5 * losses[0], "{losses:?}");
    let score = |head: &HyperNet| {
        let new = Rectangles { count: 5, shift: 100 };
        evaluate(&Patches, head, &new, (CLASSES, VOID), &config, &Solo, &mut |_, _| {})
            .unwrap()
            .confusion
            .score()
            .unwrap()
    };
    let (trained, fresh) = (score(&head), score(&HyperNet::new(&[6, 6], 16, CLASSES, 0, test_device())));
    assert!(trained.miou > 0.7 && fresh.miou < 0.4, "{trained:?} {fresh:?}");
    // the same seed trains the same head
    let again = train(
        &Patches,
        &scenes,
        (CLASSES, VOID),
        0,
        &SegmentConfig { steps: 3, ..config },
        &Solo,
        &mut |step, loss| {
            assert!((loss - losses[step]).abs() < 1e-5, "step {step}: {loss} {}", losses[step]);
        },
    );
    assert!(again.is_ok());
}

/// The losses of all steps, the confusion matrix over 21 scenes, and the draws of its mIoU, for each rank.
fn on_ranks(ranks: usize, config: &SegmentConfig) -> Vec<(Vec<f64>, Vec<u64>, Vec<f64>)> {
    run_on_threads(ranks, Sums::AtOnce, |ranks| {
        let mut losses = Vec::new();
        let scenes = Rectangles { count: 9, shift: 0 };
        let mut tick = |_, loss| losses.push(loss);
        let head = train(&Patches, &scenes, (CLASSES, VOID), 1, config, ranks, &mut tick).unwrap();
        let test = Rectangles { count: 21, shift: 50 };
        let mut last = (0, 0);
        let mut tick = |done, all| last = (done, all);
        let Evaluated { confusion, scenes } =
            evaluate(&Patches, &head, &test, (CLASSES, VOID), config, ranks, &mut tick).unwrap();
        assert_eq!(last.0, last.1, "every scene of the rank is done");
        let draws = scenes.resample().unwrap().miou.values().to_vec();
        (losses, confusion.pixels().to_vec(), draws)
    })
}

/// Includes batches that do not divide evenly, and one with fewer crops than ranks.
#[test]
fn ranks_change_nothing() {
    for batch in [5, 2] {
        let config = SegmentConfig { steps: 12, batch, ..quick() };
        let (losses, pixels, draws) = on_ranks(1, &config).remove(0);
        let all: u64 = pixels.iter().sum();
        for ranks in [2, 3] {
            let found = on_ranks(ranks, &config);
            assert!(found.iter().all(|rank| rank == &found[0]), "every rank has the same");
            for (step, (one, many)) in losses.iter().zip(&found[0].0).enumerate() {
                assert!(
                    (one - many).abs() < 1e-4 * one,
                    "batch {batch}, {ranks} ranks, step {step}: {one} {many}"
                );
            }
            assert_eq!(found[0].1.iter().sum::<u64>(), all, "every scene counts once");
            let apart: u64 = pixels.iter().zip(&found[0].1).map(|(a, b)| a.abs_diff(*b)).sum();
            assert!(apart * 1000 < all, "batch {batch}, {ranks} ranks: {apart} of {all} pixels");
            let off = draws.iter().zip(&found[0].2).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(off < 0.01, "the scenes keep their places: {off}");
        }
    }
}

/// Every pixel gets a class if the image is smaller than a window, equal in size, or larger by any number of
/// pixels. With a single window, the result equals the head's own prediction.
#[test]
fn windows_cover_every_image() {
    let head = HyperNet::new(&[6, 6], 8, CLASSES, 3, test_device());
    let config = quick();
    for (height, width) in [(20, 50), (32, 32), (33, 95), (75, 32)] {
        let image = Tensor::ones([3, height, width], (Kind::Float, test_device()));
        let found = predict(&Patches, &head, &image, &config).unwrap();
        assert_eq!(found.size(), [height, width]);
        assert!(found.min().int64_value(&[]) >= 0 && found.max().int64_value(&[]) < CLASSES);
    }
    let (image, _) = Rectangles { count: 1, shift: 0 }.scene(0).unwrap();
    let image = image.narrow(1, 0, 32).narrow(2, 0, 32);
    let logits = head.forward(&Patches.maps(&image.unsqueeze(0)).unwrap(), (32, 32)).upsample_bilinear2d(
        [32, 32],
        false,
        None,
        None,
    );
    assert!(
        predict(&Patches, &head, &image, &config).unwrap().equal(&logits.argmax(1, false).squeeze_dim(0))
    );
}

/// [`Patches`] with a different announcement of maps.
struct Announces(Vec<i64>);

impl Encoder for Announces {
    fn channels(&self) -> Vec<i64> {
        self.0.clone()
    }

    fn maps(&self, images: &Tensor) -> Maps {
        Patches.maps(images)
    }
}

/// A single scene, created by this function.
struct Bad(fn() -> Scene);

impl Scenes for Bad {
    fn count(&self) -> usize {
        1
    }

    fn scene(&self, _: usize) -> Scene {
        (self.0)()
    }
}

#[test]
fn bad_input_is_refused() {
    let refused = |scenes: &dyn Scenes, config: &SegmentConfig| {
        let result = train(&Patches, scenes, (CLASSES, VOID), 0, config, &Solo, &mut |_, _| {});
        result.err().expect("an error").to_string()
    };
    let image = || Tensor::zeros([3, 40, 40], (Kind::Float, test_device()));
    let unreadable = refused(&Bad(|| Err("torn off".into())), &quick());
    assert!(unreadable.contains("scene 0") && unreadable.contains("torn off"), "{unreadable}");
    let small = refused(
        &Bad(|| {
            Ok((
                Tensor::zeros([3, 40, 40], (tch::Kind::Float, test_device())),
                Tensor::zeros([40, 39], (tch::Kind::Int64, test_device())),
            ))
        }),
        &quick(),
    );
    assert!(small.contains("[40, 39]") && small.contains("[40, 40]"), "{small}");
    let wild = refused(
        &Bad(|| {
            Ok((
                Tensor::zeros([3, 40, 40], (tch::Kind::Float, test_device())),
                Tensor::full([40, 40], 7, (tch::Kind::Int64, test_device())),
            ))
        }),
        &quick(),
    );
    assert!(wild.contains("7..=7") && wild.contains("0..3"), "{wild}");
    let stride = refused(&Rectangles { count: 1, shift: 0 }, &SegmentConfig { stride: 33, ..quick() });
    assert!(stride.contains("stride = 33"), "{stride}");
    for (encoder, says) in
        [(Announces(vec![]), "no token map"), (Announces(vec![6]), "2 token maps, expected 1")]
    {
        let scenes = Rectangles { count: 1, shift: 0 };
        let result = train(&encoder, &scenes, (CLASSES, VOID), 0, &quick(), &Solo, &mut |_, _| {});
        let text = result.err().expect("an error").to_string();
        assert!(text.contains(says), "{text}");
    }
    let narrow = train(
        &Announces(vec![6, 5]),
        &Rectangles { count: 1, shift: 0 },
        (CLASSES, VOID),
        0,
        &quick(),
        &Solo,
        &mut |_, _| {},
    );
    let narrow = narrow.err().expect("an error").to_string();
    assert!(narrow.contains("(4, 5, h, w)"), "{narrow}");
    let one =
        train(&Patches, &Rectangles { count: 1, shift: 0 }, (1, VOID), 0, &quick(), &Solo, &mut |_, _| {});
    assert!(matches!(one.err(), Some(Error::Config { key: "classes", .. })));
    let mut void = eqr_probes::confusion::Confusion::new(3);
    void.add(
        &image().get(0).to_kind(Kind::Int64),
        &Tensor::full([40, 40], VOID, (Kind::Int64, test_device())),
        VOID,
    )
    .unwrap();
    assert!(matches!(void.score(), Err(Error::Empty { .. })));
}
