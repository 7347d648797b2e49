//! Scans one file and records the result.

use crate::clamd::{ClamdError, Version};
use crate::context::context;
use crate::metrics;
use crate::scanner::Scanner;
use futures_util::TryStreamExt;
use waybill_domain::Refusal;
use waybill_domain::file::{Command, LastScan, State};
use waybill_domain::upload::Phase;
use waybill_event_log::ReadError;
use waybill_object_store::StoreError;
use waybill_read_model::ReadModelError;
use waybill_read_model::queries::{not_infected_with_same_bytes, scanned_with_same_bytes};
use waybill_repository::{ContentAggregate, ExecuteError, FileAggregate, LifecycleAggregate, UploadAggregate};
use waybill_schema::events::FileScanned;
use waybill_schema::{ByteRange, Causation, CompanyId, FileId, ScanResult, Sha256Digest, UnscannedReason, Verdict};

/// Bytes that two neighbouring pieces of a large file have in common, so that what is at their border is found.
const OVERLAP: u64 = 1 << 20;
/// Size in bytes from which a file takes a place for large files.
const LARGE: u64 = 16 << 20;

/// Reason why a file was not scanned. The scan is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScanError {
    #[error(transparent)]
    Clamd(#[from] ClamdError),
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error(transparent)]
    Append(#[from] ExecuteError),
    #[error(transparent)]
    Tables(#[from] ReadModelError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Other large files take all places.
    #[error("other large files are scanned at the moment")]
    NoPlace,
}

/// Right to scan a large file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// A new file: it takes a place, of which each company gets its share, or is tried again.
    New,
    /// A file that the search found: it waits until no other such file is scanned.
    Found,
    /// As [`Turn::Found`]. The file is scanned although it was scanned with the present signatures before.
    Again,
}

/// Maximum number of repetitions if another process scans the same file at the same time.
const REPEATED_MAX: usize = 3;
/// Maximum number of files with the same bytes that get the verdict at once.
const SAME_MAX: i64 = 1_000;

/// A verified file whose bytes exist.
struct Target {
    company: CompanyId,
    file: FileId,
    sha256: Sha256Digest,
    storage_key: String,
    size_bytes: u64,
    seen: LastScan,
}

/// The object of a file.
#[derive(Clone, Copy, Debug)]
struct Source<'a> {
    key: &'a str,
    /// Size of the file.
    size_bytes: u64,
}

/// Scans a file with the present signatures, unless it was scanned with them before, and records the result. Does nothing if the
/// file is not verified or was purged.
pub(crate) async fn scan_file(
    scanner: &Scanner,
    turn: Turn,
    company: CompanyId,
    file: FileId,
    causation: Causation,
) -> Result<(), ScanError> {
    for _ in 0..REPEATED_MAX {
        let version = scanner.clamd.version().await?;
        let Some(target) = target(scanner, turn, &version, company, file).await? else { return Ok(()) };
        let Some(scanned) = scan_target(scanner, turn, &version, &target).await? else { return Ok(()) };
        if record(scanner, &target, scanned, causation).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Returns the file if it must be scanned with the signatures of `version`.
async fn target(
    scanner: &Scanner,
    turn: Turn,
    version: &Version,
    company: CompanyId,
    file: FileId,
) -> Result<Option<Target>, ScanError> {
    let upload = scanner.repository.load(&LifecycleAggregate(UploadAggregate { company, upload: file })).await?.state;
    let (Phase::Verified { sha256, storage_key }, Some(_)) = (&upload.phase, &upload.started) else { return Ok(None) };
    let state = scanner.repository.load(&FileAggregate { company, file }).await?.state;
    let is_current =
        state.scanned_with.as_ref() == Some(&version.database) && state.scans.last.as_ref().is_some_and(is_final);
    if state.purged || (is_current && turn != Turn::Again) {
        return Ok(None);
    }
    let seen = state.last_scan();
    let (sha256, storage_key, size_bytes) = (*sha256, storage_key.clone(), upload.grid().size_bytes);
    Ok(Some(Target { company, file, sha256, storage_key, size_bytes, seen }))
}

/// Returns `false` for the verdict about a file with which clamd failed. It says nothing about the bytes.
fn is_final(result: &ScanResult) -> bool {
    !matches!(result, ScanResult::Unscanned { reason: UnscannedReason::Failed })
}

/// Returns the result of a scan; `None` if the file was purged.
async fn scan_target(
    scanner: &Scanner,
    turn: Turn,
    version: &Version,
    target: &Target,
) -> Result<Option<FileScanned>, ScanError> {
    if turn != Turn::Again
        && let Some(same) = scan_of_same_bytes(scanner, version, target).await?
    {
        return Ok(Some(same));
    }
    let (result, covered_bytes) = match scan_bytes(scanner, turn, target).await {
        Ok(scanned) => scanned,
        // The object was deleted with the file.
        Err(
            ScanError::Store(StoreError::NotFound { .. })
            | ScanError::Clamd(ClamdError::Source(StoreError::NotFound { .. })),
        ) if is_purged(scanner, target).await? => {
            return Ok(None);
        }
        Err(ScanError::Clamd(error)) => match give_up(scanner, target.file, &error).await {
            true => (ScanResult::Unscanned { reason: UnscannedReason::Failed }, 0),
            false => return Err(error.into()),
        },
        Err(error) => return Err(error),
    };
    scanner.failures.forget(target.file);
    let (engine, database_version) = (version.engine.clone(), version.database.clone());
    Ok(Some(FileScanned { result, engine, database_version, covered_bytes }))
}

/// Returns `true` if clamd failed with a file so often that its scan is hopeless.
async fn give_up(scanner: &Scanner, file: FileId, error: &ClamdError) -> bool {
    match error {
        ClamdError::Source(_) | ClamdError::Unreachable(_) => return false,
        ClamdError::Broken(_) | ClamdError::Failed(_) => {}
    }
    let can_scan = scanner.clamd.can_scan().await;
    let is_hopeless = scanner.failures.is_hopeless(file, can_scan, scanner.settings.give_up_after());
    if is_hopeless {
        tracing::error!(file_id = %file, %error, "clamd fails with this file again and again; it counts as unscanned");
        metrics::GIVEN_UP.inc();
    }
    is_hopeless
}

async fn is_purged(scanner: &Scanner, target: &Target) -> Result<bool, ScanError> {
    let Target { company, file, .. } = *target;
    Ok(scanner.repository.load(&FileAggregate { company, file }).await?.state.purged)
}

/// Returns the scan of another file of the company with the same bytes and the same signatures. The tables provide
/// candidates, and their events decide.
async fn scan_of_same_bytes(
    scanner: &Scanner,
    version: &Version,
    target: &Target,
) -> Result<Option<FileScanned>, ScanError> {
    let Target { company, sha256, .. } = *target;
    let mut connection = scanner.database.connection().await?;
    let candidates = scanned_with_same_bytes(&mut connection, company, sha256, &version.database).await?;
    drop(connection);
    for file in candidates.into_iter().filter(|file| *file != target.file) {
        let Some(state) = with_same_bytes(scanner, target, file).await? else { continue };
        let is_current = state.scanned_with.as_ref() == Some(&version.database);
        if let Some(result) = state.scans.last.filter(|result| is_current && is_final(result)) {
            let covered_bytes = match &result {
                ScanResult::Unscanned { reason: UnscannedReason::TooLarge } | ScanResult::Clean => target.size_bytes,
                ScanResult::Infected { .. } | ScanResult::Unscanned { .. } => 0,
            };
            let (engine, database_version) = (version.engine.clone(), version.database.clone());
            return Ok(Some(FileScanned { result, engine, database_version, covered_bytes }));
        }
    }
    Ok(None)
}

/// Returns the state of another file; `None` if its bytes are not those of `target`.
async fn with_same_bytes(scanner: &Scanner, target: &Target, file: FileId) -> Result<Option<State>, ScanError> {
    let Target { company, sha256, .. } = *target;
    let upload = scanner.repository.load(&LifecycleAggregate(UploadAggregate { company, upload: file })).await?.state;
    if !matches!(&upload.phase, Phase::Verified { sha256: its, .. } if *its == sha256) {
        return Ok(None);
    }
    Ok(Some(scanner.repository.load(&FileAggregate { company, file }).await?.state))
}

/// Scans the bytes of a file. Returns the result and the number of bytes that clamd looked at.
async fn scan_bytes(scanner: &Scanner, turn: Turn, target: &Target) -> Result<(ScanResult, u64), ScanError> {
    let is_large = target.size_bytes >= LARGE;
    let _place = match turn {
        Turn::New if is_large => Some(scanner.long.take(target.company).ok_or(ScanError::NoPlace)?),
        Turn::New | Turn::Found | Turn::Again => None,
    };
    let _turn = match turn {
        // The semaphore is never closed.
        Turn::Found | Turn::Again if is_large => scanner.searching_large.acquire().await.ok(),
        Turn::Found | Turn::Again | Turn::New => None,
    };
    let most = scanner.settings.clamd_stream_max_bytes;
    let content = ContentAggregate { company: target.company, sha256: target.sha256 };
    let key = scanner.repository.key_of_file(&content, target.file, &target.storage_key).await?;
    let source = Source { key: &key, size_bytes: target.size_bytes };
    if target.size_bytes <= most {
        let result = scan_range(scanner, source, ByteRange { from: 0, to: target.size_bytes }).await?;
        let covered = if matches!(result, ScanResult::Unscanned { .. }) { 0 } else { target.size_bytes };
        return Ok((result, covered));
    }
    let (mut from, mut reached, mut covered) = (0, 0, 0);
    while from < target.size_bytes {
        let to = (from + most).min(target.size_bytes);
        match scan_range(scanner, source, ByteRange { from, to }).await? {
            infected @ ScanResult::Infected { .. } => return Ok((infected, to)),
            ScanResult::Clean => covered += to - from.max(reached),
            ScanResult::Unscanned { .. } => {}
        }
        reached = to;
        from = if to == target.size_bytes { to } else { to - OVERLAP.min(most / 2) };
    }
    Ok((ScanResult::Unscanned { reason: UnscannedReason::TooLarge }, covered))
}

async fn scan_range(scanner: &Scanner, source: Source<'_>, range: ByteRange) -> Result<ScanResult, ScanError> {
    let body = scanner.file_bytes.get(source.key, source.size_bytes, range).await?;
    let mut left = range.len();
    let bytes = body.bytes.map_err(ClamdError::from).inspect_ok(|bytes| {
        metrics::SCANNED_BYTES.inc_by(u64::try_from(bytes.len()).unwrap_or(0));
        left = left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    });
    let result = scanner.clamd.scan(std::pin::pin!(bytes)).await?;
    // A body that ends early is not the file. A finding in it is still a finding.
    if left > 0 && result == ScanResult::Clean {
        let reason = format!("the body is {left} bytes too short");
        return Err(StoreError::Unavailable { operation: "reading a file to scan", reason }.into());
    }
    Ok(result)
}

/// Records a scan. Returns `false` if the file was scanned in the meantime.
async fn record(
    scanner: &Scanner,
    target: &Target,
    scan: FileScanned,
    causation: Causation,
) -> Result<bool, ScanError> {
    let verdict = Verdict::from(&scan.result);
    let seen = target.seen.clone();
    if !record_one(scanner, target.company, target.file, scan.clone(), seen, causation).await? {
        return Ok(false);
    }
    if verdict == Verdict::Infected {
        tracing::warn!(company_id = %target.company, file_id = %target.file, "a file is infected");
        record_for_same_bytes(scanner, target, &scan, causation).await?;
    }
    Ok(true)
}

/// Records the finding for the other files of the company with the same bytes.
async fn record_for_same_bytes(
    scanner: &Scanner,
    target: &Target,
    scan: &FileScanned,
    causation: Causation,
) -> Result<(), ScanError> {
    let Target { company, sha256, .. } = *target;
    let mut connection = scanner.database.connection().await?;
    let others = not_infected_with_same_bytes(&mut connection, company, sha256, SAME_MAX).await?;
    drop(connection);
    for file in others.into_iter().filter(|file| *file != target.file) {
        let Some(state) = with_same_bytes(scanner, target, file).await? else { continue };
        record_one(scanner, company, file, scan.clone(), state.last_scan(), causation).await?;
    }
    Ok(())
}

/// Returns `false` if the file was scanned since `seen`.
async fn record_one(
    scanner: &Scanner,
    company: CompanyId,
    file: FileId,
    scan: FileScanned,
    seen: LastScan,
    causation: Causation,
) -> Result<bool, ScanError> {
    let (aggregate, context) = (FileAggregate { company, file }, context(causation));
    let verdict = Verdict::from(&scan.result);
    let recorded =
        LastScan { result: Some(scan.result.clone()), database_version: Some(scan.database_version.clone()) };
    let command = Command::RecordScan { scan, seen };
    match scanner.repository.execute(&aggregate, command, &context).await {
        Ok(_) => {}
        // The file was purged in the meantime.
        Err(ExecuteError::Refused(Refusal::NotFound { .. })) => return Ok(true),
        Err(error) => return Err(error.into()),
    }
    let is_recorded = scanner.repository.load(&aggregate).await?.state.last_scan() == recorded;
    if is_recorded {
        metrics::SCANS.with_label_values(&[verdict.as_str()]).inc();
    }
    Ok(is_recorded)
}
