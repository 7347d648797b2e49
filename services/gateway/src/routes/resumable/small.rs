//! A creation that contains a whole small file. It becomes one object and one event, as with `POST /v1/files`.
//!
//! The gateway holds the bytes in memory until all of them have arrived. If they arrive slowly, end early or do not
//! match their checksum, the gateway starts an ordinary upload and appends the bytes to it. Only this request can know
//! the URL of the upload before that.

use crate::application::uploads::once::Once;
use crate::routes::resumable::creation::Creation;
use crate::routes::resumable::progress::{Appended, complete};
use crate::routes::resumable::request::{Asked, upload_url};
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, future, stream};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use waybill_domain::upload::State;
use waybill_http_kit::Problem;
use waybill_repository::Loaded;
use waybill_schema::ErrorCode;
use waybill_schema::Position;
use waybill_schema::events::UploadKind;

/// Maximum size of a file that is held in memory.
const LARGEST_BYTES: u64 = 1_024 * 1_024;

/// Maximum pause of a body while it is held.
const PAUSE: Duration = Duration::from_secs(2);

/// Maximum time for which a body is held.
const HELD: Duration = Duration::from_secs(5);

/// Returns `true` if the creation declares that it contains exactly one whole small file.
pub(crate) fn is_small(creation: &Creation<'_>) -> bool {
    let Creation { start, says_complete, content_length, .. } = creation;
    let size_bytes = start.started.size_bytes;
    // Clients of the draft's early versions never declare completion (tus-js-client 4.3). The declared length completes
    // their uploads.
    let is_last = *says_complete != Some(false) || creation.asked.dialect.is_early();
    let brings_all = match creation.brings_bytes {
        true => content_length.is_none_or(|content_length| content_length == size_bytes),
        false => size_bytes == 0,
    };
    let is_file = start.kind == UploadKind::File && !start.length_deferred;
    is_file && is_last && brings_all && size_bytes <= LARGEST_BYTES.min(start.started.part_size_bytes)
}

/// Stores the file as one object if that is possible, and as an ordinary upload otherwise.
pub(crate) async fn create(creation: &Creation<'_>, payload: Payload) -> Result<Appended, Problem> {
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
    let arrived = asked.gateway.creations.begin(*upload);
    let reserved = once.reserve().await?;
    let held = Body::hold(payload, size_bytes, room).await;
    if let Some(bytes) = held.whole(size_bytes).filter(|bytes| creation.has_checksum(bytes)) {
        match once.store(payload_of(bytes), &mut loaded, reserved).await {
            Ok(true) => return Ok(whole(asked, loaded)),
            // The worker had no memory for the file and started an ordinary upload.
            Ok(false) => {
                let completed = complete(asked, *upload).await;
                return completed
                    .map_err(|problem| problem.with(|members| members.upload_url = Some(upload_url(*upload))));
            }
            // The cause is not in the bytes. The client must send them again in a new request.
            Err(problem) if problem.status >= 500 => {
                once.release(&loaded).await;
                return Err(problem);
            }
            Err(problem) => {
                tracing::info!(upload_id = %upload, code = problem.code.as_str(), "cannot store a small file as one object");
            }
        }
    }
    match once.begin(&mut loaded, reserved).await? {
        Some(position) => creation.go_on(position, held.again()).await,
        // An older request with the same key started the upload meanwhile. This one takes over.
        None if asked.gateway.creations.is_newest(&arrived) => creation.go_on(reserved, held.again()).await,
        None => {
            let superseded = Problem::new(409, ErrorCode::Superseded, "a newer request for this upload took over");
            Err(superseded.with(|members| members.upload_url = Some(upload_url(*upload))))
        }
    }
}

/// Returns the progress after the file was stored as one object.
fn whole(asked: &Asked, loaded: Loaded<State>) -> Appended {
    let partition = asked.gateway.log.partitions().of(asked.principal.company_id);
    Appended {
        offset: loaded.state.grid().size_bytes,
        is_complete: true,
        position: Some(Position { partition, seq: loaded.read_to }.to_string()),
        state: Some(loaded.state),
    }
}

/// Body that is held in memory.
struct Body {
    bytes: Bytes,
    end: End,
    rest: Payload,
    room: OwnedSemaphorePermit,
}

/// Reason why no further bytes of a body are held.
enum End {
    /// The body has ended.
    Whole,
    /// The body is slow, or longer than the file.
    More,
    /// The body ended with an error.
    Broken(PayloadError),
}

impl Body {
    /// Reads the body until it ends, is too slow or is longer than the file.
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

    /// Returns the bytes if they are the whole file.
    fn whole(&self, size_bytes: u64) -> Option<Bytes> {
        let is_whole = matches!(self.end, End::Whole) && self.bytes.len() as u64 == size_bytes;
        is_whole.then(|| self.bytes.clone())
    }

    /// Returns the whole body: the held bytes and the rest that is still to arrive. Releases the reserved memory when
    /// the held bytes are read.
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
