//! Scans new files whose company wants it.

use crate::clamd::ClamdError;
use crate::consumer::{Outcome, Step};
use crate::scan::{ScanError, Turn, scan_file};
use crate::scanner::Scanner;
use std::time::Duration;
use waybill_event_log::jetstream::Passing;
use waybill_schema::events::UploadEvent;
use waybill_schema::{Causation, Entity, Event, FileId, Recorded, ScanPolicy};

/// Number of deliveries after which an event is left to the search, if its file cannot be read.
const ATTEMPTS_MAX: i64 = 100;
/// Interval in which a clamd that cannot scan is asked again.
const ASK_CLAMD_EVERY: Duration = Duration::from_secs(1);

impl Step for Scanner {
    const CONSUMER: Passing = Passing::Scans;

    async fn possible(&self) {
        if self.could_scan() {
            return;
        }
        while !self.clamd.can_scan().await {
            tokio::time::sleep(ASK_CLAMD_EVERY).await;
        }
        self.note_whether_clamd_can_scan(true);
        tracing::info!("clamd can scan");
    }

    async fn react(&self, recorded: &Recorded, attempt: i64) -> Outcome {
        let Some(file) = verified_file(recorded) else { return Outcome::Done };
        let company = recorded.subject.company;
        let rules = match self.access.scan_rules(company).await {
            Ok(rules) if rules.policy == ScanPolicy::Off => return Outcome::Done,
            Ok(rules) => rules,
            Err(error) => {
                tracing::debug!(position = %recorded.position, %error, "cannot read the rules of a company");
                return Outcome::Failed;
            }
        };
        let Some(_place) = self.places.take(company) else { return Outcome::NoPlace };
        self.turn(rules).await;
        match scan_file(self, Turn::New, company, file, Causation::Event(recorded.position)).await {
            Ok(()) => Outcome::Done,
            Err(ScanError::NoPlace) => Outcome::NoPlace,
            Err(error) if attempt >= ATTEMPTS_MAX && !is_of_clamd(&error) => {
                tracing::error!(position = %recorded.position, file_id = %file, %error, "a file cannot be scanned; the search tries again");
                Outcome::Done
            }
            Err(error) => {
                note_failure(self, &error);
                tracing::warn!(position = %recorded.position, file_id = %file, %error, "a scan failed; will try again");
                Outcome::Failed
            }
        }
    }
}

/// Returns the file that an event verifies.
pub(crate) fn verified_file(recorded: &Recorded) -> Option<FileId> {
    let Entity::UploadLifecycle(file) = recorded.subject.aggregate else { return None };
    let Event::Upload(UploadEvent::FileVerified(_) | UploadEvent::FileUploaded(_)) = &recorded.event else {
        return None;
    };
    Some(file)
}

/// Has clamd checked before the next event if a scan failed because of it.
pub(crate) fn note_failure(scanner: &Scanner, error: &ScanError) {
    if is_of_clamd(error) {
        scanner.note_whether_clamd_can_scan(false);
    }
}

/// Returns `true` if clamd is the reason of an error, or the bytes that it scanned.
pub(crate) fn is_of_clamd(error: &ScanError) -> bool {
    match error {
        ScanError::Clamd(ClamdError::Unreachable(_) | ClamdError::Broken(_) | ClamdError::Failed(_)) => true,
        ScanError::Clamd(ClamdError::Source(_))
        | ScanError::Log(_)
        | ScanError::Append(_)
        | ScanError::Tables(_)
        | ScanError::Store(_)
        | ScanError::NoPlace => false,
    }
}
