//! How the images or masks of a split are stored.

/// How images or masks are stored in a pack.
#[derive(Clone, Debug, PartialEq)]
pub enum Storage {
    /// As pixel arrays of one size.
    Pixels {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// 3 for images, 1 for masks.
        channels: usize,
    },
    /// As files: JPEG, PNG, GIF, BMP, WebP or TIFF for images, PNG for masks.
    Encoded {
        /// Offset and length of each file.
        places: Vec<[u64; 2]>,
        /// Height and width of each image.
        sizes: Vec<[u32; 2]>,
    },
}

impl Storage {
    /// Offset and length of image `index` within the bytes of all images.
    pub(super) fn place(&self, index: usize) -> [u64; 2] {
        match self {
            Storage::Pixels { height, width, channels } => {
                let bytes = (height * width * channels) as u64;
                [index as u64 * bytes, bytes]
            }
            Storage::Encoded { places, .. } => places[index],
        }
    }

    /// Height and width of image `index`.
    pub(super) fn size(&self, index: usize) -> [usize; 2] {
        match self {
            Storage::Pixels { height, width, .. } => [*height, *width],
            Storage::Encoded { sizes, .. } => sizes[index].map(|side| side as usize),
        }
    }
}
