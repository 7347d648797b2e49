//! Folds upload events into `file`, `upload_progress` and `partial_upload`.

use super::convert::{big, metadata, ms_of, small, time_of};
use super::misfit::Misfit;
use super::partials;
use super::tables::Tables;
use super::{sessions, shares};
use chrono::{DateTime, Utc};
use waybill_domain::grid::PartGrid;
use waybill_domain::progress::{Progress, Speed};
use waybill_domain::{media_type, name};
use waybill_read_model::MetadataKeys;
use waybill_read_model::rows::{FileRow, UploadProgressRow};
use waybill_schema::events::{ChunkUploaded, FileUploaded, UploadDescription, UploadEvent, UploadKind};
use waybill_schema::{ByteRange, CompanyId, ProcessingStatus, RangeSet, Recorded, StorageTier, UploadId, UploadStatus};

pub(super) fn fold_upload(
    tables: &mut Tables,
    id: UploadId,
    event: &UploadEvent,
    recorded: &Recorded,
    keys: &MetadataKeys,
) -> Result<(), Misfit> {
    let time = time_of(recorded.envelope.time);
    let seq = big(recorded.position.seq);
    if let UploadEvent::UploadStarted(upload) = event
        && upload.kind == UploadKind::Partial
    {
        return partials::start(tables, id, &upload.started);
    }
    if tables.partials.get(id.0).is_some() {
        return partials::fold(tables, id, event);
    }
    match event {
        UploadEvent::UploadStarted(upload) => {
            start(tables, id, &upload.started, upload.length_deferred, time, seq)?;
            let file = tables.files.change(id.0)?;
            file.upload_link_id = upload.link_id.map(|link| link.0);
            set_terms(file, keys);
            shares::of_upload(tables, id, &upload.started, recorded)
        }
        UploadEvent::UploadLengthSet(set) => set_length(tables, id, set.size_bytes, time, seq),
        UploadEvent::QuarantineCopied(copied) => {
            set_length(tables, id, copied.size_bytes, time, seq)?;
            store(tables, id, ByteRange { from: 0, to: copied.size_bytes }, time, seq)
        }
        UploadEvent::FileUploaded(uploaded) => {
            upload_whole(tables, id, uploaded, time, seq)?;
            set_terms(tables.files.change(id.0)?, keys);
            shares::of_upload(tables, id, &uploaded.started, recorded)
        }
        // Bytes that arrive after the end of the upload are not part of the file.
        UploadEvent::ChunkUploaded(_) if tables.progress.get(id.0).is_some_and(|row| row.completed_at.is_some()) => {
            Ok(())
        }
        UploadEvent::ChunkUploaded(chunk) => store_chunk(tables, id, chunk, recorded, seq),
        UploadEvent::FileCompleted(_) => {
            let file = tables.files.change(id.0)?;
            file.processing_status = ProcessingStatus::Processing;
            file.updated_at = time;
            touch(tables, id, time, seq)
        }
        UploadEvent::FileVerified(verified) => {
            let file = tables.files.change(id.0)?;
            type_by_content(file, verified.sniffed_mime_type.as_deref());
            file.hash = Some(verified.sha256.to_string());
            file.crc32 = verified.crc32.map(i64::from);
            file.storage_key = Some(verified.storage_key.clone());
            file.storage_bucket = Some(verified.storage_bucket.clone());
            file.is_processed = true;
            file.processing_status = ProcessingStatus::Completed;
            file.updated_at = time;
            end(tables, id, UploadStatus::Completed, None, time, seq)
        }
        UploadEvent::FileRejected(rejected) => {
            fail_file(tables, id, time)?;
            end(tables, id, UploadStatus::Failed, Some((rejected.code.as_str(), rejected.message.as_str())), time, seq)
        }
        UploadEvent::UploadCancelled(_) => {
            fail_file(tables, id, time)?;
            end(tables, id, UploadStatus::Cancelled, None, time, seq)
        }
        // An upload that only has a reservation has no row.
        UploadEvent::UploadExpired(_) if tables.files.get(id.0).is_none() => Ok(()),
        UploadEvent::UploadExpired(_) => {
            fail_file(tables, id, time)?;
            end(
                tables,
                id,
                UploadStatus::Failed,
                Some(("upload_expired", "the upload was not continued in time")),
                time,
                seq,
            )
        }
        UploadEvent::QuarantineSigned(signed) => {
            let row = tables.progress.change(id.0)?;
            row.quarantine_until = row.quarantine_until.max(Some(time_of(signed.until)));
            touch(tables, id, time, seq)
        }
        UploadEvent::QuarantineCleared(_) => {
            tables.progress.change(id.0)?.quarantine_until = None;
            touch(tables, id, time, seq)
        }
        UploadEvent::MultipartOpened(_) | UploadEvent::PartAssembled(_) => touch(tables, id, time, seq),
        // Only partial uploads have this event. They are folded above.
        UploadEvent::UploadConcatenated(_) => Ok(()),
    }
}

/// Adds the rows of an upload. While its length is deferred, the stored bytes count as the size of the file.
fn start(
    tables: &mut Tables,
    id: UploadId,
    started: &UploadDescription,
    length_deferred: bool,
    time: DateTime<Utc>,
    seq: i64,
) -> Result<(), Misfit> {
    let size_bytes = if length_deferred { 0 } else { started.size_bytes };
    add_file(tables, id, started, size_bytes, time)?;
    let grid = PartGrid { size_bytes, part_size_bytes: started.part_size_bytes };
    tables.progress.add(UploadProgressRow {
        id: id.0,
        company_id: started.company_id.0,
        upload_session_id: started.session_id.map(|id| id.0),
        file_id: id.0,
        user_id: started.uploaded_by.0,
        status: UploadStatus::Pending,
        progress_percentage: 0,
        bytes_uploaded: 0,
        total_bytes: big(size_bytes),
        upload_speed: 0,
        estimated_time_remaining: None,
        current_chunk: 0,
        total_chunks: small(grid.total_parts()),
        error_code: None,
        error_message: None,
        started_at: time,
        completed_at: None,
        last_updated_at: time,
        last_stored_at: None,
        expires_at: time_of(started.expires_at),
        part_size_bytes: big(started.part_size_bytes),
        covered: RangeSet::default(),
        applied_seq: seq,
        length_deferred,
        quarantine_until: None,
    });
    sessions::file_started(tables, started.session_id, size_bytes, time)
}

fn add_file(
    tables: &mut Tables,
    id: UploadId,
    started: &UploadDescription,
    size_bytes: u64,
    time: DateTime<Utc>,
) -> Result<(), Misfit> {
    let added = tables.files.add(FileRow {
        id: id.0,
        company_id: started.company_id.0,
        thread_id: started.thread_id.map(|id| id.0),
        chatroom_id: started.chatroom_id.map(|id| id.0),
        uploaded_by: started.uploaded_by.0,
        original_name: started.original_name.clone(),
        display_name: None,
        mime_type: started.mime_type.clone(),
        size_bytes: big(size_bytes),
        hash: None,
        storage_key: None,
        storage_bucket: None,
        download_url: None,
        metadata: metadata(started.metadata.as_deref())?,
        is_processed: false,
        processing_status: ProcessingStatus::Pending,
        created_at: time,
        updated_at: time,
        deleted_at: None,
        purged_at: None,
        search_name: name::fold(&started.original_name),
        metadata_text: started.metadata.clone(),
        restored_at: None,
        scan_verdict: None,
        scan: None,
        released_at: None,
        preview: None,
        stored_bytes: None,
        storage_tier: StorageTier::Hot.as_str().to_owned(),
        restore_requested_at: None,
        location: None,
        crc32: None,
        plain_crc32: None,
        upload_link_id: None,
        labels: None,
        terms: None,
    });
    if added { Ok(()) } else { Err(Misfit(format!("upload {id} started twice"))) }
}

/// Sets the terms by which a file is found to its labels and declared metadata.
pub(super) fn set_terms(file: &mut FileRow, keys: &MetadataKeys) {
    file.terms = keys.terms_of(CompanyId(file.company_id), file.labels.as_ref(), file.metadata_text.as_deref());
}

/// Sets the media type from the content if neither the client nor the file name gave one.
fn type_by_content(file: &mut FileRow, sniffed: Option<&str>) {
    if file.mime_type.is_empty() {
        let fitting = sniffed.filter(|sniffed| sniffed.len() <= media_type::MAX_TYPE_BYTES);
        fitting.unwrap_or(media_type::ANY).clone_into(&mut file.mime_type);
    }
}

fn set_length(tables: &mut Tables, id: UploadId, size_bytes: u64, time: DateTime<Utc>, seq: i64) -> Result<(), Misfit> {
    let file = tables.files.change(id.0)?;
    file.size_bytes = big(size_bytes);
    file.updated_at = time;
    touch(tables, id, time, seq)?;
    tables.progress.change(id.0)?.length_deferred = false;
    resize(tables, id, size_bytes, time)
}

/// Sets the size of a file, and adds the difference to the total of its session.
fn resize(tables: &mut Tables, id: UploadId, size_bytes: u64, time: DateTime<Utc>) -> Result<(), Misfit> {
    let row = tables.progress.change(id.0)?;
    let more = big(size_bytes) - row.total_bytes;
    row.total_bytes = big(size_bytes);
    // Another request may have set a smaller length at the same time. Bytes beyond it are not part of the file.
    let kept = row.covered.within(ByteRange { from: 0, to: size_bytes });
    let lost = row.covered.total() - kept.total();
    row.covered = kept;
    row.bytes_uploaded -= big(lost);
    let grid = PartGrid { size_bytes, part_size_bytes: row.part_size_bytes.unsigned_abs() };
    row.total_chunks = small(grid.total_parts());
    let deferred = row.length_deferred;
    let speed = Speed { bytes_per_s: row.upload_speed.unsigned_abs() };
    let progress = Progress::of(grid, &row.covered, speed, false);
    row.progress_percentage = if deferred { 0 } else { i32::from(progress.percentage) };
    row.estimated_time_remaining =
        if deferred { None } else { progress.estimated_time_remaining_s.map(small).filter(|_| row.upload_speed > 0) };
    row.current_chunk = small(progress.current_chunk);
    let session = row.upload_session_id;
    sessions::bytes_lost(tables, session, lost, time)?;
    sessions::file_resized(tables, session, more, time)
}

/// Adds a file that was uploaded whole in one request. Only a session needs a progress row for it, because the session
/// lists the progress of its files.
fn upload_whole(
    tables: &mut Tables,
    id: UploadId,
    uploaded: &FileUploaded,
    time: DateTime<Utc>,
    seq: i64,
) -> Result<(), Misfit> {
    let is_listed = uploaded.started.session_id.is_some();
    if is_listed {
        start(tables, id, &uploaded.started, false, time, seq)?;
    } else {
        add_file(tables, id, &uploaded.started, uploaded.started.size_bytes, time)?;
    }
    let file = tables.files.change(id.0)?;
    type_by_content(file, uploaded.sniffed_mime_type.as_deref());
    file.hash = Some(uploaded.sha256.to_string());
    file.crc32 = uploaded.crc32.map(i64::from);
    file.upload_link_id = uploaded.link_id.map(|link| link.0);
    file.storage_key = Some(uploaded.storage_key.clone());
    file.storage_bucket = Some(uploaded.storage_bucket.clone());
    file.is_processed = true;
    file.processing_status = ProcessingStatus::Completed;
    if !is_listed {
        return Ok(());
    }
    let whole = ByteRange { from: 0, to: uploaded.started.size_bytes };
    store(tables, id, whole, time, seq)?;
    end(tables, id, UploadStatus::Completed, None, time, seq)
}

fn store_chunk(
    tables: &mut Tables,
    id: UploadId,
    chunk: &ChunkUploaded,
    recorded: &Recorded,
    seq: i64,
) -> Result<(), Misfit> {
    let range = ByteRange::at(chunk.offset, chunk.length);
    store(tables, id, range, time_of(recorded.envelope.time), seq)
}

/// Records stored bytes. Bytes that were already stored are not counted again.
fn store(tables: &mut Tables, id: UploadId, range: ByteRange, time: DateTime<Utc>, seq: i64) -> Result<(), Misfit> {
    let row = tables.progress.change(id.0)?;
    if row.length_deferred && big(range.to) > row.total_bytes {
        resize(tables, id, range.to, time)?;
    }
    let row = tables.progress.change(id.0)?;
    let grid =
        PartGrid { size_bytes: row.total_bytes.unsigned_abs(), part_size_bytes: row.part_size_bytes.unsigned_abs() };
    if range.to > grid.size_bytes {
        // Another request set a smaller length at the same time. These bytes are not part of the file.
        return touch(tables, id, time, seq);
    }
    let before = row.covered.total();
    row.covered.insert(range);
    let stored = row.covered.total() - before;
    if stored > 0 {
        let started_at = ms_of(row.started_at);
        let last = row.last_stored_at.map_or(started_at, ms_of);
        let speed = Speed { bytes_per_s: row.upload_speed.unsigned_abs() };
        let speed = speed.after(stored, ms_of(time).ms_since(last), ms_of(time).ms_since(started_at));
        let progress = Progress::of(grid, &row.covered, speed, false);
        row.upload_speed = big(speed.bytes_per_s);
        row.bytes_uploaded = big(progress.bytes_uploaded);
        if !row.length_deferred {
            row.progress_percentage = i32::from(progress.percentage);
            row.estimated_time_remaining = progress.estimated_time_remaining_s.map(small);
        }
        row.current_chunk = small(progress.current_chunk);
        row.last_stored_at = Some(row.last_stored_at.map_or(time, |before| before.max(time)));
    }
    if row.status == UploadStatus::Pending {
        row.status = UploadStatus::Uploading;
    }
    row.last_updated_at = time;
    row.applied_seq = seq;
    let session = row.upload_session_id;
    sessions::bytes_stored(tables, session, stored, time)
}

fn touch(tables: &mut Tables, id: UploadId, time: DateTime<Utc>, seq: i64) -> Result<(), Misfit> {
    let row = tables.progress.change(id.0)?;
    row.last_updated_at = time;
    row.applied_seq = seq;
    Ok(())
}

fn fail_file(tables: &mut Tables, id: UploadId, time: DateTime<Utc>) -> Result<(), Misfit> {
    let file = tables.files.change(id.0)?;
    file.processing_status = ProcessingStatus::Failed;
    file.updated_at = time;
    Ok(())
}

fn end(
    tables: &mut Tables,
    id: UploadId,
    status: UploadStatus,
    error: Option<(&str, &str)>,
    time: DateTime<Utc>,
    seq: i64,
) -> Result<(), Misfit> {
    let row = tables.progress.change(id.0)?;
    row.status = status;
    row.error_code = error.map(|(code, _)| code.to_owned());
    row.error_message = error.map(|(_, message)| message.to_owned());
    if status == UploadStatus::Completed {
        row.progress_percentage = 100;
        row.estimated_time_remaining = Some(0);
    }
    row.completed_at = Some(time);
    row.last_updated_at = time;
    row.applied_seq = seq;
    let session = row.upload_session_id;
    sessions::file_ended(tables, session, status == UploadStatus::Completed, time)
}
