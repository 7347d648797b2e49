//! Limits on what is sent with an upload link, for all people who use it.

use super::State;
use super::sent::Sent;
use crate::Refusal;
use std::collections::BTreeMap;
use waybill_schema::events::{ReservedItem, ReservedLink};
use waybill_schema::{LinkId, UploadId};

/// Limits of an upload link, all inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkLimits {
    /// Maximum number of files. Open uploads count, and partial uploads while they are open.
    pub max_files: u32,
    /// Maximum number of bytes of all files together.
    pub max_bytes: u64,
}

/// Files and bytes that can still be sent with an upload link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Number of files.
    pub files: u32,
    /// Bytes of these files together.
    pub bytes: u64,
}

impl State {
    /// Returns the files and bytes that can still be sent with a link.
    pub fn left_of_link(&self, link: LinkId, limits: LinkLimits) -> Left {
        SentByLinks::count(self, [link].into_iter(), |_| false).left(link, limits)
    }
}

/// Files and open uploads of some links, which grow while items are checked.
pub(super) struct SentByLinks(BTreeMap<LinkId, Sent>);

impl SentByLinks {
    /// Counts the files and the open uploads of `links`, except `without`.
    pub(super) fn count(
        state: &State,
        links: impl Iterator<Item = LinkId>,
        without: impl Fn(&UploadId) -> bool,
    ) -> Self {
        let settled = |link: LinkId| (link, state.links.get(&link).copied().unwrap_or_default());
        let mut links: BTreeMap<LinkId, Sent> = links.map(settled).collect();
        if links.is_empty() {
            return Self(links);
        }
        for (_, reserved) in state.reserved.iter().filter(|(upload, _)| !without(upload)) {
            if let Some(sent) = reserved.link.and_then(|link| links.get_mut(&link.link_id)) {
                sent.add(reserved.bytes);
            }
        }
        Self(links)
    }

    /// Checks that an item can be sent with its link. `limits` are those of the links of the items.
    ///
    /// # Errors
    /// [`Refusal::LinkExhausted`], also if the limits of the link are not known.
    pub(super) fn check(&self, item: &ReservedItem, limits: &BTreeMap<LinkId, LinkLimits>) -> Result<(), Refusal> {
        let Some(ReservedLink { link_id, .. }) = item.link else { return Ok(()) };
        let limits = limits.get(&link_id).copied().unwrap_or(LinkLimits { max_files: 0, max_bytes: 0 });
        let Left { files, bytes } = self.left(link_id, limits);
        if files == 0 || item.bytes_total > bytes {
            return Err(Refusal::LinkExhausted { left_files: files, left_bytes: bytes });
        }
        Ok(())
    }

    /// Adds an accepted item.
    pub(super) fn add(&mut self, item: &ReservedItem) {
        if let Some(sent) = item.link.and_then(|link| self.0.get_mut(&link.link_id)) {
            sent.add(item.bytes_total);
        }
    }

    fn left(&self, link: LinkId, limits: LinkLimits) -> Left {
        let sent = self.0.get(&link).copied().unwrap_or_default();
        Left { files: limits.max_files.saturating_sub(sent.files), bytes: limits.max_bytes.saturating_sub(sent.bytes) }
    }
}
