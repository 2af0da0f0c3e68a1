//! The latents of rendered scenes.

use ndarray::Array2;

/// Number of latents of a render.
pub const LATENTS: usize = 7;

/// The latents of all renders of a split.
#[derive(Clone, Debug, PartialEq)]
pub struct SceneLatents {
    /// (N, 7) in 3DIEBench's order: object angles about x, y, z (radians, extrinsic xyz), floor hue (turns),
    /// light theta, light phi (radians), light hue (turns).
    pub latents: Array2<f32>,
    /// Number of views per object. Images k * views .. (k + 1) * views are the views of object k.
    pub views: usize,
}

impl SceneLatents {
    /// Checks the latents of a split with `count` images. The error says what is wrong.
    pub(crate) fn check(&self, count: usize) -> Result<(), String> {
        if self.latents.shape() != [count, LATENTS] {
            return Err(format!(
                "latents of shape {:?}, expected [{count}, {LATENTS}]",
                self.latents.shape()
            ));
        }
        if self.views == 0 || !count.is_multiple_of(self.views) {
            return Err(format!("{count} images are not a multiple of {} views per object", self.views));
        }
        match self.latents.rows().into_iter().position(|row| row.iter().any(|value| !value.is_finite())) {
            Some(image) => Err(format!("the latents of image {image} are not finite")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_views_and_values_are_checked() {
        let scene = |shape, views| SceneLatents { latents: Array2::zeros(shape), views };
        assert_eq!(scene((4, 7), 2).check(4), Ok(()));
        assert!(scene((4, 6), 2).check(4).unwrap_err().contains("expected [4, 7]"));
        assert!(scene((3, 7), 2).check(3).unwrap_err().contains("not a multiple of 2 views"));
        assert!(scene((4, 7), 0).check(4).is_err());
        let mut infinite = scene((4, 7), 2);
        infinite.latents[(3, 0)] = f32::INFINITY;
        assert!(infinite.check(4).unwrap_err().contains("image 3"));
    }
}
