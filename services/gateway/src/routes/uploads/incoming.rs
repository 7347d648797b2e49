//! Storing of a whole file that a request sends: as one object if it is not larger than a part, and as an ordinary upload
//! otherwise.

use crate::application::gateway::Gateway;
use crate::application::growing;
use crate::application::idempotency::Idempotency;
use crate::application::links;
use crate::application::uploads::description::check;
use crate::application::uploads::end::finish;
use crate::application::uploads::once;
use crate::application::uploads::once::Once;
use crate::application::uploads::start::{ROUTE, loaded, start_now};
use crate::http::problems::OrProblem;
use crate::routes::uploads::end;
use actix_web::dev::Payload;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use std::time::Duration;
use waybill_api::uploads::FileFacts;
use waybill_data_plane::PutBytes;
use waybill_data_plane::refused;
use waybill_domain::Refusal;
use waybill_domain::upload::{Command, Phase, State};
use waybill_http_kit::{Principal, Problem, RequestId};
use waybill_repository::{Context, Loaded, UploadAggregate};
use waybill_schema::ErrorCode;
use waybill_schema::events::{UploadDescription, UploadStarted};
use waybill_schema::{ByteRange, UploadId};

/// Maximum time that the response waits for the verification of a large file.
const VERIFY_PATIENCE: Duration = Duration::from_secs(120);

/// User who sends a file, and the request.
pub(crate) struct Sender {
    pub(crate) gateway: web::Data<Gateway>,
    pub(crate) principal: Principal,
    pub(crate) request: HttpRequest,
    pub(crate) id: RequestId,
}

/// File that a request is sending.
pub(crate) struct Incoming {
    gateway: web::Data<Gateway>,
    principal: Principal,
    context: Context,
    id: RequestId,
    upload: UploadId,
    /// Start of the upload. If the length is unknown, `size_bytes` is the largest allowed size.
    started: UploadDescription,
    /// `true` if the client sent an `Idempotency-Key`, so that it can repeat the request and continue the same upload.
    is_repeatable: bool,
}

impl Sender {
    /// Returns the maximum size in bytes of a file of this company.
    pub(crate) async fn most_bytes(&self) -> Result<u64, Problem> {
        Ok(links::limits(&self.gateway, &self.principal).await?.max_file_bytes)
    }

    /// Checks the description of a file before its bytes are read.
    pub(crate) async fn receive(self, facts: &FileFacts) -> Result<Incoming, Problem> {
        let Self { gateway, principal, request, id } = self;
        let context = gateway.context(&principal, id);
        let started = check(&gateway, &principal, &context, facts).await?;
        let key = serde_json::to_vec(facts).map_err(|_| Problem::internal())?;
        let upload = UploadId(gateway.idempotency.id_for(&request, &principal, ROUTE, &key).await?);
        let is_repeatable = Idempotency::is_repeatable(&request);
        Ok(Incoming { gateway, principal, context, id, upload, started, is_repeatable })
    }
}

impl Incoming {
    pub(crate) async fn take(self, payload: Payload) -> Result<HttpResponse, Problem> {
        if self.started.size_bytes <= self.started.part_size_bytes {
            self.take_small(payload).await
        } else {
            self.take_large(payload).await
        }
    }

    fn aggregate(&self) -> UploadAggregate {
        UploadAggregate { company: self.principal.company_id, upload: self.upload }
    }

    async fn take_small(self, payload: Payload) -> Result<HttpResponse, Problem> {
        let (aggregate, start) = (self.aggregate(), UploadStarted::from(self.started.clone()));
        let once = self.once(&start);
        let mut loaded = once.loaded().await?;
        match (&loaded.state.phase, loaded.last_seq) {
            (_, 0) => {
                let reserved = once.reserve().await?;
                match once.store(payload, &mut loaded, reserved).await {
                    Ok(true) => {}
                    // The worker started an ordinary upload because it could not hold the file in memory.
                    Ok(false) => {
                        let finished = self.finish(&aggregate, &mut loaded).await;
                        self.end_unless(finished, &aggregate).await?;
                    }
                    Err(problem) => {
                        once.release(&loaded).await;
                        return Err(problem);
                    }
                }
            }
            // An earlier request with the same key started an ordinary upload and was interrupted.
            (Phase::Active, _) => return self.take_large(payload).await,
            (..) => self.check_same(payload, &loaded.state).await?,
        }
        end::answer(&self.gateway, &aggregate, self.upload, &loaded, 201)
    }

    fn once<'a>(&'a self, start: &'a UploadStarted) -> Once<'a> {
        Once {
            gateway: &self.gateway,
            principal: &self.principal,
            context: &self.context,
            request: self.id,
            upload: self.upload,
            start,
            is_repeatable: self.is_repeatable,
        }
    }

    /// Checks that a repeated request sends the same bytes as before (draft-ietf-httpapi-idempotency-key-header §2.4).
    async fn check_same(&self, mut payload: Payload, state: &State) -> Result<(), Problem> {
        let Phase::Verified { sha256, .. } = &state.phase else { return Ok(()) };
        let mut hasher = Sha256::new();
        while let Some(bytes) = payload.next().await {
            // The body ended early, so the bytes cannot be compared.
            let Ok(bytes) = bytes else { return Ok(()) };
            hasher.update(&bytes);
        }
        if hasher.finalize().as_slice() == sha256.0 { Ok(()) } else { Err(Idempotency::reused()) }
    }

    async fn take_large(self, payload: Payload) -> Result<HttpResponse, Problem> {
        let aggregate = self.aggregate();
        start_now(
            &self.gateway,
            &self.principal,
            &self.context,
            self.upload,
            self.started.clone().into(),
            self.is_repeatable,
        )
        .await?;
        let mut loaded = Loaded::default();
        let finished = match self.gateway.workers.put_bytes(self.put(Some(self.started.size_bytes)), payload).await {
            Ok(_) => self.finish(&aggregate, &mut loaded).await,
            Err(problem) => Err(problem),
        };
        self.end_unless(finished, &aggregate).await?;
        end::answer(&self.gateway, &aggregate, self.upload, &loaded, 201)
    }

    /// Stores a body of unknown length. `after` runs after the last byte; if it fails, the file is refused.
    pub(crate) async fn take_growing(
        self,
        payload: Payload,
        after: impl AsyncFnOnce() -> Result<(), Problem>,
    ) -> Result<HttpResponse, Problem> {
        let aggregate = self.aggregate();
        let mut loaded = loaded(&self.gateway, &aggregate, self.is_repeatable).await?;
        if loaded.last_seq > 0 && loaded.state.phase != Phase::Active {
            self.check_same(payload, &loaded.state).await?;
            return end::answer(&self.gateway, &aggregate, self.upload, &loaded, 201);
        }
        let start = UploadStarted { length_deferred: true, ..self.started.clone().into() };
        start_now(&self.gateway, &self.principal, &self.context, self.upload, start, self.is_repeatable).await?;
        let finished = async {
            let limit_bytes = self.started.size_bytes;
            let stored = growing::send(&self.gateway, &self.context, self.put(None), payload, limit_bytes).await;
            let stored = stored.map_err(|problem| match problem.code {
                ErrorCode::SizeExceeded => refused(Refusal::FileTooLarge { size_bytes: limit_bytes + 1, limit_bytes }),
                _ => problem,
            })?;
            after().await?;
            let command = Command::SetLength { size_bytes: stored.received_bytes };
            self.gateway
                .repository
                .execute_from(&aggregate, &mut loaded, command, &self.context)
                .await
                .or_problem("setting a length")?;
            self.finish(&aggregate, &mut loaded).await
        };
        let finished = finished.await;
        self.end_unless(finished, &aggregate).await?;
        end::answer(&self.gateway, &aggregate, self.upload, &loaded, 201)
    }

    /// Returns a request to the worker for all bytes of the file.
    fn put(&self, content_length: Option<u64>) -> PutBytes {
        PutBytes {
            company: self.principal.company_id,
            user: self.principal.user_id,
            link: self.principal.link,
            upload: self.upload,
            range: ByteRange { from: 0, to: self.started.size_bytes },
            checksum: None,
            sequential: false,
            content_length,
            request: self.id,
        }
    }

    async fn finish(&self, aggregate: &UploadAggregate, loaded: &mut Loaded<State>) -> Result<(), Problem> {
        finish(&self.gateway, aggregate, loaded, &self.context, None, VERIFY_PATIENCE).await
    }

    /// Cancels the upload if `finished` is an error and the client cannot repeat the request. Nobody knows the upload's
    /// id then, so nobody could continue it.
    async fn end_unless(&self, finished: Result<(), Problem>, aggregate: &UploadAggregate) -> Result<(), Problem> {
        if finished.is_err() && !self.is_repeatable {
            once::cancel(&self.gateway, aggregate, &self.context).await;
        }
        finished
    }
}
