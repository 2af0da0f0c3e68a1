//! Tensors as a file describes them, and their values as contiguous bytes.

use std::sync::Arc;

use crate::element::Element;

/// Most axes of a tensor.
const MOST_AXES: usize = 8;

/// A tensor's elements, contiguous, little-endian, the last axis fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct RawTensor {
    /// Type of the elements.
    pub element: Element,
    /// Length of each axis.
    pub shape: Vec<i64>,
    /// The elements.
    pub bytes: Vec<u8>,
}

/// A block of memory that tensors are views of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Storage {
    /// Name of the block in the file.
    pub key: Arc<str>,
    pub element: Element,
    /// Number of elements.
    pub count: usize,
}

/// A view of a storage. [`View::new`] checks that it lies inside.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    pub storage: Storage,
    offset: usize,
    pub shape: Vec<usize>,
    strides: Vec<usize>,
}

impl Storage {
    /// Its size in bytes, if that is a number of this machine.
    pub fn size(&self) -> Option<usize> {
        self.count.checked_mul(self.element.bytes())
    }
}

impl View {
    /// The view of `storage` from element `offset`, with `strides` in elements.
    ///
    /// # Errors
    /// A view that leaves its storage or has more elements than it.
    pub fn new(
        storage: Storage,
        offset: usize,
        shape: Vec<usize>,
        strides: Vec<usize>,
    ) -> Result<View, String> {
        let text = || {
            let count = storage.count;
            format!("a tensor of shape {shape:?}, strides {strides:?}, from {offset} of a storage of {count}")
        };
        if shape.len() != strides.len() || shape.len() > MOST_AXES {
            return Err(format!("{}: expected one stride for each of at most {MOST_AXES} axes", text()));
        }
        let count = shape.iter().try_fold(1usize, |count, &side| count.checked_mul(side));
        let inside = match count {
            Some(0) => true,
            Some(count) if count <= storage.count => {
                let last = shape.iter().zip(&strides).try_fold(offset, |last, (&side, &stride)| {
                    last.checked_add(stride.checked_mul(side - 1)?)
                });
                last.is_some_and(|last| last < storage.count)
            }
            _ => false,
        };
        if inside {
            Ok(View { storage, offset, shape, strides })
        } else {
            Err(format!("{}: outside it", text()))
        }
    }

    /// Size of its elements in bytes.
    pub fn size(&self) -> usize {
        self.shape.iter().product::<usize>() * self.storage.element.bytes()
    }

    /// Copies the elements out of the `bytes` of the storage, which are as many as it has.
    pub fn gather(&self, bytes: &[u8]) -> RawTensor {
        let (element, width) = (self.storage.element, self.storage.element.bytes());
        let shape = self.shape.iter().map(|&side| side as i64).collect();
        let count: usize = self.shape.iter().product();
        let bytes = if count == 0 || self.is_contiguous() {
            let start = if count == 0 { 0 } else { self.offset * width };
            bytes[start..start + count * width].to_vec()
        } else {
            self.strided(bytes, width, count)
        };
        RawTensor { element, shape, bytes }
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&side, &stride)| {
            let fits = side == 1 || stride == expected;
            expected *= side;
            fits
        })
    }

    fn strided(&self, bytes: &[u8], width: usize, count: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(count * width);
        let mut index = vec![0; self.shape.len()];
        for _ in 0..count {
            let place =
                self.offset + index.iter().zip(&self.strides).map(|(i, stride)| i * stride).sum::<usize>();
            out.extend_from_slice(&bytes[place * width..][..width]);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                if index[axis] < self.shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(offset: usize, shape: &[usize], strides: &[usize]) -> Result<View, String> {
        let storage = Storage { key: "0".into(), element: Element::U8, count: 12 };
        View::new(storage, offset, shape.to_vec(), strides.to_vec())
    }

    #[test]
    fn strides_and_offsets_are_honoured() {
        let bytes: Vec<u8> = (0..12).collect();
        let read = |offset, shape: &[usize], strides: &[usize]| {
            view(offset, shape, strides).unwrap().gather(&bytes).bytes
        };
        assert_eq!(read(4, &[2, 3], &[3, 1]), [4, 5, 6, 7, 8, 9]);
        assert_eq!(read(0, &[3, 4], &[1, 3]), [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]);
        assert_eq!(read(1, &[2, 2], &[6, 2]), [1, 3, 7, 9]);
        assert_eq!(read(2, &[3], &[0]), [2, 2, 2]);
        assert_eq!(read(11, &[], &[]), [11]);
        assert!(read(99, &[0, 4], &[4, 1]).is_empty());
    }

    #[test]
    fn views_stay_inside_their_storage() {
        for (offset, shape, strides) in [
            (12, vec![1], vec![1]),
            (10, vec![3], vec![1]),
            (0, vec![13], vec![0]),
            (0, vec![usize::MAX, usize::MAX], vec![0, 0]),
            (0, vec![2], vec![usize::MAX]),
            (usize::MAX, vec![2], vec![1]),
            (0, vec![2, 2], vec![1]),
            (0, vec![1; 9], vec![1; 9]),
        ] {
            assert!(view(offset, &shape, &strides).is_err(), "{offset} {shape:?} {strides:?}");
        }
    }
}
