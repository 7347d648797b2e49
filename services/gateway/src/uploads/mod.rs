//! Uploads: start, bytes, status, completion, cancellation; and whole files in one request.

mod chunk;
mod end;
mod start;
mod status;
mod whole;

pub(crate) use chunk::{content_length, put_chunk, refuse_encoding};
pub(crate) use end::{cancel, cancel_upload, complete, finish};
pub(crate) use start::{FileFacts, begin, check, space_of, start, start_now};
pub(crate) use status::{parse_id, rfc3339, show, status};
pub(crate) use whole::post_file;
