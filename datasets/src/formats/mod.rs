//! Parsers for the file formats of published data sets. They read bytes in memory and know nothing about the
//! layout of any data set.

pub(crate) mod mat5;
pub(crate) mod npy;
pub(crate) mod pickle;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod text_list;
