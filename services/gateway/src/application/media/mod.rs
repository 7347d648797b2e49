//! Media URLs: signed URLs with which browsers load files and previews without an `Authorization` header.
//!
//! The signature carries the decision: it says that the user of the URL was permitted to read the bytes when the URL was made.
//! A gateway therefore serves it without an event and without a query, as long as no event has arrived since then that could end the
//! access. After such an event, it looks up the access again. [`keys`] signs URLs, [`url`](self::url) is their text, [`issue`] makes
//! them, and [`find`] finds the bytes.

pub(crate) mod find;
pub(crate) mod issue;
pub(crate) mod keys;
pub(crate) mod url;
#[cfg(test)]
mod vectors;

use crate::application::shown::Shown;
use keys::MediaKeys;
use std::time::Duration;
use waybill_access::Rights;
use waybill_cache::Cache;
use waybill_schema::{CompanyId, Sha256Digest};
use waybill_service_kit::Secrets;

/// Bytes that the descriptions of files occupy, about, and the time for which one is used.
const SHOWN_BYTES: u64 = 64 << 20;
const SHOWN_FOR: Duration = Duration::from_secs(300);

/// Number of users' rights to a file that are kept, and the time for which they are used. Events that arrive in this time are applied to
/// them.
const RIGHTS_MAX: u64 = 20_000;
const RIGHTS_FOR: Duration = Duration::from_secs(60);

/// State to make and serve media URLs.
pub(crate) struct Media {
    keys: MediaKeys,
    /// Beginning of the URLs; empty for URLs that are relative to the address of the gateway.
    base: String,
    /// Files and previews by the digest of their path.
    shown: Cache<(CompanyId, Sha256Digest), Shown>,
    /// Rights by the digest of user and file.
    rights: Cache<(CompanyId, Sha256Digest), Rights>,
}

impl Media {
    pub(crate) fn new(secrets: &Secrets, base: Option<&str>) -> Self {
        let weight = |shown: &Shown| u32::try_from(shown.weight()).unwrap_or(u32::MAX);
        Self {
            keys: MediaKeys::derive(secrets),
            base: base.unwrap_or_default().trim_end_matches('/').to_owned(),
            shown: Cache::builder(SHOWN_BYTES).weigher(weight).time_to_live(SHOWN_FOR).build(),
            rights: Cache::builder(RIGHTS_MAX).time_to_live(RIGHTS_FOR).build(),
        }
    }
}
