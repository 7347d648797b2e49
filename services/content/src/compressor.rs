//! Replaces objects of files by compressed objects.
//!
//! It finds the files in the tables, some of each company in turn. The processes with this role share the files.

use crate::config::Config;
use crate::context::{context, utc_now};
use crate::encoding::{Encoded, EncodingError, Source, abort_earlier, compress, read_back};
use crate::metrics;
use crate::settings::ContentSettings;
use crate::share::Announced;
use crate::turns::{SearchError, Work};
use chrono::Duration as Span;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;
use waybill_cache::Cache;
use waybill_domain::content::compression::{COMPRESSED, REFERENCES_MAX, is_suitable};
use waybill_domain::content::{Command, Compressed, Holder, Object};
use waybill_domain::upload::Phase;
use waybill_event_log::ReadError;
use waybill_object_store::{ObjectStore, StoreError};
use waybill_read_model::queries::{FileKey, ToCompress, files_to_compress};
use waybill_read_model::{Database, ReadModelError};
use waybill_repository::{
    ContentAggregate, ExecuteError, FileAggregate, LifecycleAggregate, Repository, UploadAggregate,
};
use waybill_schema::{Causation, CompanyId, FileId, UploadId, names};
use waybill_service_kit::{new_id, now};

/// Number of files of a company that are compressed before other companies get their turn.
const PAGE: i64 = 16;
/// Age of a compressed object to which no event refers, up to which it is used. `waybill reconcile` deletes older ones.
const ADOPTED_FOR_MS: i64 = 12 * 3_600 * 1_000;
/// Number of files that could not be compressed, and the time after which they are tried again.
const FAILED: u64 = 10_000;
const FAILED_FOR: Duration = Duration::from_secs(3_600);

/// Connections of the compression.
pub(crate) struct Compressor {
    announced: Arc<Announced>,
    repository: Arc<Repository>,
    store: Arc<dyn ObjectStore>,
    database: Database,
    settings: ContentSettings,
    failed: Cache<UploadId, ()>,
}

/// Reason why a file was not compressed.
#[derive(Debug, thiserror::Error)]
enum CompressError {
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error(transparent)]
    Append(#[from] ExecuteError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    /// The compressed object cannot be read.
    #[error("the compressed object does not have the bytes of the file")]
    Unreadable,
    /// Another event decides which object the file has.
    #[error("the object of the file has changed")]
    Changed,
}

impl Work for Compressor {
    const NAME: &'static str = "compression";
    type Company = CompanyId;

    async fn next_company(&self, after: CompanyId) -> Result<Option<CompanyId>, SearchError> {
        let after = FileKey { company_id: after, file_id: LAST };
        Ok(self.page(after, 1).await?.first().map(|file| file.company_id))
    }

    fn id(company: CompanyId) -> CompanyId {
        company
    }

    async fn files(&self, company_id: CompanyId, after: FileId) -> Result<Vec<FileId>, SearchError> {
        let page = self.page(FileKey { company_id, file_id: after }, PAGE).await?;
        Ok(page.iter().filter(|file| file.company_id == company_id).map(|file| file.file_id).collect())
    }

    async fn work(&self, company: CompanyId, file: FileId) -> Result<(), SearchError> {
        self.compress_or_note(company, file).await
    }
}

impl Compressor {
    /// Creates the compression of the files of this process.
    pub(crate) fn new(config: &Config, announced: Arc<Announced>) -> Self {
        Self {
            announced,
            repository: config.repository.clone(),
            store: config.store.clone(),
            database: config.database.clone(),
            settings: config.settings.clone(),
            failed: Cache::builder(FAILED).time_to_live(FAILED_FOR).build(),
        }
    }

    /// Returns the next files of this process.
    async fn page(&self, after: FileKey, limit: i64) -> Result<Vec<FileKey>, ReadModelError> {
        let age = Span::seconds(self.settings.compress_after_s);
        let until = utc_now() - age;
        let share = self.announced.share().unwrap_or_default();
        let mut connection = self.database.connection().await?;
        files_to_compress(&mut connection, ToCompress { compressed: &COMPRESSED, after, until, share, limit }).await
    }

    /// Compresses a file. A failure that concerns only this file does not stop the others.
    async fn compress_or_note(&self, company_id: CompanyId, file_id: FileId) -> Result<(), SearchError> {
        if self.failed.contains_key(&file_id) {
            return Ok(());
        }
        // A file with which the thread panics is not tried again at once.
        self.failed.insert(&file_id, ());
        let Err(error) = self.compress_file(company_id, file_id).await else {
            self.failed.invalidate(&file_id);
            return Ok(());
        };
        metrics::COMPRESSION_FAILURES.inc();
        match error {
            CompressError::Append(error) => Err(error.into()),
            CompressError::Log(error) => {
                self.failed.invalidate(&file_id);
                Err(error.into())
            }
            CompressError::Store(error) | CompressError::Encoding(EncodingError::Store(error))
                if self.store.check().await.is_err() =>
            {
                self.failed.invalidate(&file_id);
                Err(error.into())
            }
            CompressError::Encoding(EncodingError::OtherBytes) => {
                tracing::error!(%company_id, %file_id, %error, "the bytes of a file have changed in the store");
                Ok(())
            }
            error => {
                tracing::warn!(%company_id, %file_id, %error, "cannot compress a file; will try again in an hour");
                Ok(())
            }
        }
    }

    /// Compresses the object of a file, or records that this would gain too little.
    async fn compress_file(&self, company: CompanyId, file: FileId) -> Result<(), CompressError> {
        let upload = self.repository.load(&LifecycleAggregate(UploadAggregate { company, upload: file })).await?.state;
        let Phase::Verified { sha256, storage_key } = &upload.phase else { return Ok(()) };
        let state = self.repository.load(&FileAggregate { company, file }).await?.state;
        let aggregate = ContentAggregate { company, sha256: *sha256 };
        let content = self.repository.load(&aggregate).await?.state;
        // The tables may not have an event yet.
        let is_decided = content.not_compressed.contains(&file) || content.has_compressed(file);
        if state.purged || is_decided || content.cold_object().is_some() {
            return Ok(());
        }
        let is_hopeless = !content.not_compressed.is_empty() || content.references.len() > REFERENCES_MAX;
        if is_hopeless || !is_suitable(&upload) {
            return self.keep_uncompressed(aggregate, file).await;
        }
        if content.object.is_some() && !content.references.contains(&file) {
            // A worker is about to have the file refer to the object of the others.
            return Err(CompressError::Changed);
        }
        let own = Object { storage_bucket: self.store.bucket().to_owned(), storage_key: storage_key.clone() };
        let object = content.object.unwrap_or(own);
        let of = Holder { file, object, size_bytes: upload.grid().size_bytes };
        let source = Source { key: &of.object.storage_key, size_bytes: of.size_bytes, sha256: *sha256 };
        // Beside the object that it replaces: whoever knows one of them finds the other.
        let owner = names::owner(names::OBJECTS, source.key).map_or(file, |(_, upload)| upload);
        match self.compressed(company, owner, source).await? {
            None => self.keep_uncompressed(aggregate, file).await,
            Some((key, stored_bytes)) => {
                let object = Object { storage_key: key, ..of.object.clone() };
                self.replace(aggregate, Compressed { of, object, stored_bytes }).await
            }
        }
    }

    /// Returns the key and the size of a compressed object with the bytes of an object of `owner`; `None` if compression would gain
    /// too little. It uses the object that another attempt left, and otherwise writes one and reads it back.
    async fn compressed(
        &self,
        company: CompanyId,
        owner: UploadId,
        source: Source<'_>,
    ) -> Result<Option<(String, u64)>, CompressError> {
        let (store, prefix) = (self.store.as_ref(), names::objects_prefix(company, owner));
        let is_gone = store.size(source.key).await?.is_none();
        for key in store.list(&prefix).await? {
            let id = names::compressed_id(&key).filter(|_| !names::is_cold(&key));
            let is_usable = id.is_some_and(|id| is_gone || is_recent(id));
            if is_usable && let Some(stored_bytes) = read_back(store, &key, source).await? {
                if is_gone {
                    tracing::warn!(company_id = %company, upload_id = %owner, "the object of a file is missing; a compressed one is used");
                }
                return Ok(Some((key, stored_bytes)));
            }
        }
        abort_earlier(store, &prefix, |key| names::is_compressed(key) && !names::is_cold(key)).await?;
        let id = new_id();
        let key = names::compressed_key(company, owner, id);
        match compress(store, source, &key, self.settings.compression_level).await? {
            Encoded::TooLarge => Ok(None),
            Encoded::Stored => match read_back(store, &key, source).await? {
                // The process may have been suspended for so long that the object was deleted.
                Some(_) if !is_recent(id) => Err(CompressError::Changed),
                Some(stored_bytes) => Ok(Some((key, stored_bytes))),
                None => {
                    store.delete(&key).await?;
                    Err(CompressError::Unreadable)
                }
            },
        }
    }

    async fn keep_uncompressed(&self, content: ContentAggregate, file: FileId) -> Result<(), CompressError> {
        let context = context(Causation::Request(new_id()));
        self.repository.execute(&content, Command::KeepUncompressed(file), &context).await?;
        metrics::COMPRESSIONS.with_label_values(&["kept"]).inc();
        Ok(())
    }

    /// Has the files refer to the compressed object. If there is no event, the object stays for the next attempt, because another
    /// process may be about to record it.
    async fn replace(&self, content: ContentAggregate, compressed: Compressed) -> Result<(), CompressError> {
        let (key, stored_bytes) = (compressed.object.storage_key.clone(), compressed.stored_bytes);
        let size_bytes = compressed.of.size_bytes;
        let context = context(Causation::Request(new_id()));
        self.repository.execute(&content, Command::Compress(compressed), &context).await?;
        let state = self.repository.load(&content).await?.state;
        if state.object.is_none_or(|object| object.storage_key != key) {
            return Err(CompressError::Changed);
        }
        metrics::COMPRESSIONS.with_label_values(&["compressed"]).inc();
        metrics::COMPRESSED_BYTES.with_label_values(&["files"]).inc_by(size_bytes);
        metrics::COMPRESSED_BYTES.with_label_values(&["objects"]).inc_by(stored_bytes);
        Ok(())
    }
}

/// Returns `true` if an object with this id is so new that `waybill reconcile` does not delete it.
fn is_recent(id: Uuid) -> bool {
    let made_ms = id.get_timestamp().map_or(0, |time| {
        let (seconds, nanoseconds) = time.to_unix();
        i64::try_from(seconds).unwrap_or(0) * 1_000 + i64::from(nanoseconds / 1_000_000)
    });
    now().0 - made_ms < ADOPTED_FOR_MS
}

const LAST: UploadId = UploadId(Uuid::max());
