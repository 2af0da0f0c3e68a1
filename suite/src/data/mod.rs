//! Images of a suite: from its `data` section to pairs of views.

pub mod known_units;
pub mod missing_pack;
pub mod open;
pub mod pairs;
pub mod scenes;
pub mod set_facts;
