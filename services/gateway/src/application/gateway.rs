//! [`Gateway`]: the state that all handlers share, and the checks and the takeover that several of them need.

use crate::application::append_order::Turns;
use crate::application::archives::Archives;
use crate::application::at_once::AtOnce;
use crate::application::head_key::HeadKey;
use crate::application::idempotency::Idempotency;
use crate::application::last_reads::LastReads;
use crate::application::media::Media;
use crate::application::quota_reservation::Reserver;
use crate::application::read_your_writes::Positions;
use crate::application::registration::Registration;
use crate::application::rows::kept::Rows;
use crate::application::searches::Searches;
use crate::application::small_bodies::SmallBodies;
use crate::application::tokens::Tokens;
use crate::http::cursor::CursorKey;
use crate::http::event_budget::EventBudget;
use crate::http::problems::OrProblem;
use crate::settings::GatewaySettings;
use std::sync::Arc;
use waybill_access::{Access, Policies};
use waybill_audit::denials::Recorder;
use waybill_audit::reads::ReadRecorder;
use waybill_cache::Cache;
use waybill_compression::FileBytes;
use waybill_data_plane::DataPlane;
use waybill_domain::limits::Limits;
use waybill_domain::media_type::TypePolicy;
use waybill_domain::upload;
use waybill_domain::upload::start_weight;
use waybill_event_log::jetstream::{RawEvents, Records};
use waybill_event_log::{EventLog, Signals};
use waybill_http_kit::admission::Admission;
use waybill_http_kit::{Principal, Problem, RequestId, Role};
use waybill_object_store::ObjectStore;
use waybill_object_store::presign::Presigner;
use waybill_read_model::Database;
use waybill_repository::{Context, Directories, LifecycleAggregate, Loaded, Repository, UploadAggregate};
use waybill_schema::ErrorCode;
use waybill_schema::events::{UploadDescription, UploadStarted};
use waybill_schema::{Actor, CompanyId, LinkId, UploadId};
use waybill_service_kit::now;

/// Size of the cache of upload starts in bytes: about 50,000 uploads, or 1,000 with the maximum of metadata.
const STARTED_BYTES: u64 = 64 * 1_024 * 1_024;

/// State of the gateway that all handlers share.
pub(crate) struct Gateway {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) repository: Arc<Repository>,
    /// Signals to the holders of uploads.
    pub(crate) signals: Arc<dyn Signals>,
    pub(crate) raw_events: RawEvents,
    pub(crate) store: Arc<dyn ObjectStore>,
    /// The bytes of files in the store.
    pub(crate) file_bytes: FileBytes,
    pub(crate) presigner: Presigner,
    pub(crate) database: Database,
    pub(crate) workers: Arc<dyn DataPlane>,
    pub(crate) reserver: Reserver,
    pub(crate) access: Arc<Access>,
    pub(crate) directories: Arc<Directories>,
    pub(crate) registration: Registration,
    pub(crate) idempotency: Idempotency,
    pub(crate) positions: Positions,
    pub(crate) cursors: CursorKey,
    pub(crate) head_key: HeadKey,
    pub(crate) policies: Policies,
    pub(crate) settings: GatewaySettings,
    pub(crate) started: StartedCache,
    pub(crate) turns: Turns,
    /// Requests that create an upload of a small file.
    pub(crate) creations: Turns,
    pub(crate) small_bodies: SmallBodies,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) media: Media,
    pub(crate) archives: Archives,
    pub(crate) event_budget: EventBudget,
    pub(crate) searches: Searches,
    pub(crate) admission: Admission,
    pub(crate) at_once: AtOnce,
    pub(crate) denials: Recorder,
    pub(crate) kept_refusals: Records,
    pub(crate) reads: ReadRecorder,
    pub(crate) kept_reads: Records,
    pub(crate) last_reads: LastReads,
    /// Rows that were read earlier, if they are kept.
    pub(crate) rows: Option<Rows>,
}

/// Cache of the `UploadStarted` events of uploads, which never change.
pub(crate) struct StartedCache(Cache<(CompanyId, UploadId), UploadStarted>);

impl Default for StartedCache {
    fn default() -> Self {
        let weight = |upload: &UploadStarted| {
            let weight = start_weight(&upload.started, &upload.kind, upload.upload_metadata.as_deref());
            u32::try_from(weight).unwrap_or(u32::MAX)
        };
        Self(Cache::builder(STARTED_BYTES).weigher(weight).build())
    }
}

impl Gateway {
    /// Returns the context of a command that `principal` sends with this request.
    pub(crate) fn context(&self, principal: &Principal, request: RequestId) -> Context {
        Context {
            actor: Actor::of_sender(principal.user_id, principal.link),
            causation: request.causation(),
            address: request.address,
            clock: now,
        }
    }

    /// Returns the maximum sizes of a company's files and sessions.
    ///
    /// # Errors
    /// 503 if the settings of the company cannot be read.
    pub(crate) async fn limits(&self, company: CompanyId) -> Result<Limits, Problem> {
        self.policies.limits(company).await.or_problem("reading the settings of a company")
    }

    /// Returns the media types that a company accepts.
    ///
    /// # Errors
    /// 503 if the settings of the company cannot be read.
    pub(crate) async fn types(&self, company: CompanyId) -> Result<TypePolicy, Problem> {
        self.policies.types(company).await.or_problem("reading the settings of a company")
    }

    /// Loads the current state of an upload.
    ///
    /// # Errors
    /// 404 if the principal is neither the uploader nor an admin.
    pub(crate) async fn upload(
        &self,
        principal: &Principal,
        id: UploadId,
    ) -> Result<(UploadAggregate, Loaded<upload::State>), Problem> {
        let aggregate = UploadAggregate { company: principal.company_id, upload: id };
        let loaded = self.repository.look(&aggregate).await.or_problem("loading an upload")?;
        let link = loaded.state.link_id;
        let theirs = loaded.state.started.as_ref().is_some_and(|started| may_touch(principal, started, link));
        if theirs { Ok((aggregate, loaded)) } else { Err(Problem::not_found("upload")) }
    }

    /// Returns the `UploadStarted` event of an upload, from the cache if possible.
    ///
    /// # Errors
    /// 404 if the principal is neither the uploader nor an admin.
    pub(crate) async fn started(&self, principal: &Principal, id: UploadId) -> Result<Arc<UploadStarted>, Problem> {
        let key = (principal.company_id, id);
        if let Some(started) = self.started.0.get(&key) {
            return if may_touch(principal, &started.started, started.link_id) {
                Ok(started)
            } else {
                Err(Problem::not_found("upload"))
            };
        }
        let aggregate = LifecycleAggregate(UploadAggregate { company: principal.company_id, upload: id });
        let state = self.repository.load(&aggregate).await.or_problem("loading an upload")?.state;
        if !state.started.as_ref().is_some_and(|started| may_touch(principal, started, state.link_id)) {
            return Err(Problem::not_found("upload"));
        }
        let started = Arc::new(UploadStarted {
            started: state.started.ok_or_else(|| Problem::not_found("upload"))?,
            // An upload with a deferred length is cached only after its length is known, because the start is final
            // then.
            length_deferred: state.length_deferred,
            kind: state.kind,
            upload_metadata: state.upload_metadata,
            link_id: state.link_id,
        });
        if started.length_deferred {
            return Ok(started);
        }
        self.started.0.insert(&key, started.clone());
        Ok(started)
    }

    /// Checks that clients can write to the object store directly.
    ///
    /// # Errors
    /// 409 `direct_unavailable`.
    pub(crate) fn check_direct(&self) -> Result<(), Problem> {
        if self.presigner.is_reachable() {
            return Ok(());
        }
        let text = "clients cannot reach the object store of this server (WAYBILL_S3_PUBLIC_ENDPOINT is not set); upload without \
                    \"mode\": \"direct\"";
        Err(Problem::new(409, ErrorCode::DirectUnavailable, text))
    }
}

/// Returns `true` if the principal may access an upload, which is sent with `link` if there is one. The uploader and the company's admins
/// may; people with an upload link may access only what is sent with it.
fn may_touch(principal: &Principal, started: &UploadDescription, link: Option<LinkId>) -> bool {
    if principal.link.is_some() {
        return principal.link == link;
    }
    started.uploaded_by == principal.user_id || principal.roles.contains(&Role::Admin)
}
