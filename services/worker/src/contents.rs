//! Finds files of a company that have the same bytes. The tables provide the candidates, as soon as they contain all
//! events up to the verified files. An event in the log decides that files share an object.

use crate::reactions::ReactionError;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use waybill_cache::Cache;
use waybill_domain::content::{Command, Holder, Object, State};
use waybill_domain::limits::RESERVATION_ITEMS_MAX;
use waybill_domain::upload::Phase;
use waybill_event_log::{AppendError, ReadError};
use waybill_read_model::{Database, projection, queries};
use waybill_repository::{
    BatchSize, Batches, Busy, ContentAggregate, Context, ExecuteError, LifecycleAggregate, Linger, Loaded, Repository,
    UploadAggregate,
};
use waybill_schema::{CompanyId, FileId, Sha256Digest};

/// Files of one company that are handled together, with one query on the tables.
const BATCHES: BatchSize =
    BatchSize { most: RESERVATION_ITEMS_MAX, queue: 4_096, linger: Linger::For(Duration::from_millis(60)) };
/// Number of shared contents in the cache, and how long they stay there after their last use.
const KEPT: u64 = 1_000;
const KEPT_FOR: Duration = Duration::from_secs(600);
/// Maximum time to wait for the tables, and pause between two queries. After this time the event is delivered again.
const PATIENCE: Duration = Duration::from_secs(10);
const ASK_EVERY: Duration = Duration::from_millis(25);

type Known = Mutex<Loaded<State>>;

/// A file whose verification is at sequence `seq` of the log.
pub(crate) struct Verified {
    pub(crate) file: FileId,
    pub(crate) sha256: Sha256Digest,
    pub(crate) seq: u64,
    pub(crate) context: Context,
}

/// The object that a file shares with other files, if any.
type Answer = Result<Option<Object>, Arc<ReactionError>>;

/// The contents of all companies.
pub(crate) struct Contents {
    parts: Arc<Parts>,
    verified: Batches<CompanyId, Verified, Answer>,
}

struct Parts {
    repository: Arc<Repository>,
    database: Database,
    bucket: String,
    known: Cache<(CompanyId, Sha256Digest), Known>,
}

impl Contents {
    /// Creates the contents for objects in `bucket`.
    pub(crate) fn new(repository: Arc<Repository>, database: Database, bucket: String) -> Self {
        let known = Cache::builder(KEPT).time_to_idle(KEPT_FOR).build();
        let parts = Arc::new(Parts { repository, database, bucket, known });
        let verified = Batches::new(BATCHES, {
            let parts = parts.clone();
            move |company, files: Vec<Verified>| {
                let parts = parts.clone();
                async move {
                    match parts.share_all(company, &files).await {
                        Ok(shared) => {
                            files.iter().map(|file| shared.get(&file.file).cloned().unwrap_or(Ok(None))).collect()
                        }
                        Err(error) => {
                            let error = Arc::new(error);
                            files.iter().map(|_| Err(error.clone())).collect()
                        }
                    }
                }
            }
        });
        Self { parts, verified }
    }

    /// Lets the file share an object with other files of the company that have the same bytes. Returns the shared
    /// object, or `None` if no other file has these bytes.
    pub(crate) async fn share(&self, company: CompanyId, file: Verified) -> Result<Option<Object>, ReactionError> {
        let busy = |busy: Busy| ReactionError::from(ExecuteError::from(AppendError::Unavailable(busy.to_string())));
        Ok(self.verified.ask(company, file).await.map_err(busy)??)
    }

    /// Removes the reference of a purged file to its content for good. Returns the object of the content, and the
    /// objects that must be deleted because no file refers to them.
    pub(crate) async fn release(
        &self,
        content: ContentAggregate,
        file: FileId,
        context: &Context,
    ) -> Result<(Option<Object>, Vec<Object>), ExecuteError> {
        let known = self.parts.known.get_with(&(content.company, content.sha256), Known::default);
        let mut loaded = known.lock().await;
        self.parts.repository.execute_from(&content, &mut loaded, Command::Release(file), context).await?;
        Ok((loaded.state.object.clone(), loaded.state.doomed.clone()))
    }
}

impl Parts {
    async fn share_all(
        &self,
        company: CompanyId,
        files: &[Verified],
    ) -> Result<HashMap<FileId, Answer>, ReactionError> {
        let until = files.iter().map(|file| file.seq).max().unwrap_or(0);
        self.wait_for_tables(company, until).await?;
        let digests: Vec<Sha256Digest> = files.iter().map(|file| file.sha256).collect();
        let mut connection = self.database.connection().await?;
        let found = queries::files_with_digests(&mut connection, company, &digests).await?;
        drop(connection);
        let mut answers = HashMap::new();
        for (sha256, having) in found.into_iter().filter(|(_, having)| having.len() > 1) {
            let same: Vec<&Verified> = files.iter().filter(|file| file.sha256 == sha256).collect();
            match self.share_one(ContentAggregate { company, sha256 }, &same, &having).await {
                Ok(objects) => answers.extend(objects.into_iter().map(|(file, object)| (file, Ok(Some(object))))),
                // A failure for one digest does not affect the others.
                Err(error) => {
                    let error = Arc::new(error);
                    answers.extend(same.iter().map(|file| (file.file, Err(error.clone()))));
                }
            }
        }
        Ok(answers)
    }

    /// Lets `files` share one object. `having` are all files that have these bytes according to the tables.
    async fn share_one(
        &self,
        content: ContentAggregate,
        files: &[&Verified],
        having: &[FileId],
    ) -> Result<Vec<(FileId, Object)>, ReactionError> {
        let Some(context) = files.first().map(|file| &file.context) else { return Ok(Vec::new()) };
        let known = self.known.get_with(&(content.company, content.sha256), Known::default);
        let mut loaded = known.lock().await;
        self.repository.refresh(&content, &mut loaded).await?;
        let ids: Vec<FileId> = files.iter().map(|file| file.file).collect();
        let holder = match &loaded.state.object {
            // The object of a new file replaces an archived one.
            Some(_) if loaded.state.cold_object().is_some() => {
                let new = ids.iter().filter(|file| !loaded.state.references.contains(file));
                self.holder(content, &loaded.state, new).await?
            }
            Some(_) => None,
            None => {
                // Prefer a file that is not among `files`, so that a single file finds another one.
                let others = having.iter().filter(|file| !ids.contains(file)).chain(&ids);
                self.holder(content, &loaded.state, others).await?
            }
        };
        self.repository
            .execute_from(&content, &mut loaded, Command::Share { files: ids.clone(), holder }, context)
            .await?;
        let State { object, references, .. } = &loaded.state;
        let Some(object) = object else { return Ok(Vec::new()) };
        Ok(ids.into_iter().filter(|file| references.contains(file)).map(|file| (file, object.clone())).collect())
    }

    /// Returns the first of the files whose own object can become the object of the content.
    async fn holder(
        &self,
        content: ContentAggregate,
        state: &State,
        files: impl Iterator<Item = &FileId>,
    ) -> Result<Option<Holder>, ReadError> {
        for file in files.filter(|file| !state.released.contains(file)) {
            let aggregate = LifecycleAggregate(UploadAggregate { company: content.company, upload: *file });
            let upload = self.repository.load(&aggregate).await?.state;
            let size_bytes = upload.grid().size_bytes;
            match upload.phase {
                Phase::Verified { sha256, storage_key } if sha256 == content.sha256 => {
                    let object = Object { storage_bucket: self.bucket.clone(), storage_key };
                    return Ok(Some(Holder { file: *file, object, size_bytes }));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Waits until the tables contain all events up to `seq`, and so every file that was verified before.
    async fn wait_for_tables(&self, company: CompanyId, seq: u64) -> Result<(), ReactionError> {
        let partition = self.repository.log().partitions().of(company);
        let until = Instant::now() + PATIENCE;
        loop {
            let mut connection = self.database.connection().await?;
            let checkpoint = projection::checkpoint(&mut connection, partition).await?;
            drop(connection);
            let folded = checkpoint.and_then(|checkpoint| u64::try_from(checkpoint.seq).ok()).unwrap_or(0);
            if folded >= seq {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(ReactionError::ProjectionBehind);
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}
