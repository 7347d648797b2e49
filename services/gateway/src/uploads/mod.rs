//! Routes of the native protocol: start, chunks, status, completion and cancellation of uploads, and whole files in one
//! request.

pub(crate) mod chunk;
pub(crate) mod end;
mod form;
pub(crate) mod once;
mod second;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod whole;

pub(crate) use chunk::{content_length, refuse_encoding, refuse_forms};
pub(crate) use end::{cancel_upload, finish};
pub(crate) use once::Once;
pub(crate) use start::{FileFacts, begin, check, space_of, start_now};
pub(crate) use status::{parse_id, rfc3339, status};
