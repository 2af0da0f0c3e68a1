//! Known and unknown transformations: which training images have parameters that a method may see.

use rand::Rng;

use crate::draw::{Purpose, rng};
use crate::error::{Error, Result};

/// Number of known images among `images`.
pub fn known_image_count(images: usize, fraction: f64) -> usize {
    (fraction * images as f64).round() as usize
}

/// A random subset of the images 0..`images`, ascending, with round(`fraction` x `images`) elements. The
/// transformation parameters of these images are known; those of all other images are withheld.
///
/// Every image draws a number, and the images with the lowest numbers are chosen. The subset therefore
/// depends only on the three arguments, and a larger fraction includes the known images of every smaller one.
///
/// # Errors
/// [`Error::Invalid`] unless `fraction` is in [0, 1].
pub fn known_images(seed: u64, images: usize, fraction: f64) -> Result<Vec<usize>> {
    if !(0.0..=1.0).contains(&fraction) {
        return Err(Error::Invalid(format!(
            "the fraction of known images must be in [0, 1], but is {fraction}"
        )));
    }
    let draw = |image: usize| rng(seed, 0, image as u64, Purpose::Known).r#gen::<u64>();
    let mut draws: Vec<(u64, usize)> = (0..images).map(|image| (draw(image), image)).collect();
    draws.sort_unstable();
    draws.truncate(known_image_count(images, fraction));
    let mut known: Vec<usize> = draws.into_iter().map(|(_, image)| image).collect();
    known.sort_unstable();
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_exact_and_no_index_is_repeated() {
        for (images, fraction, count) in
            [(50_000, 0.2, 10_000), (7, 0.2, 1), (8, 0.2, 2), (10, 0.0, 0), (10, 1.0, 10), (0, 0.2, 0)]
        {
            let known = known_images(3, images, fraction).unwrap();
            assert_eq!(known.len(), count, "{fraction} of {images}");
            assert!(
                known.windows(2).all(|pair| pair[0] < pair[1]) && known.iter().all(|&image| image < images)
            );
        }
    }

    #[test]
    fn the_choice_is_a_function_of_the_seed() {
        let known = |seed| known_images(seed, 1000, 0.2).unwrap();
        assert_eq!(known(1), known(1));
        let shared = known(1).iter().filter(|image| known(2).contains(image)).count();
        // two independent subsets share 40 images on average, with a standard deviation of about 5
        assert!((15..65).contains(&shared), "{shared} of 200 shared");
    }

    #[test]
    fn a_larger_fraction_keeps_the_known_ones() {
        let few = known_images(5, 1000, 0.2).unwrap();
        let many = known_images(5, 1000, 0.5).unwrap();
        assert!(few.iter().all(|image| many.contains(image)));
    }

    #[test]
    fn every_image_is_as_likely_as_any_other() {
        let mut times = [0u32; 40];
        for seed in 0..2000 {
            known_images(seed, 40, 0.2).unwrap().into_iter().for_each(|image| times[image] += 1);
        }
        // 400 expected, with a standard deviation of 18
        assert!(times.iter().all(|times| (310..490).contains(times)), "{times:?}");
    }

    #[test]
    fn invalid_fractions_are_refused() {
        for fraction in [-0.1, 1.1, f64::NAN] {
            assert!(known_images(0, 10, fraction).unwrap_err().to_string().contains("in [0, 1]"));
        }
    }
}
