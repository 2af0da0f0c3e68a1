//! Representations of many images, encoded batch by batch into memory that is allocated once. Batches that
//! are kept and joined at the end would need it twice.

use tch::Tensor;

use crate::encoder::representation::Representation;

/// Representations of a known number of images.
pub struct Gathered {
    rows: i64,
    filled: i64,
    /// Room for all rows, from the first batch on.
    all: Option<Representation>,
}

impl Gathered {
    /// Of `rows` images.
    pub fn new(rows: usize) -> Gathered {
        Gathered { rows: rows as i64, filled: 0, all: None }
    }

    /// Appends a batch.
    ///
    /// # Panics
    /// Panics if there is no room for it, or if it has other columns than the first one.
    pub fn push(&mut self, batch: &Representation) {
        let rows = self.rows;
        let room = |part: &Tensor| part.new_empty([rows, part.size()[1]], (part.kind(), part.device()));
        let room = || Representation { y: room(&batch.y), grid: batch.grid.as_ref().map(room) };
        let all = self.all.get_or_insert_with(room);
        let count = batch.y.size()[0];
        let write = |to: &Tensor, from: &Tensor| to.narrow(0, self.filled, count).copy_(from);
        write(&all.y, &batch.y);
        match (&all.grid, &batch.grid) {
            (Some(all), Some(batch)) => write(all, batch),
            (None, None) => (),
            _ => panic!("either all batches have a token map or none has"),
        }
        self.filled += count;
    }

    /// The representations of all images.
    ///
    /// # Panics
    /// Panics if images are missing.
    pub fn finish(self) -> Representation {
        assert_eq!(self.filled, self.rows, "images with a representation");
        self.all.expect("at least one image")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_lie_one_after_the_other() {
        let batch = |start: i64, rows: i64| {
            let y = (Tensor::arange(2 * rows, (tch::Kind::Float, tch::Device::Cpu)) + start).view([rows, 2]);
            Representation { grid: Some(y.repeat([1, 2])), y }
        };
        let mut all = Gathered::new(5);
        all.push(&batch(0, 3));
        all.push(&batch(6, 2));
        let all = all.finish();
        assert_eq!(all.y, batch(0, 5).y);
        assert_eq!(all.grid, batch(0, 5).grid);
    }

    #[test]
    #[should_panic(expected = "images with a representation")]
    fn no_image_may_be_missing() {
        Gathered::new(2).finish();
    }
}
