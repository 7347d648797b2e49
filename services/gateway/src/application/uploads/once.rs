//! Stores a whole file that is not larger than a part as one object and one event. The gateway reserves the space
//! before it takes the bytes.

use crate::application::gateway::Gateway;
use crate::application::uploads::second::is_second;
use crate::application::uploads::start::{loaded, reserve, reserved_link};
use crate::http::problems::{OrProblem, cleaned};
use actix_web::dev::Payload;
use waybill_data_plane::{PutWhole, StoredFile, StoredWhole};
use waybill_domain::upload::{Command, Phase, State};
use waybill_http_kit::{Principal, Problem, RequestId};
use waybill_repository::{Context, Done, ExecuteError, Loaded, UploadAggregate};
use waybill_schema::events::{FileUploaded, ReservedItem, UploadStarted};
use waybill_schema::{Causation, Position, UploadId};
use waybill_service_kit::now;

/// Whole file, and the request that sends it.
pub(crate) struct Once<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) principal: &'a Principal,
    pub(crate) context: &'a Context,
    pub(crate) request: RequestId,
    pub(crate) upload: UploadId,
    /// Start of the upload. The length is known.
    pub(crate) start: &'a UploadStarted,
    /// `true` if the client sent an `Idempotency-Key`, so that it can repeat the request and continue the same upload.
    pub(crate) is_repeatable: bool,
}

impl Once<'_> {
    fn aggregate(&self) -> UploadAggregate {
        UploadAggregate { company: self.principal.company_id, upload: self.upload }
    }

    /// Returns the start of an ordinary upload.
    fn started(&self) -> UploadStarted {
        UploadStarted { link_id: self.principal.link, ..self.start.clone() }
    }

    /// Loads the upload, because an earlier request with the same idempotency key may have stored the file.
    pub(crate) async fn loaded(&self) -> Result<Loaded<State>, Problem> {
        loaded(self.gateway, &self.aggregate(), self.is_repeatable).await
    }

    /// Reserves the space of the file.
    pub(crate) async fn reserve(&self) -> Result<Position, Problem> {
        let started = &self.start.started;
        let item = ReservedItem {
            upload_id: self.upload,
            session_id: started.session_id,
            bytes_total: started.size_bytes,
            user_id: Some(started.uploaded_by),
            link: reserved_link(self.principal),
        };
        reserve(self.gateway, self.principal, self.context, item, self.is_repeatable).await
    }

    /// Stores the file and appends its event. Returns `false` if the worker could not hold the file in memory: the
    /// worker has then started an upload, which has all of its bytes.
    ///
    /// # Errors
    /// An error with a status below 500 means that the file was refused and no event was appended.
    pub(crate) async fn store(
        &self,
        payload: Payload,
        loaded: &mut Loaded<State>,
        reserved: Position,
    ) -> Result<bool, Problem> {
        let request = PutWhole { upload: self.upload, start: self.started(), reserved, request: self.request };
        match self.gateway.workers.put_whole(request, payload).await? {
            StoredWhole::Begun(_) => Ok(false),
            StoredWhole::File(stored) => self.record(stored, loaded, reserved).await.map(|()| true),
        }
    }

    /// Appends the event of the stored object. If another request with the same id was faster, deletes the object of
    /// this request.
    async fn record(&self, stored: StoredFile, loaded: &mut Loaded<State>, reserved: Position) -> Result<(), Problem> {
        let storage_key = stored.storage_key.clone();
        let uploaded = FileUploaded {
            started: self.start.started.clone(),
            upload_metadata: self.start.upload_metadata.clone(),
            sha256: stored.sha256,
            storage_bucket: stored.storage_bucket,
            storage_key: stored.storage_key,
            sniffed_mime_type: stored.sniffed_mime_type,
            worker_id: stored.worker_id,
            link_id: self.principal.link,
            crc32: stored.crc32,
        };
        let done = self.execute(loaded, reserved, Command::UploadWhole(uploaded)).await;
        if is_second(&done, &loaded.state, &storage_key) {
            // Another request with the same id was faster, so the file has its object.
            cleaned(self.gateway.store.delete(&storage_key).await, "deleting a second object")?;
        }
        let done = done.or_problem("recording a file")?;
        loaded.read_to = loaded.read_to.max(done.position.seq);
        Ok(())
    }

    /// Starts an ordinary upload instead. Returns `None` if another request with the same id has already started it.
    pub(crate) async fn begin(
        &self,
        loaded: &mut Loaded<State>,
        reserved: Position,
    ) -> Result<Option<Position>, Problem> {
        let start = Command::Start(self.started());
        let done = self.execute(loaded, reserved, start).await.or_problem("starting an upload")?;
        Ok(done.event.is_some().then_some(done.position))
    }

    /// Executes a command with the reservation as its cause.
    async fn execute(
        &self,
        loaded: &mut Loaded<State>,
        reserved: Position,
        command: Command,
    ) -> Result<Done, ExecuteError> {
        let context = Context { causation: Causation::Event(reserved), ..self.context.clone() };
        self.gateway.repository.execute_from(&self.aggregate(), loaded, command, &context).await
    }

    /// Releases the reservation if no upload was started, and cancels the upload otherwise. If that fails, or if the
    /// client can repeat the request, the sweep does this later.
    pub(crate) async fn release(&self, loaded: &Loaded<State>) {
        if self.is_repeatable {
            return;
        }
        let (repository, aggregate) = (&self.gateway.repository, self.aggregate());
        let mut known = loaded.clone();
        let refreshed = repository.refresh(&aggregate, &mut known).await;
        if refreshed.is_err() || known.last_seq > 0 {
            return cancel(self.gateway, &aggregate, self.context).await;
        }
        let expired =
            repository.execute_from(&aggregate, &mut known, Command::Expire { now: now() }, self.context).await;
        match expired {
            Ok(done) if done.event.is_some() || known.state.has_ended_without_file() => {}
            // A worker has started the upload meanwhile.
            Ok(_) if known.state.phase == Phase::Active => {
                return cancel(self.gateway, &aggregate, self.context).await;
            }
            // The file was recorded meanwhile, so its space is in use.
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(upload_id = %self.upload, %error, "cannot release a reservation; the sweep will do it");
                return;
            }
        }
        let reserver = &self.gateway.reserver;
        if let Err(problem) = reserver.give_back(self.principal.company_id, self.upload, self.context).await {
            let code = problem.code.as_str();
            tracing::warn!(upload_id = %self.upload, code, "cannot release a reservation; a worker will do it");
        }
    }
}

/// Cancels an upload that failed. If that fails too, the sweep ends the upload when it expires.
pub(crate) async fn cancel(gateway: &Gateway, aggregate: &UploadAggregate, context: &Context) {
    let cancelled = gateway.repository.execute(aggregate, Command::Cancel, context).await;
    if let Err(error) = cancelled {
        tracing::warn!(upload_id = %aggregate.upload, %error, "cannot cancel a failed upload; it will expire");
    }
}
