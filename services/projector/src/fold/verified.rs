//! Folds events of verified files into `file`.

use super::convert::metadata;
use super::files::set_terms;
use super::misfit::Misfit;
use super::tables::Tables;
use chrono::{DateTime, Utc};
use serde::Serialize;
use waybill_domain::name;
use waybill_domain::scan::Scans;
use waybill_read_model::MetadataKeys;
use waybill_read_model::queries::{Preview, Scan};
use waybill_schema::events::FileEvent;
use waybill_schema::{FileForm, FileId};

pub(super) fn fold_file(
    tables: &mut Tables,
    id: FileId,
    event: &FileEvent,
    time: DateTime<Utc>,
    keys: &MetadataKeys,
) -> Result<(), Misfit> {
    let file = tables.files.change(id.0)?;
    file.updated_at = time;
    match event {
        FileEvent::FileRenamed(renamed) => {
            file.display_name = Some(renamed.display_name.clone());
            file.search_name = name::fold(&renamed.display_name);
        }
        FileEvent::FileDeleted(_) => file.deleted_at = Some(time),
        FileEvent::FileRestored(_) => {
            file.deleted_at = None;
            file.restored_at = Some(time);
        }
        FileEvent::FileMetadataChanged(changed) => {
            file.metadata = metadata(changed.metadata.as_deref())?;
            file.metadata_text.clone_from(&changed.metadata);
            set_terms(file, keys);
        }
        FileEvent::FileLabelled(labelled) => {
            file.labels = Some(json_of(&labelled.labels)?);
            set_terms(file, keys);
        }
        FileEvent::FilePurged(_) => {
            file.purged_at = Some(time);
            (file.preview, file.location) = (None, None);
            (file.stored_bytes, file.restore_requested_at) = (None, None);
            (file.storage_key, file.storage_bucket) = (None, None);
        }
        FileEvent::FileSpaceReleased(_) => {}
        FileEvent::FileScanned(scanned) => {
            let scan = Scan::of(scanned, time);
            let before = file.scan.take().and_then(|before| Scan::parse(before).ok());
            let last = before.map(|before| before.result());
            let mut scans = Scans { last, is_released: file.released_at.is_some() };
            scans.apply(event);
            file.released_at = file.released_at.filter(|_| scans.is_released);
            file.scan_verdict = Some(scan.verdict.as_str().to_owned());
            file.scan = Some(json_of(&scan)?);
        }
        FileEvent::FileReleased(_) => file.released_at = file.released_at.or(Some(time)),
        // The event of the content says in which tier the bytes are.
        FileEvent::FileArchived(_) | FileEvent::FileThawed(_) => file.restore_requested_at = None,
        FileEvent::FileRestoreRequested(_) => file.restore_requested_at = Some(time),
        FileEvent::FileChecksummed(event) => match event.form {
            FileForm::Original => file.crc32 = Some(i64::from(event.crc32)),
            FileForm::Plain => file.plain_crc32 = Some(i64::from(event.crc32)),
        },
        FileEvent::LocationStripped(event) => file.location = Some(json_of(&event.stripped)?),
        FileEvent::PreviewsMade(made) => file.preview = Some(json_of(&Preview::of(made, time))?),
        FileEvent::PreviewFailed(failed) => file.preview = Some(json_of(&Preview::failed(failed, time))?),
    }
    Ok(())
}

/// Returns the value of a column that clients get unchanged.
fn json_of(shown: &impl Serialize) -> Result<serde_json::Value, Misfit> {
    serde_json::to_value(shown).map_err(|error| Misfit(format!("a column cannot be written: {error}")))
}
