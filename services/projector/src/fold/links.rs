//! Folds events of upload links into `upload_link`.

use super::convert::{big, small, time_of};
use super::misfit::Misfit;
use super::tables::Tables;
use waybill_read_model::rows::UploadLinkRow;
use waybill_schema::events::LinkEvent;
use waybill_schema::{LinkId, Recorded};

pub(super) fn fold(tables: &mut Tables, id: LinkId, event: &LinkEvent, recorded: &Recorded) -> Result<(), Misfit> {
    let time = time_of(recorded.envelope.time);
    match event {
        LinkEvent::UploadLinkMade(made) => {
            let added = tables.links.add(UploadLinkRow {
                id: id.0,
                company_id: recorded.subject.company.0,
                user_id: made.owner.0,
                label: made.label.clone(),
                expires_at: time_of(made.expires_at),
                max_files: small(made.max_files),
                max_bytes: big(made.max_bytes),
                max_file_bytes: made.max_file_bytes.map(big),
                mime_types: (!made.mime_types.is_empty()).then(|| made.mime_types.clone()),
                chatroom_id: made.chatroom_id.map(|id| id.0),
                thread_id: made.thread_id.map(|id| id.0),
                ask_name: made.ask_name,
                created_at: time,
                revoked_at: None,
            });
            if added { Ok(()) } else { Err(Misfit(format!("upload link {id} was made twice"))) }
        }
        LinkEvent::UploadLinkRevoked(_) => {
            tables.links.change(id.0)?.revoked_at = Some(time);
            Ok(())
        }
    }
}
