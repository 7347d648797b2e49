//! Scans one file and records the result.

use crate::clamd::{ClamdError, Version};
use crate::{Content, context, metrics};
use futures_util::TryStreamExt;
use waybill_domain::Refusal;
use waybill_domain::file::Command;
use waybill_domain::upload::Phase;
use waybill_event_log::ReadError;
use waybill_object_store::StoreError;
use waybill_read_model::ReadModelError;
use waybill_read_model::queries::scanned_with_same_bytes;
use waybill_repository::{ContentAggregate, ExecuteError, FileAggregate, LifecycleAggregate, UploadAggregate};
use waybill_schema::events::FileScanned;
use waybill_schema::{Causation, CompanyId, FileId, ScanResult, Sha256Digest, UnscannedReason, Verdict};

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

/// A verified file whose bytes exist.
struct Target {
    company: CompanyId,
    file: FileId,
    sha256: Sha256Digest,
    storage_key: String,
    size_bytes: u64,
}

/// Scans a file with the signatures of `version`, unless it was scanned with them before, and records the result. Does nothing
/// if the file is not verified or was purged.
pub(crate) async fn scan_file(
    content: &Content,
    version: &Version,
    company: CompanyId,
    file: FileId,
    causation: Causation,
) -> Result<(), ScanError> {
    let upload = content.repository.load(&LifecycleAggregate(UploadAggregate { company, upload: file })).await?.state;
    let (Phase::Verified { sha256, storage_key }, Some(_)) = (&upload.phase, &upload.started) else { return Ok(()) };
    let target = Target {
        company,
        file,
        sha256: *sha256,
        storage_key: storage_key.clone(),
        size_bytes: upload.grid().size_bytes,
    };
    let state = content.repository.load(&FileAggregate { company, file }).await?.state;
    let is_current = state.scanned_with.as_ref() == Some(&version.database) && state.scans.last.is_some();
    if state.purged || is_current {
        return Ok(());
    }
    if let Some(same) = scan_of_same_bytes(content, version, &target).await? {
        return record(content, &target, same, causation).await;
    }
    let (result, covered_bytes) = match scan_bytes(content, &target).await {
        Ok(scanned) => scanned,
        // The object was deleted with the file.
        Err(
            ScanError::Store(StoreError::NotFound { .. })
            | ScanError::Clamd(ClamdError::Source(StoreError::NotFound { .. })),
        ) if is_purged(content, &target).await? => {
            return Ok(());
        }
        Err(ScanError::Clamd(error)) => match give_up(content, file, &error).await {
            true => (ScanResult::Unscanned { reason: UnscannedReason::Failed }, 0),
            false => return Err(error.into()),
        },
        Err(error) => return Err(error),
    };
    content.failures.forget(file);
    let scanned = FileScanned {
        result,
        engine: version.engine.clone(),
        database_version: version.database.clone(),
        covered_bytes,
    };
    record(content, &target, scanned, causation).await
}

/// Returns `true` if clamd failed with a file so often that its scan is hopeless. It is not, as long as clamd cannot scan
/// anything.
async fn give_up(content: &Content, file: FileId, error: &ClamdError) -> bool {
    if matches!(error, ClamdError::Source(_)) || !content.clamd.can_scan().await {
        return false;
    }
    let failures = content.failures.count(file);
    if failures < content.settings.scan_attempts {
        return false;
    }
    tracing::error!(file_id = %file, %error, failures, "clamd fails with this file again and again; it counts as unscanned");
    metrics::GIVEN_UP.inc();
    true
}

async fn is_purged(content: &Content, target: &Target) -> Result<bool, ScanError> {
    let Target { company, file, .. } = *target;
    Ok(content.repository.load(&FileAggregate { company, file }).await?.state.purged)
}

/// Returns the scan of another file of the company with the same bytes and the same signatures. The tables provide
/// candidates, and their events decide.
async fn scan_of_same_bytes(
    content: &Content,
    version: &Version,
    target: &Target,
) -> Result<Option<FileScanned>, ScanError> {
    let Target { company, sha256, .. } = *target;
    let mut connection = content.database.connection().await?;
    let candidates = scanned_with_same_bytes(&mut connection, company, sha256, &version.database).await?;
    drop(connection);
    for file in candidates.into_iter().filter(|file| *file != target.file) {
        let upload = content.repository.load(&LifecycleAggregate(UploadAggregate { company, upload: file })).await?;
        let is_same = matches!(&upload.state.phase, Phase::Verified { sha256: its, .. } if *its == sha256);
        let state = content.repository.load(&FileAggregate { company, file }).await?.state;
        let is_current = state.scanned_with.as_ref() == Some(&version.database);
        // A failure may have had other reasons than the bytes.
        let usable = |result: &ScanResult| !matches!(result, ScanResult::Unscanned { reason: UnscannedReason::Failed });
        if let Some(result) = state.scans.last.filter(|result| is_same && is_current && usable(result)) {
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

/// Scans the bytes of a file. Returns the result and the number of bytes that clamd looked at.
async fn scan_bytes(content: &Content, target: &Target) -> Result<(ScanResult, u64), ScanError> {
    let _place = match target.size_bytes {
        size_bytes if size_bytes >= LARGE => Some(content.long.take(target.company).ok_or(ScanError::NoPlace)?),
        _ => None,
    };
    let most = content.settings.clamd_stream_max_bytes;
    let key = existing_key(content, target).await?;
    if target.size_bytes <= most {
        let result = scan_range(content, &key, 0, target.size_bytes).await?;
        let covered = if matches!(result, ScanResult::Unscanned { .. }) { 0 } else { target.size_bytes };
        return Ok((result, covered));
    }
    let (mut from, mut covered) = (0, 0);
    while from < target.size_bytes {
        let to = (from + most).min(target.size_bytes);
        match scan_range(content, &key, from, to - from).await? {
            infected @ ScanResult::Infected { .. } => return Ok((infected, to)),
            ScanResult::Clean => covered = to,
            ScanResult::Unscanned { .. } => {}
        }
        from = if to == target.size_bytes { to } else { to - OVERLAP.min(most / 2) };
    }
    Ok((ScanResult::Unscanned { reason: UnscannedReason::TooLarge }, covered))
}

async fn scan_range(content: &Content, key: &str, offset: u64, length: u64) -> Result<ScanResult, ScanError> {
    let body = content.store.get(key, offset, Some(length)).await?;
    let mut left = length;
    let bytes = body.bytes.map_err(ClamdError::from).inspect_ok(|bytes| {
        metrics::SCANNED_BYTES.inc_by(u64::try_from(bytes.len()).unwrap_or(0));
        left = left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    });
    let result = content.clamd.scan(std::pin::pin!(bytes)).await?;
    // A body that ends early is not the file. A finding in it is still a finding.
    if left > 0 && result == ScanResult::Clean {
        let reason = format!("the body is {left} bytes too short");
        return Err(StoreError::Unavailable { operation: "reading a file to scan", reason }.into());
    }
    Ok(result)
}

/// Returns the key of the file's object: its own, or that of the object that it shares with other files.
async fn existing_key(content: &Content, target: &Target) -> Result<String, ScanError> {
    if content.store.size(&target.storage_key).await?.is_some() {
        return Ok(target.storage_key.clone());
    }
    let shared = ContentAggregate { company: target.company, sha256: target.sha256 };
    let state = content.repository.load(&shared).await?.state;
    let object = state.object.filter(|_| state.references.contains(&target.file));
    let operation = "reading a file to scan";
    object.map(|object| object.storage_key).ok_or(StoreError::NotFound { operation }.into())
}

async fn record(
    content: &Content,
    target: &Target,
    scanned: FileScanned,
    causation: Causation,
) -> Result<(), ScanError> {
    let Target { company, file, .. } = *target;
    let verdict = Verdict::from(&scanned.result);
    if verdict == Verdict::Infected {
        tracing::warn!(company_id = %company, file_id = %file, "a file is infected");
    }
    let (aggregate, context) = (FileAggregate { company, file }, context(causation));
    match content.repository.execute(&aggregate, Command::RecordScan(scanned), &context).await {
        Ok(_) => metrics::SCANS.with_label_values(&[verdict.as_str()]).inc(),
        // The file was purged in the meantime.
        Err(ExecuteError::Refused(Refusal::NotFound { .. })) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
