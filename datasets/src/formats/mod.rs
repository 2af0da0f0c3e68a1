//! File formats that published data sets use, read from bytes in memory. Nothing here knows a data set's
//! layout.

pub(crate) mod mat5;
pub(crate) mod npy;
pub(crate) mod pickle;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod text_list;
