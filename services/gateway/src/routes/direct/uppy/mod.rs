//! Routes for `@uppy/aws-s3`. Version 5 uses the Companion routes (`/uppy/s3/multipart…`, `/uppy/s3/params`), version 6
//! uses `POST /uppy/s3/sign` through its option `signRequest`. All of them require the JWT.
//!
//! The client chooses the parts and can complete the object without Waybill. It therefore writes to a quarantine key. A
//! worker copies the object to a key that no client can write to, and hashes the copy. Nobody can read the file before
//! that.

mod described;
pub(crate) mod multipart;
mod quarantined;
pub(crate) mod sign;
pub(crate) mod single;
