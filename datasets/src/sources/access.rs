//! How a set is obtained.

use crate::bytes::Bytes;

/// How a set is obtained.
pub enum Access {
    /// Anyone may download these files.
    Public(&'static [Download]),
    /// The publisher gives the files to registered users only.
    Account {
        /// Sizes of the files, such as `148 GB train, 6.7 GB validation`.
        sizes: &'static str,
        /// The page with the files.
        page: &'static str,
        /// What to do there, and which files to take, in several lines.
        steps: &'static str,
    },
    /// The images are the user's own.
    Own,
}

/// A published file.
pub struct Download {
    /// Address at its publisher.
    pub url: &'static str,
    /// Its length.
    pub size: Size,
    /// SHA-256 in hexadecimal digits, most as TensorFlow Datasets records them; `None` if nobody has
    /// published one.
    pub sha256: Option<&'static str>,
}

/// The published length of a file.
#[derive(Clone, Copy)]
pub enum Size {
    /// To the byte.
    Exact(u64),
    /// Rounded.
    About(u64),
}

impl Size {
    /// The length in bytes, if it is known to the byte.
    pub(crate) fn exact(self) -> Option<u64> {
        match self {
            Size::Exact(bytes) => Some(bytes),
            Size::About(_) => None,
        }
    }

    fn rounded(self) -> u64 {
        let (Size::Exact(bytes) | Size::About(bytes)) = self;
        bytes
    }
}

impl Download {
    /// Name of the file: the end of its address.
    pub fn file_name(&self) -> &'static str {
        self.url.rsplit('/').next().unwrap_or(self.url)
    }
}

impl Access {
    /// Download size, such as `170 MB`.
    pub fn size(&self) -> String {
        match self {
            Access::Public(files) => Bytes(files.iter().map(|file| file.size.rounded()).sum()).to_string(),
            Access::Account { sizes, .. } => (*sizes).to_owned(),
            Access::Own => "none".to_owned(),
        }
    }
}
