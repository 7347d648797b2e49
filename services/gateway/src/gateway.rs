//! [`Gateway`]: the state that all handlers share, and the checks and the takeover that several of them need.

use crate::audit_export::HeadKey;
use crate::cursor::CursorKey;
use crate::idempotency::Idempotency;
use crate::position::Positions;
use crate::problems::IntoProblem;
use crate::rates::Limiter;
use crate::registration::{Registration, look_at_directory};
use crate::reserve::Reserver;
use crate::resumable::SmallBodies;
use crate::tokens::Tokens;
use crate::turns::{Held, Turns};
use async_nats::connection::State;
use async_nats::{Request, RequestErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use waybill_access::refusals::Keeper;
use waybill_access::{Access, Policies, Wanted};
use waybill_cache::Cache;
use waybill_data_plane::DataPlane;
use waybill_domain::access::{Denied, Viewer};
use waybill_domain::upload::{self, start_weight};
use waybill_event_log::EventLog;
use waybill_event_log::jetstream::{RawEvents, Refusals};
use waybill_object_store::ObjectStore;
use waybill_object_store::presign::Presigner;
use waybill_read_model::Database;
use waybill_repository::{Context, Directories, LifecycleAggregate, Loaded, UploadAggregate, load, look_at_upload};
use waybill_schema::events::{UploadStartedV1, UploadStartedV2};
use waybill_schema::{Actor, ChatroomId, CompanyId, Place, ThreadId, UploadId, names};
use waybill_service_kit::{Principal, Problem, Proxies, RequestId, Role, now};

/// Size of the cache of upload starts in bytes: about 50,000 uploads, or 1,000 with the maximum of metadata.
const STARTED_BYTES: u64 = 64 * 1_024 * 1_024;

/// Time for which a newer request waits for older ones to store the bytes that they have received.
const TAKEOVER: Duration = Duration::from_secs(2);

/// Interval at which an older request that still runs is asked again to stop.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Timeout of a worker's answer. The answer is lost if the worker releases the upload at that moment.
const ANSWER: Duration = Duration::from_millis(200);

/// Time for which a request waits for an answer of NATS itself if the takeover was not answered.
const DELIVERED: Duration = Duration::from_secs(6);

/// State of the gateway that all handlers share.
pub(crate) struct Gateway {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) nats: async_nats::Client,
    pub(crate) raw_events: RawEvents,
    pub(crate) store: Arc<dyn ObjectStore>,
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
    pub(crate) default_quota_bytes: u64,
    pub(crate) upload_lifetime_ms: i64,
    pub(crate) upload_url_lifetime: Duration,
    pub(crate) started: StartedCache,
    pub(crate) turns: Turns,
    pub(crate) small_bodies: SmallBodies,
    pub(crate) tokens: Tokens,
    pub(crate) proxies: Proxies,
    pub(crate) rates: Limiter,
    pub(crate) refusals: Keeper,
    pub(crate) kept_refusals: Refusals,
}

/// Cache of the `UploadStarted` events of uploads, which never change.
pub(crate) struct StartedCache(Cache<(CompanyId, UploadId), UploadStartedV2>);

impl Default for StartedCache {
    fn default() -> Self {
        let weight = |upload: &UploadStartedV2| {
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
            actor: Actor::User(principal.user_id),
            causation: request.causation(),
            address: request.address,
            clock: now,
        }
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
        let loaded = look_at_upload(self.log.as_ref(), &aggregate)
            .await
            .map_err(|error| error.into_problem("loading an upload"))?;
        let theirs = loaded.state.started.as_ref().is_some_and(|started| may_touch(principal, started));
        if theirs { Ok((aggregate, loaded)) } else { Err(Problem::not_found("upload")) }
    }

    /// Returns the `UploadStarted` event of an upload, from the cache if possible.
    ///
    /// # Errors
    /// 404 if the principal is neither the uploader nor an admin.
    pub(crate) async fn started(&self, principal: &Principal, id: UploadId) -> Result<Arc<UploadStartedV2>, Problem> {
        let key = (principal.company_id, id);
        if let Some(started) = self.started.0.get(&key) {
            return if may_touch(principal, &started.started) {
                Ok(started)
            } else {
                Err(Problem::not_found("upload"))
            };
        }
        let aggregate = LifecycleAggregate(UploadAggregate { company: principal.company_id, upload: id });
        let loaded = load(self.log.as_ref(), &aggregate).await;
        let state = loaded.map_err(|error| error.into_problem("loading an upload"))?.state;
        if !state.started.as_ref().is_some_and(|started| may_touch(principal, started)) {
            return Err(Problem::not_found("upload"));
        }
        let started = Arc::new(UploadStartedV2 {
            started: state.started.ok_or_else(|| Problem::not_found("upload"))?,
            // An upload with a deferred length is cached only after its length is known, because the start is final
            // then.
            length_deferred: state.length_deferred,
            kind: state.kind,
            upload_metadata: state.upload_metadata,
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
        Err(Problem::new(409, "direct_unavailable", text))
    }

    /// Checks that the principal may upload to or share in a chatroom, a thread, or a thread together with its
    /// chatroom.
    ///
    /// # Errors
    /// 404 if a place does not exist, or the principal is neither a member nor an admin; the two cases look the same.
    /// Also 404 if the thread does not belong to the chatroom.
    pub(crate) async fn check_place(
        &self,
        principal: &Principal,
        chatroom: Option<ChatroomId>,
        thread: Option<ThreadId>,
    ) -> Result<(), Problem> {
        let places: Vec<Place> = chatroom.map(Place::Chatroom).into_iter().chain(thread.map(Place::Thread)).collect();
        if places.is_empty() {
            return Ok(());
        }
        let (company, viewer) = (principal.company_id, viewer(principal));
        let wanted = Wanted {
            chatrooms: chatroom.into_iter().collect(),
            threads: thread.into_iter().collect(),
            ..Wanted::default()
        };
        let mut connection =
            self.database.connection().await.map_err(|error| error.into_problem("connecting for a query"))?;
        let known = self.access.look(&mut connection, company, viewer.user_id, &wanted).await?;
        drop(connection);
        let theirs = |place: Place| known.places.contains(&place) && (viewer.is_admin || known.is_member(place));
        let around = thread.and_then(|thread| known.chatroom_of(thread));
        let fits = |around: Option<ChatroomId>| thread.is_none() || chatroom.is_none() || around == chatroom;
        if fits(around) && places.iter().all(|place| theirs(*place)) {
            return Ok(());
        }
        // The read model may not have recent changes of the directory yet. The log has them.
        let missing = |directory: &waybill_domain::directory::State| {
            let theirs = |place: Place| match viewer.is_admin {
                true => directory.is_place(place),
                false => directory.is_active(viewer.user_id) && directory.is_member(place, viewer.user_id),
            };
            if !fits(thread.and_then(|thread| directory.chatroom_of(thread))) {
                return thread.map(Place::Thread);
            }
            places.iter().copied().find(|place| !theirs(*place))
        };
        match look_at_directory(&self.directories, company, missing).await? {
            None => Ok(()),
            Some(Place::Chatroom(_)) => Err(Problem::not_found("chatroom")),
            Some(Place::Thread(_)) => Err(Problem::not_found("thread")),
        }
    }

    /// Ends older requests that send bytes of the upload, on all gateways. After it returns, the bytes that they have
    /// sent are stored, unless the requests did not stop within [`TAKEOVER`]. A caller that sends bytes itself passes
    /// its turn and the offset at which its bytes begin.
    ///
    /// # Errors
    ///
    /// 503 `unavailable` if NATS does not answer: NATS could deliver the messages later, which would end the new
    /// request.
    pub(crate) async fn take_over(&self, upload: UploadId, own: Option<(&Held, u64)>) -> Result<(), Problem> {
        let older = self.turns.before(upload, own.map(|(turn, _)| turn));
        let goes_on_at = bytes::Bytes::from(own.map_or_else(String::new, |(_, offset)| offset.to_string()));
        older.iter().for_each(|turn| turn.supersede());
        let is_asked = AtomicBool::new(false);
        let give_way = || async {
            loop {
                // If no worker holds the upload, NATS answers immediately. A request on its way to a worker is not
                // subscribed yet, so the question is repeated.
                is_asked.fetch_or(self.is_connected(), Ordering::Relaxed);
                if !self.is_answered(names::takeover_subject(upload), goes_on_at.clone()).await {
                    continue;
                }
                if older.iter().all(|turn| turn.is_done()) {
                    return;
                }
                let done = async {
                    for turn in &older {
                        turn.done().await;
                    }
                };
                drop(tokio::time::timeout(ASK_AGAIN, done).await);
            }
        };
        let silent = || Problem::unavailable("NATS does not answer; try again");
        for _ in 0..2 {
            tokio::select! {
                given = tokio::time::timeout(TAKEOVER, give_way()) => if given.is_ok() { return Ok(()) },
                () = self.log.silent() => return Err(silent()),
            }
            // NATS keeps the order of the messages of a connection. After this answer, all earlier messages were
            // delivered.
            let delivered = async { while !self.is_answered(names::NOBODY.to_owned(), bytes::Bytes::new()).await {} };
            tokio::select! {
                delivered = tokio::time::timeout(DELIVERED, delivered) => if delivered.is_err() { return Err(silent()) },
                () = self.log.silent() => return Err(silent()),
            }
            // If the connection to NATS was down, the worker has not received the message yet: repeat.
            if is_asked.load(Ordering::Relaxed) {
                break;
            }
        }
        tracing::warn!(upload_id = %upload, "an older request for the upload did not stop in time");
        Ok(())
    }

    fn is_connected(&self) -> bool {
        self.nats.connection_state() == State::Connected
    }

    /// Sends a request on a core subject of NATS. Returns `true` if an answer arrives within [`ANSWER`], even if it is
    /// "no responders". Without a connection it sends nothing, because the client would deliver the message after it
    /// reconnects, possibly long after the caller has ended.
    async fn is_answered(&self, subject: String, payload: bytes::Bytes) -> bool {
        if self.is_connected() {
            let request = Request::new().payload(payload).timeout(Some(ANSWER));
            match self.nats.send_request(subject, request).await {
                Ok(_) => return true,
                Err(error) if error.kind() == RequestErrorKind::NoResponders => return true,
                Err(_) => {}
            }
        }
        tokio::time::sleep(ASK_AGAIN).await;
        false
    }
}

/// Converts a principal for the access rules.
pub(crate) fn viewer(principal: &Principal) -> Viewer {
    Viewer { user_id: principal.user_id, is_admin: principal.roles.contains(&Role::Admin) }
}

/// Converts a denial of the access rules: 404 if the caller may not know about the object, and 403 otherwise.
pub(crate) fn denied(denied: Denied, what: &str) -> Problem {
    match denied {
        Denied::Hidden => Problem::not_found(what),
        Denied::Forbidden => {
            Problem::new(403, "not_permitted", "you may see this file, but you have no permission for this action")
        }
    }
}

/// Returns `true` if the principal may access an upload: the uploader and the company's admins may.
fn may_touch(principal: &Principal, started: &UploadStartedV1) -> bool {
    started.uploaded_by == principal.user_id || principal.roles.contains(&Role::Admin)
}
