//! `content`, and where files have their bytes.

use super::convert::{big, id_of_content, time_of};
use super::{Misfit, Tables};
use waybill_read_model::rows::ContentRow;
use waybill_schema::{Event, FileId, Recorded, Sha256Digest};

/// The file that an event of content is about.
pub(super) fn file_of(event: &Event) -> Option<FileId> {
    match event {
        Event::ContentStored(stored) => Some(stored.file_id),
        Event::ContentReferenced(referenced) => Some(referenced.file_id),
        Event::ContentReleased(released) => Some(released.file_id),
        _ => None,
    }
}

pub(super) fn fold(
    tables: &mut Tables,
    sha256: Sha256Digest,
    event: &Event,
    recorded: &Recorded,
) -> Result<(), Misfit> {
    let company = recorded.subject.company;
    let time = time_of(recorded.envelope.time);
    let id = id_of_content(company, sha256);
    match event {
        Event::ContentStored(stored) => {
            let row = ContentRow {
                company_id: company.0,
                id,
                hash: sha256.to_string(),
                storage_bucket: stored.storage_bucket.clone(),
                storage_key: stored.storage_key.clone(),
                size_bytes: big(stored.size_bytes),
                reference_count: 1,
                created_at: time,
                updated_at: time,
            };
            if !tables.contents.add(row.clone()) {
                // An object of before was doomed when its last file let go of it.
                *tables.contents.change(id)? = row;
            }
        }
        Event::ContentReferenced(referenced) => {
            let content = tables.contents.change(id)?;
            content.reference_count += 1;
            content.updated_at = time;
            let file = tables.files.change(referenced.file_id.0)?;
            file.storage_bucket = Some(referenced.storage_bucket.clone());
            file.storage_key = Some(referenced.storage_key.clone());
        }
        Event::ContentReleased(_) => {
            let content = tables.contents.change(id)?;
            content.reference_count -= 1;
            content.updated_at = time;
        }
        _ => {}
    }
    Ok(())
}
