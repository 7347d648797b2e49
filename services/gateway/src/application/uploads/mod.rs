//! Uploads: description, start, storing of small files, completion and cancellation. All protocols use these steps.

pub(crate) mod description;
pub(crate) mod end;
pub(crate) mod once;
pub(crate) mod second;
pub(crate) mod start;
