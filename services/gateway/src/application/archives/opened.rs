//! An archive whose files were checked.

use crate::application::archives::manifest::{Archive, Item};
use crate::application::shown::Plain;
use std::collections::HashMap;
use std::sync::Arc;
use waybill_access::Rights;
use waybill_read_model::queries::File;
use waybill_schema::{FileId, Timestamp};

/// Bytes that the row of a file occupies in memory, about.
const FILE_BYTES: usize = 2_048;

/// A file of an archive that can be sent.
pub(crate) struct Content {
    pub(crate) file: File,
    /// The form without metadata, if that one is in the archive.
    pub(crate) plain: Option<Plain>,
    /// Rights that were read; `None` if nothing had happened that could end them.
    pub(crate) rights: Option<Rights>,
}

/// An archive whose files were checked.
pub(crate) struct Opened {
    pub(crate) archive: Arc<Archive>,
    /// A time before the files were checked.
    pub(crate) since: Timestamp,
    pub(super) contents: HashMap<FileId, Arc<Content>>,
}

impl Opened {
    /// Returns an item and its content.
    pub(crate) fn entry(&self, index: usize) -> Option<(&Item, Arc<Content>)> {
        let item = self.archive.manifest.items.get(index)?;
        Some((item, self.contents.get(&item.file)?.clone()))
    }

    /// Returns the bytes that it occupies in memory, about.
    pub(super) fn weight(&self) -> usize {
        self.contents.len() * FILE_BYTES
    }
}
