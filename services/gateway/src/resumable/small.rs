//! A creation that brings the whole of a small file: one object and one event, as with `POST /v1/files`.
//!
//! Its bytes are held in memory until all of them are there. If they come slowly, break off, or are not what they
//! should be, the upload is started, and takes what there is of them like any other. Before that nobody but its own
//! request can know its URL.

use super::append::{Appended, complete};
use super::create::Creation;
use super::{Asked, upload_url};
use crate::uploads::Once;
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, future, stream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use waybill_domain::upload::State;
use waybill_repository::Loaded;
use waybill_schema::Position;
use waybill_schema::events::UploadKind;
use waybill_service_kit::Problem;

/// The largest file that is held in memory.
const LARGEST_BYTES: u64 = 1_024 * 1_024;
/// What all of them may take together. Whoever comes above that has its upload started at once.
const ALL_KIB: usize = 32 * 1_024;
/// How long a body may pause while it is held.
const PAUSE: Duration = Duration::from_secs(2);
/// How long it is held at most.
const HELD: Duration = Duration::from_secs(5);

/// The memory for small files on their way in.
pub(crate) struct SmallBodies(Arc<Semaphore>);

impl Default for SmallBodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ALL_KIB)))
    }
}

impl SmallBodies {
    fn room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1_024)).ok()?;
        self.0.clone().try_acquire_many_owned(kib).ok()
    }
}

/// Whether the creation says that it brings all of a small file, and nothing else.
pub(super) fn is_small(creation: &Creation<'_>) -> bool {
    let Creation { start, says_complete, content_length, .. } = creation;
    let size_bytes = start.started.size_bytes;
    // Of the draft's early versions clients never complete (tus-js-client 4.3): the declared length does.
    let is_last = *says_complete != Some(false) || creation.asked.dialect.is_early();
    let brings_all = match creation.brings_bytes {
        true => content_length.is_none_or(|content_length| content_length == size_bytes),
        false => size_bytes == 0,
    };
    let is_file = start.kind == UploadKind::File && !start.length_deferred;
    is_file && is_last && brings_all && size_bytes <= LARGEST_BYTES.min(start.started.part_size_bytes)
}

/// Takes the file: as one object where that is possible, else as an upload like any other.
pub(super) async fn create(creation: &Creation<'_>, payload: Payload) -> Result<Appended, Problem> {
    let Creation { asked, upload, start, .. } = creation;
    let context = asked.context();
    let once = Once {
        gateway: &asked.gateway,
        principal: &asked.principal,
        context: &context,
        request: asked.id,
        upload: *upload,
        start,
        is_repeatable: creation.is_repeatable(),
    };
    let size_bytes = start.started.size_bytes;
    let mut loaded = once.loaded().await?;
    let room = asked.gateway.small_bodies.room(size_bytes).filter(|_| loaded.last_seq == 0);
    let Some(room) = room else { return creation.start(payload).await };
    let reserved = once.reserve().await?;
    let held = Body::hold(payload, size_bytes, room).await;
    if let Some(bytes) = held.whole(size_bytes).filter(|bytes| creation.has_checksum(bytes)) {
        match once.store(payload_of(bytes), &mut loaded, reserved).await {
            Ok(true) => return Ok(whole(asked, loaded)),
            // The worker had no memory for it, and started its upload.
            Ok(false) => {
                let completed = complete(asked, *upload).await;
                return completed.map_err(|problem| problem.with("upload_url", upload_url(*upload)));
            }
            // It is nobody's fault that could be found in the bytes: whoever sends them again begins anew.
            Err(problem) if problem.status >= 500 => {
                once.release(&loaded).await;
                return Err(problem);
            }
            Err(problem) => {
                tracing::info!(upload_id = %upload, code = problem.code, "a small file is not stored as one object");
            }
        }
    }
    match once.begin(&mut loaded, reserved).await? {
        Some(position) => creation.go_on(position, held.again()).await,
        None => {
            let superseded = Problem::new(409, "superseded", "a newer request for the upload took over");
            Err(superseded.with("upload_url", upload_url(*upload)))
        }
    }
}

/// The file was stored as one object.
fn whole(asked: &Asked, loaded: Loaded<State>) -> Appended {
    let partition = asked.gateway.log.partitions().of(asked.principal.company_id);
    Appended {
        offset: loaded.state.grid().size_bytes,
        is_complete: true,
        position: Some(Position { partition, seq: loaded.read_to }.to_string()),
        state: Some(loaded.state),
    }
}

/// A body that is held in memory.
struct Body {
    bytes: Bytes,
    end: End,
    rest: Payload,
    room: OwnedSemaphorePermit,
}

/// Why no more of a body is held.
enum End {
    /// That was all.
    Whole,
    /// It comes slowly, or is longer than the file.
    More,
    Broken(PayloadError),
}

impl Body {
    async fn hold(mut rest: Payload, size_bytes: u64, room: OwnedSemaphorePermit) -> Self {
        let until = Instant::now() + HELD;
        let mut bytes = BytesMut::new();
        let end = loop {
            let patience = PAUSE.min(until.saturating_duration_since(Instant::now()));
            match tokio::time::timeout(patience, rest.next()).await {
                Err(_) => break End::More,
                Ok(None) => break End::Whole,
                Ok(Some(Err(error))) => break End::Broken(error),
                Ok(Some(Ok(more))) => bytes.extend_from_slice(&more),
            }
            if bytes.len() as u64 > size_bytes {
                break End::More;
            }
        };
        Self { bytes: bytes.freeze(), end, rest, room }
    }

    /// The bytes, if they are all of the file.
    fn whole(&self, size_bytes: u64) -> Option<Bytes> {
        let is_whole = matches!(self.end, End::Whole) && self.bytes.len() as u64 == size_bytes;
        is_whole.then(|| self.bytes.clone())
    }

    /// The body as it came; what comes still, too. The memory is given back when its first bytes are taken.
    fn again(self) -> Payload {
        let Self { bytes, end, rest, room } = self;
        let held = stream::once(async move {
            drop(room);
            Ok(bytes)
        });
        let held = held.filter(|bytes| future::ready(!matches!(bytes, Ok(bytes) if bytes.is_empty())));
        let payload = match end {
            End::Whole => held.boxed_local(),
            End::More => held.chain(rest).boxed_local(),
            End::Broken(error) => held.chain(stream::iter([Err(error)])).boxed_local(),
        };
        Payload::Stream { payload }
    }
}

fn payload_of(bytes: Bytes) -> Payload {
    let pieces = (!bytes.is_empty()).then_some(Ok(bytes));
    Payload::Stream { payload: stream::iter(pieces).boxed_local() }
}
