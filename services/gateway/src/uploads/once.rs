//! A whole file, no larger than a part, as one object and one event. Its space is reserved before its bytes are taken.

use super::second::is_second;
use super::start::{loaded, reserve};
use crate::gateway::Gateway;
use crate::problems::{IntoProblem, cleaned};
use actix_web::dev::Payload;
use waybill_data_plane::{PutWhole, StoredFile, StoredWhole};
use waybill_domain::upload::{Command, Phase, State};
use waybill_repository::{Context, Done, ExecuteError, Loaded, UploadAggregate, execute, refresh};
use waybill_schema::events::{FileUploadedV2, ReservedItem, UploadStartedV2};
use waybill_schema::{Causation, Position, UploadId};
use waybill_service_kit::{Principal, Problem, RequestId, now};

/// The file, and who brings it.
pub(crate) struct Once<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) principal: &'a Principal,
    pub(crate) context: &'a Context,
    pub(crate) request: RequestId,
    pub(crate) upload: UploadId,
    /// What is said of it. Its length is known.
    pub(crate) start: &'a UploadStartedV2,
    /// The client sent an `Idempotency-Key`: it may come again and go on with the same upload.
    pub(crate) is_repeatable: bool,
}

impl Once<'_> {
    fn aggregate(&self) -> UploadAggregate {
        UploadAggregate { company: self.principal.company_id, upload: self.upload }
    }

    /// The upload as it is: a request before may have brought it.
    pub(crate) async fn loaded(&self) -> Result<Loaded<State>, Problem> {
        loaded(self.gateway, &self.aggregate(), self.is_repeatable).await
    }

    /// Sets its space aside.
    pub(crate) async fn reserve(&self) -> Result<Position, Problem> {
        let started = &self.start.started;
        let item =
            ReservedItem { upload_id: self.upload, session_id: started.session_id, bytes_total: started.size_bytes };
        reserve(self.gateway, self.principal, self.context, item, self.is_repeatable).await
    }

    /// Stores it, and makes the event. Where it comes too slowly to be held in memory it is `false`: its upload has
    /// started, and all of its bytes are there.
    ///
    /// # Errors
    /// Below 500 the file is refused, and no event was made.
    pub(crate) async fn store(
        &self,
        payload: Payload,
        loaded: &mut Loaded<State>,
        reserved: Position,
    ) -> Result<bool, Problem> {
        let request = PutWhole { upload: self.upload, start: self.start.clone(), reserved, request: self.request };
        match self.gateway.workers.put_whole(request, payload).await? {
            StoredWhole::Begun(_) => Ok(false),
            StoredWhole::File(stored) => self.record(stored, loaded, reserved).await.map(|()| true),
        }
    }

    /// Makes the event of what is stored. Where another request with the same id was faster, what this one stored is
    /// deleted.
    async fn record(&self, stored: StoredFile, loaded: &mut Loaded<State>, reserved: Position) -> Result<(), Problem> {
        let storage_key = stored.storage_key.clone();
        let uploaded = FileUploadedV2 {
            started: self.start.started.clone(),
            upload_metadata: self.start.upload_metadata.clone(),
            sha256: stored.sha256,
            storage_bucket: stored.storage_bucket,
            storage_key: stored.storage_key,
            sniffed_mime_type: stored.sniffed_mime_type,
            worker_id: stored.worker_id,
        };
        let done = self.execute(loaded, reserved, Command::UploadWhole(uploaded)).await;
        if is_second(&done, &loaded.state, &storage_key) {
            // Another request with the same id was faster: its object is the file's.
            cleaned(self.gateway.store.delete(&storage_key).await, "deleting a second object")?;
        }
        let done = done.map_err(|error| error.into_problem("recording a file"))?;
        loaded.read_to = loaded.read_to.max(done.position.seq);
        Ok(())
    }

    /// Starts its upload instead; `None` where another request with the same id has done that, or more.
    pub(crate) async fn begin(
        &self,
        loaded: &mut Loaded<State>,
        reserved: Position,
    ) -> Result<Option<Position>, Problem> {
        let done = self.execute(loaded, reserved, Command::Start(self.start.clone())).await;
        let done = done.map_err(|error| error.into_problem("starting an upload"))?;
        Ok(done.event.is_some().then_some(done.position))
    }

    /// Carries out what the reservation led to.
    async fn execute(
        &self,
        loaded: &mut Loaded<State>,
        reserved: Position,
        command: Command,
    ) -> Result<Done, ExecuteError> {
        let context = Context { causation: Causation::Event(reserved), ..self.context.clone() };
        execute(self.gateway.log.as_ref(), &self.aggregate(), loaded, &context, command).await
    }

    /// Gives the space back, if no upload came of it; one that did is ended. Where that fails, and where the client may
    /// come again, the sweep does it.
    pub(crate) async fn release(&self, loaded: &Loaded<State>) {
        if self.is_repeatable {
            return;
        }
        let (log, aggregate) = (self.gateway.log.as_ref(), self.aggregate());
        let mut known = loaded.clone();
        let refreshed = refresh(log, &aggregate, &mut known).await;
        if refreshed.is_err() || known.last_seq > 0 {
            return cancel(self.gateway, &aggregate, self.context).await;
        }
        let expired = execute(log, &aggregate, &mut known, self.context, Command::Expire { now: now() }).await;
        match expired {
            Ok(done) if done.event.is_some() || known.state.has_ended_without_file() => {}
            // A worker has started it meanwhile.
            Ok(_) if known.state.phase == Phase::Active => {
                return cancel(self.gateway, &aggregate, self.context).await;
            }
            // The file was recorded meanwhile: its space is in use.
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(upload_id = %self.upload, %error, "a reservation waits for the sweep");
                return;
            }
        }
        let reserver = &self.gateway.reserver;
        if let Err(problem) = reserver.give_back(self.principal.company_id, self.upload, self.context).await {
            tracing::warn!(upload_id = %self.upload, code = problem.code, "a reservation waits for a worker");
        }
    }
}

/// Ends an upload that broke.
pub(super) async fn cancel(gateway: &Gateway, aggregate: &UploadAggregate, context: &Context) {
    let cancelled = execute(gateway.log.as_ref(), aggregate, &mut Loaded::default(), context, Command::Cancel).await;
    if let Err(error) = cancelled {
        tracing::warn!(upload_id = %aggregate.upload, %error, "an upload that broke waits for its end");
    }
}
