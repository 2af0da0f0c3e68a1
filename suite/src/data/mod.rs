//! Images of a suite: from its `data` section to pairs of views.

pub mod known_units;
pub mod open;
pub mod pairs;
pub mod scenes;
