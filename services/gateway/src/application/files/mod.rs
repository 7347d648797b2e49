//! Lookup and change of files.

pub(crate) mod change;
pub(crate) mod find;
pub(crate) mod viewer;
