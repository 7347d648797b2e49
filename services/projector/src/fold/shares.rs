//! Folds share events into `file_association`.

use super::convert::{big, time_of};
use super::misfit::Misfit;
use super::tables::Tables;
use waybill_read_model::rows::FileAssociationRow;
use waybill_schema::events::{FileShared, ShareEvent, UploadDescription};
use waybill_schema::{AccessType, FileId, Permissions, Recorded, ShareBasis, ShareId};

pub(super) fn fold(tables: &mut Tables, id: ShareId, event: &ShareEvent, recorded: &Recorded) -> Result<(), Misfit> {
    if let ShareEvent::FileShared(shared) = event {
        return add(tables, id, shared, recorded);
    }
    let time = time_of(recorded.envelope.time);
    let share = tables.shares.change(id.0)?;
    share.updated_at = time;
    match event {
        ShareEvent::ShareChanged(changed) => {
            share.access_type = changed.access_type;
            share.permissions = json(changed.permissions.as_ref())?;
            share.expires_at = changed.expires_at.map(time_of);
        }
        ShareEvent::SharePinned(pinned) => share.is_pinned = pinned.is_pinned,
        ShareEvent::ShareRevoked(_) => share.revoked_at = Some(time),
        // Handled above.
        ShareEvent::FileShared(_) => {}
    }
    Ok(())
}

/// Adds the association of a file that is uploaded into a chatroom or thread. It exists from the start of the upload.
pub(super) fn of_upload(
    tables: &mut Tables,
    file_id: FileId,
    started: &UploadDescription,
    recorded: &Recorded,
) -> Result<(), Misfit> {
    if started.chatroom_id.is_none() && started.thread_id.is_none() {
        return Ok(());
    }
    let shared = FileShared {
        file_id,
        chatroom_id: started.chatroom_id,
        thread_id: started.thread_id,
        shared_by: started.uploaded_by,
        access_type: AccessType::Private,
        permissions: None,
        expires_at: None,
        basis: ShareBasis::Uploader,
    };
    add(tables, ShareId(file_id.0), &shared, recorded)
}

fn add(tables: &mut Tables, id: ShareId, shared: &FileShared, recorded: &Recorded) -> Result<(), Misfit> {
    let time = time_of(recorded.envelope.time);
    let row = FileAssociationRow {
        id: id.0,
        company_id: recorded.subject.company.0,
        file_id: shared.file_id.0,
        chatroom_id: shared.chatroom_id.map(|id| id.0),
        thread_id: shared.thread_id.map(|id| id.0),
        shared_by: shared.shared_by.0,
        access_type: shared.access_type,
        permissions: json(shared.permissions.as_ref())?,
        expires_at: shared.expires_at.map(time_of),
        is_pinned: false,
        created_at: time,
        updated_at: time,
        shared_seq: big(recorded.position.seq),
        revoked_at: None,
        parent_id: shared.basis.parent().map(|parent| parent.0),
    };
    if tables.shares.get(id.0).is_none() {
        tables.shares.add(row);
        return Ok(());
    }
    // The file is shared again with a place after its share there has ended.
    *tables.shares.change(id.0)? = row;
    Ok(())
}

fn json(permissions: Option<&Permissions>) -> Result<Option<serde_json::Value>, Misfit> {
    let json = permissions.map(serde_json::to_value).transpose();
    json.map_err(|error| Misfit(format!("permissions cannot be written as JSON: {error}")))
}
