//! Folds content events into `content`, and into the storage location of files.

use super::convert::{big, id_of_content, time_of};
use super::misfit::Misfit;
use super::tables::Tables;
use waybill_read_model::rows::ContentRow;
use waybill_schema::events::{ContentCompressed, ContentEvent, ContentMoved};
use waybill_schema::{FileId, Recorded, Sha256Digest, StorageTier, names};

pub(super) fn fold(
    tables: &mut Tables,
    sha256: Sha256Digest,
    event: &ContentEvent,
    recorded: &Recorded,
) -> Result<(), Misfit> {
    let company = recorded.subject.company;
    let time = time_of(recorded.envelope.time);
    let id = id_of_content(company, sha256);
    match event {
        ContentEvent::ContentShared(shared) => {
            let row = ContentRow {
                company_id: company.0,
                id,
                hash: sha256.to_string(),
                storage_bucket: shared.storage_bucket.clone(),
                storage_key: shared.storage_key.clone(),
                size_bytes: big(shared.size_bytes),
                reference_count: count(shared.file_ids.len())?,
                created_at: time,
                updated_at: time,
                stored_bytes: None,
            };
            if !tables.contents.add(row.clone()) {
                // The earlier object was marked for deletion when its last file released it. This is a new object.
                *tables.contents.change(id)? = row;
            }
            refer(tables, &shared.file_ids, &shared.storage_bucket, &shared.storage_key, None)
        }
        ContentEvent::ContentReferenced(referenced) => {
            let content = tables.contents.change(id)?;
            content.reference_count += count(referenced.file_ids.len())?;
            content.updated_at = time;
            let stored_bytes = content.stored_bytes;
            refer(tables, &referenced.file_ids, &referenced.storage_bucket, &referenced.storage_key, stored_bytes)
        }
        ContentEvent::ContentCompressed(ContentCompressed {
            file_ids,
            storage_bucket,
            storage_key,
            size_bytes,
            stored_bytes,
            ..
        })
        | ContentEvent::ContentMoved(ContentMoved {
            file_ids,
            storage_bucket,
            storage_key,
            size_bytes,
            stored_bytes,
            ..
        }) => {
            let tier = if let ContentEvent::ContentMoved(moved) = event { Some(moved.tier) } else { None };
            let is_compressed = tier.is_none() || names::is_compressed(storage_key);
            let stored_bytes = is_compressed.then(|| big(*stored_bytes));
            let row = ContentRow {
                company_id: company.0,
                id,
                hash: sha256.to_string(),
                storage_bucket: storage_bucket.clone(),
                storage_key: storage_key.clone(),
                size_bytes: big(*size_bytes),
                reference_count: count(file_ids.len())?,
                created_at: time,
                updated_at: time,
                stored_bytes,
            };
            if !tables.contents.add(row.clone()) {
                let content = tables.contents.change(id)?;
                *content = ContentRow { created_at: content.created_at, ..row };
            }
            refer(tables, file_ids, storage_bucket, storage_key, stored_bytes)?;
            tier.map_or(Ok(()), |tier| set_tier(tables, file_ids, tier, is_compressed))
        }
        ContentEvent::ContentNotCompressed(kept) => {
            let file = tables.files.change(kept.file_id.0)?;
            if file.purged_at.is_none() {
                file.stored_bytes = Some(file.size_bytes);
            }
            Ok(())
        }
        // Content that only one file uses has no row.
        ContentEvent::ContentReleased(released) if tables.contents.get(id).is_some() => {
            let content = tables.contents.change(id)?;
            content.reference_count = count(usize::try_from(released.references).unwrap_or(usize::MAX))?;
            content.updated_at = time;
            Ok(())
        }
        ContentEvent::ContentReleased(_) => Ok(()),
    }
}

/// Sets the storage tier of files whose bytes were moved. Skips purged files.
fn set_tier(tables: &mut Tables, files: &[FileId], tier: StorageTier, is_compressed: bool) -> Result<(), Misfit> {
    for file in files {
        let file = tables.files.change(file.0)?;
        if file.purged_at.is_none() {
            tier.as_str().clone_into(&mut file.storage_tier);
            if !is_compressed {
                // `NULL` stays: compression was not considered yet.
                file.stored_bytes = file.stored_bytes.map(|_| file.size_bytes);
            }
        }
    }
    Ok(())
}

/// Sets the storage location of files. Skips purged files, because they have no bytes. `stored_bytes` is the size of a compressed
/// object.
fn refer(
    tables: &mut Tables,
    files: &[FileId],
    bucket: &str,
    key: &str,
    stored_bytes: Option<i64>,
) -> Result<(), Misfit> {
    for file in files {
        let file = tables.files.change(file.0)?;
        if file.purged_at.is_none() {
            file.storage_bucket = Some(bucket.to_owned());
            file.storage_key = Some(key.to_owned());
            if stored_bytes.is_some() {
                file.stored_bytes = stored_bytes;
            }
        }
    }
    Ok(())
}

fn count(files: usize) -> Result<i32, Misfit> {
    i32::try_from(files).map_err(|_| Misfit(format!("{files} references are too many")))
}
