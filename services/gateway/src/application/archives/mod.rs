//! Zip archives of many files.
//!
//! An archive is a list of files, with their sizes, checksums and names: the manifest, which is an object in the store. The length of the
//! archive and each range of it follow from that. No archive is stored. [`make`] writes manifests, [`open`] reads one and checks the
//! access of its user to each file again, and [`send`] sends the bytes.

pub(crate) mod checksums;
pub(crate) mod make;
pub(crate) mod manifest;
pub(crate) mod open;
pub(crate) mod opened;
pub(crate) mod reading;
pub(crate) mod send;

use crate::application::archives::manifest::Archive;
use crate::application::archives::opened::Opened;
use crate::application::archives::reading::Checksums;
use std::time::Duration;
use waybill_cache::Cache;
use waybill_schema::{CompanyId, Sha256Digest};

/// Bytes that manifests in memory occupy, about, and the time for which one stays there after its last use.
const KEPT_BYTES: u64 = 32 << 20;
const KEPT_FOR: Duration = Duration::from_secs(600);

/// The same for the checks of archives, and the time after which one is repeated.
const OPENED_BYTES: u64 = 64 << 20;
const OPENED_FOR: Duration = Duration::from_secs(60);

/// State to make and serve archives.
pub(crate) struct Archives {
    /// Archives by the digest of their token.
    kept: Cache<(CompanyId, Sha256Digest), Archive>,
    /// The last check of each archive, by the digest of its token.
    opened: Cache<(CompanyId, Sha256Digest), Opened>,
    checksums: Checksums,
}

impl Default for Archives {
    fn default() -> Self {
        let weight = |archive: &Archive| u32::try_from(archive.weight()).unwrap_or(u32::MAX);
        let opened = |opened: &Opened| u32::try_from(opened.weight()).unwrap_or(u32::MAX);
        Self {
            kept: Cache::builder(KEPT_BYTES).weigher(weight).time_to_idle(KEPT_FOR).build(),
            opened: Cache::builder(OPENED_BYTES).weigher(opened).time_to_live(OPENED_FOR).build(),
            checksums: Checksums::default(),
        }
    }
}
