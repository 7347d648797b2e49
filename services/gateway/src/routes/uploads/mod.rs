//! Routes of the native protocol: start, chunks, status, completion and cancellation of uploads, and whole files in one
//! request.

pub(crate) mod chunk;
pub(crate) mod end;
mod form;
pub(crate) mod incoming;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod whole;
