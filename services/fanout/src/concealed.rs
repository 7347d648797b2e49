//! Decides whether the members of a chatroom or thread may hear of an event about a file, as long as the virus scan of the
//! file keeps them from reading it.

use std::time::Duration;
use waybill_access::{Access, AccessError};
use waybill_domain::scan::{Clearance, ScanRules, Scans};
use waybill_event_log::{EventLog, read_events};
use waybill_schema::events::UploadEvent;
use waybill_schema::{Event, Recorded, ScanPolicy};

/// Longest time for reading the rules of a company, which are usually in memory.
const PATIENCE: Duration = Duration::from_secs(1);

/// Returns `true` if an event is about a file that members cannot read before and after it because of its virus scan. They
/// hear of the verdict that makes a file readable, and of one that ends this. If the rules or the log cannot be read, members
/// do not hear of the event.
pub(crate) async fn is_concealed(access: &Access, log: &dyn EventLog, recorded: &Recorded) -> bool {
    // All events of the partition wait for this one.
    let rules = async || match tokio::time::timeout(PATIENCE, access.scan_rules(recorded.subject.company)).await {
        Ok(rules) => rules,
        Err(_) => Err(AccessError::Behind),
    };
    match &recorded.event {
        Event::Upload(event) => {
            let is_verified = matches!(event, UploadEvent::FileVerified(_) | UploadEvent::FileUploaded(_));
            let must_wait = |rules: ScanRules| rules.policy == ScanPolicy::Require;
            is_verified && rules().await.map_or(true, must_wait)
        }
        Event::File(_) => match rules().await {
            Ok(rules) if rules.policy == ScanPolicy::Off => false,
            Ok(rules) => was_unreadable(log, rules, recorded).await,
            Err(_) => true,
        },
        Event::Share(_)
        | Event::Token(_)
        | Event::Link(_)
        | Event::Content(_)
        | Event::Session(_)
        | Event::Quota(_)
        | Event::Directory(_) => false,
    }
}

async fn was_unreadable(log: &dyn EventLog, rules: ScanRules, recorded: &Recorded) -> bool {
    let Ok(events) = read_events(log, recorded.subject, 0).await else { return true };
    let mut scans = Scans::default();
    let is_readable = |scans: &Scans| rules.clearance_of(scans) == Clearance::Readable;
    let mut before = is_readable(&scans);
    for event in events.iter().filter(|event| event.position.seq <= recorded.position.seq) {
        before = is_readable(&scans);
        if let Event::File(event) = &event.event {
            scans.apply(event);
        }
    }
    !before && !is_readable(&scans)
}
