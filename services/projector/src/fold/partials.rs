//! Projects the events of partial uploads to their rows.

use super::convert::time_of;
use super::misfit::Misfit;
use super::tables::Tables;
use waybill_read_model::rows::PartialUploadRow;
use waybill_schema::UploadId;
use waybill_schema::events::{UploadDescription, UploadEvent};

pub(super) fn start(tables: &mut Tables, id: UploadId, started: &UploadDescription) -> Result<(), Misfit> {
    let added = tables.partials.add(PartialUploadRow {
        id: id.0,
        company_id: started.company_id.0,
        uploaded_by: started.uploaded_by.0,
        expires_at: time_of(started.expires_at),
        has_ended: false,
        upload_session_id: started.session_id.map(|id| id.0),
    });
    if added { Ok(()) } else { Err(Misfit(format!("upload {id} started twice"))) }
}

pub(super) fn fold(tables: &mut Tables, id: UploadId, event: &UploadEvent) -> Result<(), Misfit> {
    match event {
        UploadEvent::UploadConcatenated(_)
        | UploadEvent::UploadCancelled(_)
        | UploadEvent::UploadExpired(_)
        | UploadEvent::FileRejected(_) => tables.partials.change(id.0)?.has_ended = true,
        UploadEvent::UploadStarted(_)
        | UploadEvent::UploadLengthSet(_)
        | UploadEvent::QuarantineSigned(_)
        | UploadEvent::QuarantineCopied(_)
        | UploadEvent::QuarantineCleared(_)
        | UploadEvent::MultipartOpened(_)
        | UploadEvent::ChunkUploaded(_)
        | UploadEvent::PartAssembled(_)
        | UploadEvent::FileCompleted(_)
        | UploadEvent::FileVerified(_)
        | UploadEvent::FileUploaded(_) => {}
    }
    Ok(())
}
