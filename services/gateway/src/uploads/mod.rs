//! Uploads: start, bytes, status, completion, cancellation; and whole files in one request.

mod chunk;
mod end;
mod start;
mod status;
mod whole;

pub(crate) use chunk::put_chunk;
pub(crate) use end::{cancel, complete};
pub(crate) use start::start;
pub(crate) use status::{rfc3339, show};
pub(crate) use whole::post_file;
