//! Replaces objects of files by compressed objects.
//!
//! One thread with the lowest priority does it, one file after another. It finds the files in the tables, some of each company in
//! turn. The processes with this role share the files.

use crate::config::Config;
use crate::context::context;
use crate::encoding::{Encoded, EncodingError, Source, compress, read_back};
use crate::metrics;
use crate::settings::ContentSettings;
use chrono::{DateTime, Duration as Span, Utc};
use rustix::process::nice;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use uuid::Uuid;
use waybill_cache::Cache;
use waybill_domain::content::compression::{COMPRESSED, REFERENCES_MAX, is_suitable};
use waybill_domain::content::{Command, Compressed, Holder, Object};
use waybill_domain::upload::Phase;
use waybill_event_log::ReadError;
use waybill_event_log::jetstream::{Passing, Reactions};
use waybill_object_store::{ObjectStore, StoreError};
use waybill_read_model::alive::{self, Group};
use waybill_read_model::queries::{FileKey, Share, ToCompress, files_to_compress};
use waybill_read_model::{Database, ReadModelError};
use waybill_repository::{
    ContentAggregate, ExecuteError, FileAggregate, LifecycleAggregate, Repository, UploadAggregate,
};
use waybill_schema::{Causation, CompanyId, FileId, UploadId, names};
use waybill_service_kit::{Shutdown, new_id, now};

/// Lowest priority of a thread (nice(2)).
const LEAST_PRIORITY: i32 = 19;
/// Number of files of a company that are compressed before other companies get their turn.
const PAGE: i64 = 16;
/// Interval in which a process announces that it is alive, and the time for which that is valid.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(3);
const ALIVE_FOR: Duration = Duration::from_secs(10);
/// Pause after a failure that concerns all files: of the tables, of the log, of the store, or of the thread.
const BEGIN_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Age of a compressed object to which no event refers, up to which it is used. `waybill reconcile` deletes older ones.
const ADOPTED_FOR_MS: i64 = 12 * 3_600 * 1_000;
/// Number of files that could not be compressed, and the time after which they are tried again.
const FAILED: u64 = 10_000;
const FAILED_FOR: Duration = Duration::from_secs(3_600);

/// Connections of the compression.
pub(crate) struct Compressor {
    id: Uuid,
    repository: Arc<Repository>,
    store: Arc<dyn ObjectStore>,
    database: Database,
    nats: async_nats::Client,
    settings: ContentSettings,
    /// `None` before the first announcement.
    share: Mutex<Option<Share>>,
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

/// Reason why a search ended.
#[derive(Debug, thiserror::Error)]
enum SearchError {
    #[error(transparent)]
    Tables(#[from] ReadModelError),
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No event can be appended, so that all work would be in vain.
    #[error(transparent)]
    Append(#[from] ExecuteError),
}

/// Compresses files on a thread of its own until shutdown.
pub(crate) async fn run(config: Config, shutdown: Shutdown) {
    let compressor = Arc::new(Compressor {
        id: new_id(),
        repository: config.repository,
        store: config.store,
        database: config.database,
        nats: config.nats,
        settings: config.settings,
        share: Mutex::default(),
        failed: Cache::builder(FAILED).time_to_live(FAILED_FOR).build(),
    });
    tokio::join!(compressor.announce_until(&shutdown), async {
        while !shutdown.is_triggered() {
            if let Err(reason) = on_a_thread(compressor.clone(), shutdown.clone()).await {
                tracing::error!(reason, "the thread that compresses files ended; another one begins");
                shutdown.unless(tokio::time::sleep(BEGIN_AGAIN_AFTER)).await;
            }
        }
    });
}

/// Compresses on a new thread until shutdown, or until the thread fails.
async fn on_a_thread(compressor: Arc<Compressor>, shutdown: Shutdown) -> Result<(), &'static str> {
    let (runtime, (ended, end)) = (Handle::current(), oneshot::channel());
    let work = move || {
        // On Linux, the priority is that of the thread.
        if let Err(error) = nice(LEAST_PRIORITY) {
            tracing::debug!(%error, "files are compressed with normal priority");
        }
        // A file that is in work when the shutdown begins is tried again.
        runtime.block_on(shutdown.unless(compressor.search_on()));
        if ended.send(()).is_err() {
            tracing::debug!("nothing waits for the thread that compresses files");
        }
    };
    std::thread::Builder::new().name("compression".to_owned()).spawn(work).map_err(|_| "it cannot start")?;
    end.await.map_err(|_| "it has panicked")
}

impl Compressor {
    async fn announce_until(&self, shutdown: &Shutdown) {
        shutdown.unless(self.announce()).await;
        if let Err(error) = alive::withdraw(&self.database, Group::Compressors, self.id).await {
            tracing::debug!(%error, "cannot withdraw this process; its announcement expires");
        }
    }

    /// Announces this process again and again, and notes its share of the files.
    async fn announce(&self) {
        loop {
            match alive::announce(&self.database, Group::Compressors, self.id, ALIVE_FOR).await {
                // The share stays the same as long as the same processes run, so that a large file is not begun twice.
                Ok(alive) => {
                    let share = alive::share_of(self.id, &alive, 0);
                    *self.share.lock().unwrap_or_else(PoisonError::into_inner) = Some(share);
                }
                Err(error) => tracing::debug!(%error, "cannot announce that this process is alive; will try again"),
            }
            tokio::time::sleep(ANNOUNCE_EVERY).await;
        }
    }

    /// Returns the share of this process; `None` before the first announcement.
    fn share(&self) -> Option<Share> {
        *self.share.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn search_on(&self) {
        loop {
            tokio::time::sleep(self.settings.search_every()).await;
            if self.share().is_none() {
                continue;
            }
            if let Err(error) = self.search().await {
                tracing::warn!(%error, "cannot compress files; will try again");
                tokio::time::sleep(BEGIN_AGAIN_AFTER).await;
            }
        }
    }

    /// Compresses all files that are old enough: in each round, some of every company.
    async fn search(&self) -> Result<(), SearchError> {
        // Before the first event, so that no replaced object is missed.
        for partition in self.repository.log().partitions().all() {
            Reactions::create(&self.nats, Passing::Replaced, partition).await?;
        }
        let mut done: HashMap<CompanyId, FileId> = HashMap::new();
        loop {
            let (mut is_end, mut after) = (true, FileKey { company_id: CompanyId(Uuid::nil()), file_id: FIRST });
            while let Some(company) = self.files(after, 1).await?.first().map(|file| file.company_id) {
                let page = FileKey { company_id: company, file_id: done.get(&company).copied().unwrap_or(FIRST) };
                for file in self.files(page, PAGE).await?.iter().filter(|file| file.company_id == company) {
                    self.compress_or_note(*file).await?;
                    done.insert(company, file.file_id);
                    is_end = false;
                }
                after = FileKey { company_id: company, file_id: LAST };
            }
            if is_end {
                return Ok(());
            }
        }
    }

    /// Returns the next files of this process.
    async fn files(&self, after: FileKey, limit: i64) -> Result<Vec<FileKey>, ReadModelError> {
        let age = Span::seconds(self.settings.compress_after_s);
        let until = DateTime::<Utc>::from_timestamp_millis(now().0).unwrap_or_default() - age;
        let share = self.share().unwrap_or_default();
        let mut connection = self.database.connection().await?;
        files_to_compress(&mut connection, ToCompress { compressed: &COMPRESSED, after, until, share, limit }).await
    }

    /// Compresses a file. A failure that concerns only this file does not stop the others.
    async fn compress_or_note(&self, file: FileKey) -> Result<(), SearchError> {
        let FileKey { company_id, file_id } = file;
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
        if state.purged || content.not_compressed.contains(&file) || content.has_compressed(file) {
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
            let is_usable = names::compressed_id(&key).is_some_and(|id| is_gone || is_recent(id));
            if is_usable && let Some(stored_bytes) = read_back(store, &key, source).await? {
                if is_gone {
                    tracing::warn!(company_id = %company, upload_id = %owner, "the object of a file is missing; a compressed one is used");
                }
                return Ok(Some((key, stored_bytes)));
            }
        }
        self.abort_earlier(&prefix).await?;
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

    /// Aborts the multipart uploads of other attempts. Their processes have ended, or have no share in this file any more.
    async fn abort_earlier(&self, prefix: &str) -> Result<(), StoreError> {
        let open = match self.store.list_multiparts(prefix).await {
            // A lifecycle rule of the bucket must abort them.
            Err(StoreError::Refused { .. }) => Vec::new(),
            open => open?,
        };
        for (key, upload_id) in open.iter().filter(|(key, _)| names::is_compressed(key)) {
            self.store.abort_multipart(key, upload_id).await?;
        }
        Ok(())
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

const FIRST: UploadId = UploadId(Uuid::nil());
const LAST: UploadId = UploadId(Uuid::max());
