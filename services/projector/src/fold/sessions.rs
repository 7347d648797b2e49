//! Folds session events, and the changes of their files, into `upload_session`.

use super::convert::big;
use super::misfit::Misfit;
use super::tables::Tables;
use chrono::{DateTime, Utc};
use uuid::Uuid;
use waybill_read_model::rows::UploadSessionRow;
use waybill_schema::events::SessionEvent;
use waybill_schema::{SessionId, SessionStatus};

pub(super) fn fold(
    tables: &mut Tables,
    id: SessionId,
    event: &SessionEvent,
    company_id: Uuid,
    time: DateTime<Utc>,
) -> Result<(), Misfit> {
    if let SessionEvent::SessionOpened(opened) = event {
        tables.sessions.add(UploadSessionRow {
            id: id.0,
            user_id: opened.user_id.0,
            company_id,
            session_name: opened.session_name.clone(),
            total_files: 0,
            completed_files: 0,
            failed_files: 0,
            total_size: 0,
            uploaded_size: 0,
            status: SessionStatus::Active,
            is_closed: false,
            created_at: time,
            updated_at: time,
            completed_at: None,
        });
        return Ok(());
    }
    let row = tables.sessions.change(id.0)?;
    row.updated_at = row.updated_at.max(time);
    match event {
        SessionEvent::SessionClosed(_) => row.is_closed = true,
        SessionEvent::SessionCancelled(_) => {
            row.is_closed = true;
            row.status = SessionStatus::Cancelled;
            row.completed_at = Some(time);
        }
        // Handled above.
        SessionEvent::SessionOpened(_) => {}
    }
    finish(row, time);
    Ok(())
}

pub(super) fn file_started(
    tables: &mut Tables,
    session: Option<SessionId>,
    size_bytes: u64,
    time: DateTime<Utc>,
) -> Result<(), Misfit> {
    let Some(id) = session else { return Ok(()) };
    let row = tables.sessions.change(id.0)?;
    row.total_files += 1;
    row.total_size = row.total_size.saturating_add(big(size_bytes));
    row.updated_at = row.updated_at.max(time);
    Ok(())
}

pub(super) fn file_resized(
    tables: &mut Tables,
    session: Option<Uuid>,
    more_bytes: i64,
    time: DateTime<Utc>,
) -> Result<(), Misfit> {
    let Some(id) = session else { return Ok(()) };
    let row = tables.sessions.change(id)?;
    row.total_size = row.total_size.saturating_add(more_bytes);
    row.updated_at = row.updated_at.max(time);
    Ok(())
}

pub(super) fn bytes_stored(
    tables: &mut Tables,
    session: Option<Uuid>,
    bytes: u64,
    time: DateTime<Utc>,
) -> Result<(), Misfit> {
    let Some(id) = session else { return Ok(()) };
    let row = tables.sessions.change(id)?;
    row.uploaded_size = row.uploaded_size.saturating_add(big(bytes));
    row.updated_at = row.updated_at.max(time);
    Ok(())
}

/// Subtracts stored bytes that turned out not to be part of their file.
pub(super) fn bytes_lost(
    tables: &mut Tables,
    session: Option<Uuid>,
    bytes: u64,
    time: DateTime<Utc>,
) -> Result<(), Misfit> {
    let Some(id) = session.filter(|_| bytes > 0) else { return Ok(()) };
    let row = tables.sessions.change(id)?;
    row.uploaded_size = row.uploaded_size.saturating_sub(big(bytes));
    row.updated_at = row.updated_at.max(time);
    Ok(())
}

pub(super) fn file_ended(
    tables: &mut Tables,
    session: Option<Uuid>,
    completed: bool,
    time: DateTime<Utc>,
) -> Result<(), Misfit> {
    let Some(id) = session else { return Ok(()) };
    let row = tables.sessions.change(id)?;
    if completed {
        row.completed_files += 1;
    } else {
        row.failed_files += 1;
    }
    row.updated_at = row.updated_at.max(time);
    finish(row, time);
    Ok(())
}

/// Ends a closed session if all of its files have ended.
fn finish(row: &mut UploadSessionRow, time: DateTime<Utc>) {
    let ended = row.completed_files + row.failed_files == row.total_files;
    if row.status == SessionStatus::Active && row.is_closed && ended {
        row.status = if row.failed_files == 0 { SessionStatus::Completed } else { SessionStatus::Failed };
        row.completed_at = Some(time);
    }
}
