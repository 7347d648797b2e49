//! Ends of access: by events, and by time.

use super::{FileFacts, Operation, Viewer};
use std::collections::BTreeSet;
use waybill_schema::events::{DirectoryEvent, FileEvent, ShareEvent, TokensInvalidated};
use waybill_schema::{Event, ScanResult, Timestamp, UserId};

/// Those whose access an event can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    /// Users of the company. Only the tables tell which ones.
    OfCompany,
    /// This user.
    OfUser(UserId),
    /// Everybody who can read the file of the event.
    OfFile,
}

/// Returns whose access an event can end; `None` if it ends nobody's. A membership counts for the whole company, because the shares of
/// a member end with it.
pub fn ended_by(event: &Event) -> Option<Ended> {
    match event {
        Event::Directory(event) => of_directory(event),
        Event::Share(event) => match event {
            ShareEvent::ShareChanged(_) | ShareEvent::ShareRevoked(_) => Some(Ended::OfCompany),
            // A share that begins again has ended before.
            ShareEvent::FileShared(_) | ShareEvent::SharePinned(_) => None,
        },
        Event::File(event) => match event {
            FileEvent::FileDeleted(_) | FileEvent::FilePurged(_) => Some(Ended::OfFile),
            FileEvent::FileScanned(scanned) => (scanned.result != ScanResult::Clean).then_some(Ended::OfFile),
            FileEvent::FileRestored(_)
            | FileEvent::FileReleased(_)
            | FileEvent::FileRenamed(_)
            | FileEvent::FileMetadataChanged(_)
            | FileEvent::FileLabelled(_)
            | FileEvent::FileSpaceReleased(_)
            | FileEvent::PreviewsMade(_)
            | FileEvent::PreviewFailed(_)
            | FileEvent::FileArchived(_)
            | FileEvent::FileRestoreRequested(_)
            | FileEvent::FileThawed(_)
            | FileEvent::LocationStripped(_)
            | FileEvent::FileChecksummed(_) => None,
        },
        Event::Upload(_)
        | Event::Token(_)
        | Event::Link(_)
        | Event::Content(_)
        | Event::Session(_)
        | Event::Quota(_) => None,
    }
}

fn of_directory(event: &DirectoryEvent) -> Option<Ended> {
    match event {
        DirectoryEvent::TokensInvalidated(TokensInvalidated { user_id: Some(user), .. }) => Some(Ended::OfUser(*user)),
        DirectoryEvent::TokensInvalidated(_)
        | DirectoryEvent::UserRemoved(_)
        | DirectoryEvent::MemberRemoved(_)
        | DirectoryEvent::ChatroomDeleted(_)
        | DirectoryEvent::ThreadDeleted(_)
        | DirectoryEvent::CompanySettingsChanged(_)
        | DirectoryEvent::CompanyLimitsSet(_)
        | DirectoryEvent::CompanyClosed(_) => Some(Ended::OfCompany),
        DirectoryEvent::CompanyRegistered(_)
        | DirectoryEvent::UserRegistered(_)
        | DirectoryEvent::ChatroomOpened(_)
        | DirectoryEvent::ThreadOpened(_)
        | DirectoryEvent::MemberAdded(_) => None,
    }
}

impl FileFacts {
    /// Returns the time, at most `latest`, until which the viewer, who may download the file now, may do so if nothing happens. Shares
    /// expire without an event.
    pub fn readable_until(&self, viewer: Viewer, now: Timestamp, latest: Timestamp) -> Timestamp {
        let expiries = self.shares.values().filter_map(|share| share.expires_at);
        let expiries: BTreeSet<Timestamp> = expiries.filter(|at| (now..latest).contains(at)).collect();
        let ends = |at: &Timestamp| self.check(viewer, Operation::Download, *at).is_err();
        expiries.into_iter().find(ends).unwrap_or(latest)
    }
}
