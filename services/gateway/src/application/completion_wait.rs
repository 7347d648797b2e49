//! Waits until an upload has ended, and until its file was scanned.

use crate::application::gateway::Gateway;
use crate::http::problems::OrProblem;
use futures_util::{StreamExt, stream};
use std::time::Duration;
use tokio::time::Instant;
use waybill_domain::scan::Clearance;
use waybill_domain::upload;
use waybill_http_kit::Problem;
use waybill_repository::{Aggregate, FileAggregate, Loaded, UploadAggregate};
use waybill_schema::{ScanPolicy, UserId};

/// Time for which the response to a completion waits for the verification, in protocols without `Prefer: wait`.
pub(crate) const FOR_VERIFICATION: Duration = Duration::from_secs(20);

/// Interval at which the log is read even without a signal, because signals can be lost.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Time after which the log is read again if a signal came before its event. The time doubles with each read.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Waits until a verified file can be read or has a verdict that keeps it from being read, or until `until`. Returns the sequence of
/// the last event of the file that was read. Does not wait if too many requests of the user or the company wait.
pub(crate) async fn until_scanned(
    gateway: &Gateway,
    file: &FileAggregate,
    uploader: Option<UserId>,
    until: Instant,
) -> Result<u64, Problem> {
    let rules = gateway.access.scan_rules(file.company).await.or_problem("reading the rules of a company")?;
    let slot = gateway.at_once.wait(file.company, uploader);
    if rules.policy != ScanPolicy::Require || slot.is_none() {
        return Ok(0);
    }
    let appends = gateway.log.appends(file.subject()).await.or_problem("waiting for a scan")?;
    let mut appends = appends.chain(stream::pending());
    let mut look_after = LOOK_EVERY;
    loop {
        let loaded = gateway.repository.load(file).await.or_problem("waiting for a scan")?;
        let left = until.saturating_duration_since(Instant::now());
        let is_waiting = rules.clearance_of(&loaded.state.scans) == Clearance::Waiting;
        if !is_waiting || loaded.state.deleted || loaded.state.purged || left.is_zero() {
            return Ok(loaded.last_seq);
        }
        let signal = tokio::time::timeout(left.min(look_after), appends.next()).await;
        look_after = if signal.is_ok() { LOOK_AGAIN } else { LOOK_EVERY.min(look_after * 2) };
    }
}

/// Refreshes `loaded` until the upload has ended or `patience` has passed. Does not wait if too many requests of the
/// uploader or the company wait: a preference to wait need not be met (RFC 7240 §4.3).
pub(crate) async fn until_ended(
    gateway: &Gateway,
    aggregate: &UploadAggregate,
    loaded: &mut Loaded<upload::State>,
    patience: Duration,
) -> Result<(), Problem> {
    let uploader = loaded.state.started.as_ref().map(|started| started.uploaded_by);
    let slot = gateway.at_once.wait(aggregate.company, uploader);
    let patience = if slot.is_some() { patience } else { Duration::ZERO };
    // Wait for appends before the first read, so that no event is missed between the two.
    let appends = gateway.log.appends(aggregate.subject()).await.or_problem("waiting for an upload")?;
    let mut appends = appends.chain(stream::pending());
    let until = Instant::now() + patience;
    let mut look_after = LOOK_EVERY;
    loop {
        let before = loaded.read_to;
        gateway.repository.refresh(aggregate, loaded).await.or_problem("waiting for an upload")?;
        if loaded.read_to > before {
            look_after = LOOK_EVERY;
        }
        let left = until.saturating_duration_since(Instant::now());
        if loaded.state.has_ended() || left.is_zero() {
            return Ok(());
        }
        let signal = tokio::time::timeout(left.min(look_after), appends.next()).await;
        look_after = if signal.is_ok() { LOOK_AGAIN } else { LOOK_EVERY.min(look_after * 2) };
    }
}
