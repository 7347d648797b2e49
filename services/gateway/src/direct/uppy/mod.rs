//! What `@uppy/aws-s3` asks for: version 5 of a Companion (`/uppy/s3/multipart…`, `/uppy/s3/params`), version 6 of its
//! `signRequest` option (`POST /uppy/s3/sign`). Both with the JWT.
//!
//! The client chooses its own parts, and may make the object by itself. So it writes to a quarantine key: the object is
//! copied from there to a key that no client can write to, and the copy is hashed before anyone can read it.

mod described;
mod multipart;
mod quarantined;
mod sign;
mod single;

pub(crate) use multipart::*;
pub(crate) use sign::*;
pub(crate) use single::*;

use serde::Serialize;
use utoipa::ToSchema;

/// An object without members.
#[derive(Serialize, ToSchema)]
struct Nothing {}
