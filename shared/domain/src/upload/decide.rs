//! Decisions on commands to an upload.

use super::{Command, Phase, State, Verification};
use crate::Refusal;
use crate::media_type::{Claim, TypePolicy};
use waybill_schema::ErrorCode;
use waybill_schema::events::{
    ChunkStorage, ChunkUploaded, FileCompleted, FileRejected, FileUploaded, FileVerified, QuarantineCleared,
    QuarantineCopied, QuarantineSigned, UploadCancelled, UploadConcatenated, UploadDescription, UploadEvent,
    UploadExpired, UploadKind, UploadLengthSet, UploadStarted,
};
use waybill_schema::{ByteRange, Sha256Digest, Timestamp, UploadId};

/// Minimum time in milliseconds between the recorded expiry and that of a new URL. Earlier URLs need no event of their
/// own.
const SIGNED_AGAIN_AFTER_MS: i64 = 5 * 60_000;

/// Decides on a command. Returns at most one event, and none if the command was carried out before.
///
/// # Errors
/// The [`Refusal`] for the client.
pub fn decide(state: &State, command: Command) -> Result<Option<UploadEvent>, Refusal> {
    match command {
        Command::Start(start) => decide_start(state, start),
        Command::SetLength { size_bytes } => decide_length(state, size_bytes),
        Command::Claim { into } => decide_claim(state, into),
        Command::SignQuarantine { until } => {
            state.check_takes_bytes()?;
            // A client may request URLs repeatedly. Not every URL needs an event, because the worker waits for the
            // object for longer than this time.
            let is_known = state.quarantine_until.is_some_and(|known| known.plus_ms(SIGNED_AGAIN_AFTER_MS) > until);
            Ok((!is_known).then(|| QuarantineSigned { until }.into()))
        }
        Command::ClearQuarantine { ended_by } => {
            let due = state.has_ended() && state.quarantine_until.is_some_and(|until| until <= ended_by);
            Ok(due.then(|| QuarantineCleared {}.into()))
        }
        Command::CopyQuarantine(copied) => decide_copied(state, copied),
        Command::UploadWhole(upload) => decide_whole(state, upload),
        Command::OpenMultipart(opened) => {
            // The last part of a complete or concatenated upload may be assembled only now.
            if !matches!(state.phase, Phase::Verifying | Phase::Concatenated { .. }) {
                state.check_takes_bytes()?;
            }
            Ok(state.multipart.is_none().then(|| opened.into()))
        }
        Command::RecordChunk(chunk) => decide_chunk(state, chunk),
        Command::RecordAssembly(assembled) => {
            let known = state.parts.contains_key(&assembled.part_number);
            let may_still = !state.has_ended() || matches!(state.phase, Phase::Concatenated { .. });
            let is_news = !known || state.is_first_rewrite(assembled.store_writes);
            Ok((is_news && may_still).then(|| assembled.into()))
        }
        Command::Complete { declared_sha256, now } => decide_complete(state, declared_sha256, now),
        Command::Verify { found, policy } => decide_verified(state, found, &policy),
        Command::Reject { code, message } => match state.phase {
            // A quarantined object or a final upload may turn out to be unusable before the upload is complete.
            // Acknowledged bytes may turn out to be lost.
            Phase::Active | Phase::Verifying => Ok(Some(rejected(code, message))),
            _ => Ok(None),
        },
        Command::Cancel => decide_cancel(state),
        Command::Expire { now } => Ok(decide_expire(state, now)),
    }
}

fn decide_start(state: &State, start: UploadStarted) -> Result<Option<UploadEvent>, Refusal> {
    match &state.started {
        None if state.phase == Phase::Absent => Ok(Some(start.into())),
        None => Err(Refusal::UploadEnded { status: "expired" }),
        Some(before)
            if same_start(before, &start.started) && state.kind == start.kind && state.link_id == start.link_id =>
        {
            Ok(None)
        }
        Some(_) => Err(Refusal::IdTaken { what: "upload" }),
    }
}

fn decide_length(state: &State, size_bytes: u64) -> Result<Option<UploadEvent>, Refusal> {
    let limit_bytes = state.grid().size_bytes;
    match &state.phase {
        Phase::Absent | Phase::Cancelled | Phase::Expired | Phase::Rejected { .. } => state.check_takes_bytes()?,
        _ if !state.length_deferred && limit_bytes == size_bytes => return Ok(None),
        _ => {}
    }
    if !state.length_deferred || size_bytes < state.stored.end() {
        let known_bytes = if state.length_deferred { state.stored.end() } else { limit_bytes };
        return Err(Refusal::LengthConflict { size_bytes, known_bytes });
    }
    if size_bytes > limit_bytes {
        return Err(Refusal::FileTooLarge { size_bytes, limit_bytes });
    }
    Ok(Some(UploadLengthSet { size_bytes }.into()))
}

fn decide_claim(state: &State, into: UploadId) -> Result<Option<UploadEvent>, Refusal> {
    let unfit = |reason| Err(Refusal::PartialUnfit { reason });
    match &state.phase {
        Phase::Concatenated { into: before } if *before == into => return Ok(None),
        Phase::Concatenated { .. } => return unfit("it is part of another final upload"),
        _ => state.check_takes_bytes()?,
    }
    if state.kind != UploadKind::Partial {
        return unfit("it is not a partial upload");
    }
    if state.length_deferred || !state.missing().is_empty() {
        return unfit("it is not complete");
    }
    Ok(Some(UploadConcatenated { into }.into()))
}

fn decide_copied(state: &State, copied: QuarantineCopied) -> Result<Option<UploadEvent>, Refusal> {
    if state.copied.is_some() {
        return Ok(None);
    }
    state.check_takes_bytes()?;
    let size_bytes = state.grid().size_bytes;
    if copied.size_bytes > size_bytes || (copied.size_bytes != size_bytes && !state.length_deferred) {
        return Err(Refusal::SizeExceeded { size_bytes });
    }
    Ok(Some(copied.into()))
}

fn decide_whole(state: &State, upload: FileUploaded) -> Result<Option<UploadEvent>, Refusal> {
    match &state.phase {
        Phase::Absent => Ok(Some(upload.into())),
        Phase::Verified { sha256, .. } if *sha256 == upload.sha256 => Ok(None),
        Phase::Expired => Err(Refusal::UploadEnded { status: "expired" }),
        _ => Err(Refusal::IdTaken { what: "upload" }),
    }
}

/// Returns `true` if two starts differ only in the time at which the upload would expire.
fn same_start(before: &UploadDescription, again: &UploadDescription) -> bool {
    *before == UploadDescription { expires_at: before.expires_at, ..again.clone() }
}

fn decide_chunk(state: &State, chunk: ChunkUploaded) -> Result<Option<UploadEvent>, Refusal> {
    state.check_takes_bytes()?;
    let size_bytes = state.grid().size_bytes;
    let range = ByteRange::at(chunk.offset, chunk.length);
    if range.to > size_bytes {
        return Err(Refusal::SizeExceeded { size_bytes });
    }
    if matches!(chunk.storage, ChunkStorage::Staged { .. }) {
        state.check_piece(range)?;
    }
    // If another worker has written the same part, either version may be in the store. This must be recorded.
    let is_known = state.stored.contains(range) && !state.has_another_part(&chunk);
    Ok((!is_known || state.is_first_rewrite(chunk.store_writes)).then(|| chunk.into()))
}

fn decide_complete(
    state: &State,
    declared_sha256: Option<Sha256Digest>,
    now: Timestamp,
) -> Result<Option<UploadEvent>, Refusal> {
    match (&state.phase, &state.started) {
        (Phase::Verifying | Phase::Verified { .. } | Phase::Rejected { .. }, _) => return Ok(None),
        (Phase::Active, Some(started)) if now >= started.expires_at => {
            return Err(Refusal::UploadEnded { status: "expired" });
        }
        _ => state.check_takes_bytes()?,
    }
    if state.kind == UploadKind::Partial {
        return Err(Refusal::PartialUnfit { reason: "a partial upload cannot be completed; use it in a final upload" });
    }
    if state.length_deferred {
        return Err(Refusal::LengthUnknown);
    }
    let missing = state.missing();
    if !missing.is_empty() {
        return Err(Refusal::ChunksMissing { missing });
    }
    Ok(Some(FileCompleted { declared_sha256 }.into()))
}

fn decide_verified(state: &State, found: Verification, policy: &TypePolicy) -> Result<Option<UploadEvent>, Refusal> {
    if state.phase != Phase::Verifying {
        return Ok(None);
    }
    let declared = state.started.as_ref().and_then(|started| started.declared_sha256);
    if let Some(declared) = declared.filter(|declared| *declared != found.sha256) {
        let message =
            format!("The SHA-256 of the file is {}, but {declared} was declared. Upload the file again.", found.sha256);
        return Ok(Some(rejected(ErrorCode::DigestMismatch, message)));
    }
    let claim =
        state.started.as_ref().map(|started| Claim { name: &started.original_name, mime_type: &started.mime_type });
    if let Some(Err(refusal)) = claim.map(|claim| policy.check_content(claim, found.sniffed_mime_type.as_deref())) {
        return Ok(Some(rejected(
            refusal.code(),
            format!("The content shows another type than the declared one. {refusal}"),
        )));
    }
    Ok(Some(
        FileVerified {
            sha256: found.sha256,
            storage_bucket: found.storage_bucket,
            storage_key: found.storage_key,
            sniffed_mime_type: found.sniffed_mime_type,
            read_back: found.read_back,
            crc32: found.crc32,
        }
        .into(),
    ))
}

fn rejected(code: ErrorCode, message: String) -> UploadEvent {
    FileRejected { code: code.to_string(), message }.into()
}

fn decide_cancel(state: &State) -> Result<Option<UploadEvent>, Refusal> {
    match state.phase {
        Phase::Active => Ok(Some(UploadCancelled {}.into())),
        Phase::Cancelled | Phase::Expired | Phase::Rejected { .. } => Ok(None),
        Phase::Absent => Err(Refusal::NotFound { what: "upload" }),
        Phase::Concatenated { .. } => Err(Refusal::UploadCompleted { hint: "Cancel the final upload instead." }),
        Phase::Verifying => Err(Refusal::UploadCompleted { hint: "Wait until it is verified, then delete the file." }),
        Phase::Verified { .. } => Err(Refusal::UploadCompleted { hint: "Delete the file instead." }),
    }
}

fn decide_expire(state: &State, now: Timestamp) -> Option<UploadEvent> {
    let due = match (&state.phase, &state.started) {
        (Phase::Absent, _) => true,
        (Phase::Active, Some(started)) => now >= started.expires_at || state.is_abandoned(now),
        _ => false,
    };
    due.then(|| UploadExpired {}.into())
}
