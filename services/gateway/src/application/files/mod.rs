//! Lookup and change of files.

pub(crate) mod change;
pub(crate) mod find;
pub(crate) mod permitted;
pub(crate) mod places;
pub(crate) mod viewer;
