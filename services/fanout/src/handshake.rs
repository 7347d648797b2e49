//! Handles the WebSocket handshake: checks the origin and then the token or ticket, and starts the connection.

use crate::access::check_standing;
use crate::actix_socket::ActixSocket;
use crate::connection::{Client, Connection, greet};
use crate::fanout::Fanout;
use crate::guard::{FRAME_MAX_BYTES, TooBig, guarded};
use crate::ticket::{self, Tickets};
use actix_web::{FromRequest, HttpRequest, HttpResponse, dev, get, web};
use std::time::Duration;
use waybill_api::frames::SUBPROTOCOL;
use waybill_http_kit::admission::{TICKET_PREFIX, subprotocols};
use waybill_http_kit::slots::Holder;
use waybill_http_kit::{Authenticator, Principal, Problem, RequestId, body};
use waybill_schema::ErrorCode;

/// Maximum time for which a client may not read before its connection is closed.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// Opens a WebSocket (RFC 6455) with the subprotocol `waybill.v1`. The server checks the origin and then the token or
/// ticket before the upgrade.
#[utoipa::path(
    tag = "progress",
    operation_id = "watch_progress",
    security(()),
    responses(
        (status = 101, description = "Switching to WebSocket"),
        (status = 401, description = "`token_missing`, `token_invalid`, `ticket_invalid`"),
        (status = 403, description = "`origin_refused`, `not_registered`, `user_required`, `link_forbidden`"),
        (status = 429, description = "`too_many_requests`, `too_many_at_once`: try again after `Retry-After`"),
        (status = 400, description = "`upgrade_required`: the request is not a WebSocket handshake (RFC 6455)"),
    ),
)]
#[get("/v1/progress")]
pub(crate) async fn connect(
    request: HttpRequest,
    payload: web::Payload,
    fanout: web::Data<Fanout>,
    tickets: web::Data<Tickets>,
    authenticator: web::Data<Authenticator>,
    id: RequestId,
) -> Result<HttpResponse, actix_web::Error> {
    let origin = ticket::origin(request.headers());
    if origin.is_some_and(|origin| !fanout.origins.allow(&request, origin)) {
        let detail = "pages of this origin may not connect: the origin is neither the server's own according to the Host \
                      header nor listed in WAYBILL_ALLOWED_ORIGINS";
        return Err(Problem::new(403, ErrorCode::OriginRefused, detail).into());
    }
    let ticket = subprotocols(request.headers()).find_map(|protocol| protocol.strip_prefix(TICKET_PREFIX));
    let principal = match ticket {
        Some(ticket) => redeem(&tickets, ticket, origin).await?,
        None => Principal::extract(&request).await?,
    };
    principal.require_user()?;
    if principal.link.is_some() {
        let detail = "an upload link only permits to upload files; connect with the token of a user";
        return Err(Problem::new(403, ErrorCode::LinkForbidden, detail).into());
    }
    check_standing(&fanout, &principal).await?;
    if fanout.shutdown.is_triggered() {
        return Err(Problem::unavailable("this server is stopping; connect again").into());
    }
    let company = Holder::Company(principal.company_id);
    let holders: Vec<Holder> = id.address.map(Holder::Address).into_iter().chain([company]).collect();
    let slot = Some(fanout.sockets.take(&holders)?);
    let too_big = TooBig::default();
    let guarded = guarded(payload.into_inner(), too_big.clone());
    let mut guarded: dev::Payload = dev::Payload::Stream { payload: Box::pin(guarded) };
    let payload = web::Payload::from_request(&request, &mut guarded).await?;
    let upgraded = actix_ws::handle_with_protocols(&request, payload, &[SUBPROTOCOL]);
    let Ok((answer, session, stream)) = upgraded else { return Err(no_handshake().into()) };
    let messages =
        stream.max_frame_size(FRAME_MAX_BYTES).aggregate_continuations().max_continuation_size(FRAME_MAX_BYTES);
    let mut socket = ActixSocket::new(session, messages, too_big);
    greet(&mut socket).await?;
    body::written_within(&request, WRITE_WITHIN);
    let client = Client { principal, id, _slot: slot };
    actix_web::rt::spawn(Connection::open(fanout.into_inner(), authenticator, client, socket).run());
    Ok(answer)
}

/// Returns the problem for a request that is not a handshake (RFC 6455 §4.2.1).
fn no_handshake() -> Problem {
    Problem::bad_request(ErrorCode::UpgradeRequired, "this route is a WebSocket; begin with the handshake of RFC 6455")
}

async fn redeem(tickets: &Tickets, ticket: &str, origin: Option<&str>) -> Result<Principal, Problem> {
    let redeemed = tickets.redeem(ticket, origin).await.map_err(|error| {
        tracing::warn!(%error, "cannot redeem a ticket");
        Problem::unavailable("tickets cannot be redeemed at the moment; try again")
    })?;
    redeemed.ok_or_else(|| {
        Problem::new(401, ErrorCode::TicketInvalid, "the ticket is unknown, used or expired; get a new one")
    })
}
