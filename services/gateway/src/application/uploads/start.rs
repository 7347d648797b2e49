//! Reservation of the space of an upload, and its start, for all protocols.

use crate::application::gateway::Gateway;
use crate::application::links;
use crate::http::problems::OrProblem;
use waybill_domain::limits::{RESERVATION_STEP_BYTES, UNKNOWN_PART_BYTES};
use waybill_domain::upload::{Command, State};
use waybill_http_kit::{Principal, Problem};
use waybill_repository::{Context, Loaded, UploadAggregate};
use waybill_schema::events::{ReservedItem, ReservedLink, UploadDescription, UploadKind, UploadStarted};
use waybill_schema::{Causation, Position, UploadId};

/// Route name for idempotency keys. `POST /v1/files` uses the same name, so that a client can continue an interrupted
/// request in chunks: the same key and the same description of the file identify the same upload.
pub(crate) const ROUTE: &str = "POST /v1/uploads";

/// Reserves the space. A repeated request whose upload has already started needs no new reservation.
pub(crate) async fn reserve(
    gateway: &Gateway,
    principal: &Principal,
    context: &Context,
    item: ReservedItem,
    is_repeatable: bool,
) -> Result<Position, Problem> {
    let aggregate = UploadAggregate { company: principal.company_id, upload: item.upload_id };
    let known = loaded(gateway, &aggregate, is_repeatable).await?;
    if known.last_seq > 0 {
        return Ok(Position { partition: gateway.log.partitions().of(principal.company_id), seq: known.read_to });
    }
    links::check_open(gateway, principal).await?;
    gateway.reserver.reserve(principal.company_id, item, context.clone(), is_repeatable).await
}

/// Loads the upload. A request that cannot be repeated has a new id, so there is nothing to load.
pub(crate) async fn loaded(
    gateway: &Gateway,
    aggregate: &UploadAggregate,
    is_repeatable: bool,
) -> Result<Loaded<State>, Problem> {
    if is_repeatable {
        gateway.repository.load(aggregate).await.or_problem("loading an upload")
    } else {
        Ok(Loaded::of_new())
    }
}

/// Returns the upload link of the principal, for the reservation of what is sent with it.
pub(crate) fn reserved_link(principal: &Principal) -> Option<ReservedLink> {
    principal.link.map(|link_id| ReservedLink { link_id, expires_at: principal.expires_at })
}

/// Returns the space that a new upload reserves. An upload of unknown length reserves only its first step.
pub(crate) fn space_of(principal: &Principal, upload_id: UploadId, upload_start: &UploadStarted) -> ReservedItem {
    let size_bytes = upload_start.started.size_bytes;
    let step = match (upload_start.length_deferred, &upload_start.kind) {
        (false, _) => size_bytes,
        (true, UploadKind::Quarantine { .. }) => UNKNOWN_PART_BYTES,
        (true, _) => RESERVATION_STEP_BYTES,
    };
    let bytes_total = size_bytes.min(step);
    let UploadDescription { session_id, uploaded_by, .. } = upload_start.started;
    ReservedItem { upload_id, session_id, bytes_total, user_id: Some(uploaded_by), link: reserved_link(principal) }
}

/// Reserves the space and starts the upload.
pub(crate) async fn start_now(
    gateway: &Gateway,
    principal: &Principal,
    context: &Context,
    upload: UploadId,
    upload_start: UploadStarted,
    is_repeatable: bool,
) -> Result<Position, Problem> {
    let item = space_of(principal, upload, &upload_start);
    let reserved = reserve(gateway, principal, context, item, is_repeatable).await?;
    begin(gateway, principal, context, upload, upload_start, reserved, is_repeatable).await
}

/// Starts the upload after its space was reserved.
pub(crate) async fn begin(
    gateway: &Gateway,
    principal: &Principal,
    context: &Context,
    upload: UploadId,
    upload_start: UploadStarted,
    reserved: Position,
    is_repeatable: bool,
) -> Result<Position, Problem> {
    let aggregate = UploadAggregate { company: principal.company_id, upload };
    let mut known = if is_repeatable { Loaded::default() } else { Loaded::of_new() };
    let context = Context { causation: Causation::Event(reserved), ..context.clone() };
    let start = Command::Start(UploadStarted { link_id: principal.link, ..upload_start });
    let done = gateway.repository.execute_from(&aggregate, &mut known, start, &context).await;
    Ok(done.or_problem("starting an upload")?.position)
}
