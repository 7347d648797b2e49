//! Middleware in front of every route: rate limits, event budgets, the check that the user is still registered, and the
//! audit record of refused requests.

use crate::application::gateway::Gateway;
use crate::application::links;
use crate::application::registration::barred;
use crate::http::event_budget::cost_of;
use crate::http::json;
use crate::http::openapi::{Api, RouteProperties, TokenInPath};
use crate::http::problems::OrProblem;
use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::HOST;
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage, HttpResponse, web};
use prometheus::IntCounterVec;
use std::sync::LazyLock;
use std::time::Duration;
use waybill_audit::denials::Attempt;
use waybill_domain::access::{Presence, Standing};
use waybill_http_kit::admission::has_ticket;
use waybill_http_kit::auth::ExpiredToken;
use waybill_http_kit::body::Hold;
use waybill_http_kit::rate_limit::ValidToken;
use waybill_http_kit::slots::Slot;
use waybill_http_kit::{ListenerKind, Principal, Problem, RequestId, Role, body, health};
use waybill_schema::ErrorCode;
use waybill_service_kit::metrics::counters;

/// Time within which a JSON body must arrive completely.
const JSON_WITHIN: Duration = Duration::from_secs(30);

/// Refused requests by error code.
static REFUSED: LazyLock<IntCounterVec> =
    LazyLock::new(|| counters("waybill_refused_requests_total", "Refused requests by error code", &["code"]));

/// Prefix of the routes that the host product may use.
const ADMINISTRATION: &str = "/v1/admin/";

/// Prefix of the routes that auditors may use after their company was closed.
const AUDIT: &str = "/v1/audit";

/// Refuses requests of removed users and of clients that exceed the rate limits. Each route checks further conditions
/// itself.
///
/// # Errors
/// The errors of the wrapped service. A refusal of this middleware is a response, not an error, so that it gets the
/// common headers and is logged: 401 `token_invalid`, 403 `not_registered` or `wrong_listener`, 429 `too_many_requests`,
/// `too_many_at_once` or `event_budget_exhausted`, or 503 if the user cannot be checked now.
pub(crate) async fn admit<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    // Health probes ask about this process only. They need no limits and no user.
    let is_probe = health::PATHS.contains(&request.path());
    let gateway = request.app_data::<web::Data<Gateway>>().filter(|_| !is_probe).cloned();
    let Some(gateway) = gateway else {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    };
    let id = gateway.admission.identify(&request);
    let link = links::text_in(request.headers()).map(str::to_owned);
    let has_link = link.is_some();
    let principal = match link {
        // A link is looked up in the log, so the rate of the address comes first.
        Some(text) => match gateway.admission.check(id, None, true) {
            Ok(()) => links::authenticate(&gateway, &text).await.map(Some),
            Err(problem) => Err(problem),
        },
        None => Ok(Principal::extract(request.request()).await.ok()),
    };
    let api = request.app_data::<web::Data<Api>>();
    let route = api.map(|api| api.properties_of(request.match_pattern().as_deref())).unwrap_or_default();
    let secret_prefix = api.and_then(|api| api.secret_prefix_of(request.path()));
    // A link to download a file needs no other credentials than its path, and a WebSocket no others than its ticket.
    let is_in_header = route.token_in_path == TokenInPath::InHeader;
    let has_secret = secret_prefix.is_some() || is_in_header || has_link || has_ticket(request.headers());
    let path = secret_prefix.map_or_else(|| request.path().to_owned(), |prefix| format!("{prefix}…"));
    let attempt = principal.as_ref().ok().and_then(Option::as_ref).map(|principal| Attempt {
        company_id: principal.company_id,
        // The id of an upload link, so that nobody takes its refusals for those of its owner.
        user_id: principal.counted_as(),
        address: id.address,
        request_id: id.id,
        method: request.method().as_str().to_owned(),
        path,
    });
    let passed = match principal {
        Ok(principal) => pass(&gateway, &request, route, id, has_secret, principal).await,
        Err(problem) => Err(problem),
    };
    let response = match passed {
        // The slot is kept until the handler has read the body.
        Ok(_slot) => {
            prepare_body(&mut request, route);
            next.call(request).await?.map_into_left_body()
        }
        Err(problem) => {
            if attempt.is_some() {
                // A token that was invalidated is no guess.
                request.extensions_mut().insert(ExpiredToken);
            }
            // `into_response` would drop the error, which is counted and recorded below.
            request.error_response(problem).map_into_right_body()
        }
    };
    let problem = response.response().error().and_then(|error| error.as_error::<Problem>());
    let Some(problem) = problem else { return Ok(response) };
    REFUSED.with_label_values(&[problem.code.as_str()]).inc();
    if let Some(attempt) = attempt {
        gateway.denials.record(attempt, problem.status, problem.code);
    }
    // A 404 of a route with a token in its path counts as a guess of a token, unless the token was valid.
    let names_token =
        route.token_in_path != TokenInPath::None && !response.request().extensions().contains::<ValidToken>();
    if problem.status == 401 || (problem.status == 404 && names_token) {
        // The rate limits block an address that fails often, so that it cannot flood the log.
        let address = id.address.map(tracing::field::display);
        tracing::info!(address, code = problem.code.as_str(), request_id = %id.id, "authentication failed");
    }
    let too_many = gateway.admission.refused(response.request(), problem, names_token);
    if let Some(too_many) = too_many.filter(|_| has_secret) {
        return Ok(response.into_response(HttpResponse::from_error(too_many)).map_into_right_body());
    }
    if !route.is_for_uppy {
        return Ok(response);
    }
    // Uppy's Companion client shows only the member `message`. The headers are kept, because a 405 has `Allow`.
    let said = problem.clone().with(|members| members.message = Some(problem.detail.clone())).to_json().to_string();
    Ok(response.map_body(|_, _| EitherBody::right(BoxBody::new(said))))
}

/// Checks the rate limits and the user, and stores the principal for the handlers. Returns the slot of a request that
/// sends bytes of a file.
async fn pass(
    gateway: &Gateway,
    request: &ServiceRequest,
    route: RouteProperties,
    id: RequestId,
    has_secret: bool,
    principal: Option<Principal>,
) -> Result<Option<Slot>, Problem> {
    if request.headers().get_all(HOST).count() > 1 {
        // RFC 9112 §3.2.
        return Err(Problem::bad_request(
            ErrorCode::RequestInvalid,
            "the request has several Host headers; send exactly one",
        ));
    }
    // The rate of the address was checked before the link was looked up.
    if principal.as_ref().is_none_or(|principal| principal.link.is_none()) {
        gateway.admission.check(id, principal.as_ref(), has_secret)?;
    }
    if principal.is_some() || has_secret {
        let kind = request.app_data::<web::Data<ListenerKind>>().map_or(ListenerKind::Shared, |kind| ***kind);
        kind.check(principal.as_ref())?;
    }
    let mut slot = None;
    if let Some(principal) = principal {
        // If the client disconnects while it waits, the bytes that it has sent are still stored.
        let hold = Hold::of(request.request());
        check(gateway, &principal, route, request).await?;
        gateway.at_once.note(principal.company_id);
        gateway.admission.spend(&principal, route.points(request.method())).await?;
        drop(hold);
        if !principal.is_host() {
            gateway.event_budget.charge(&principal, cost_of(request, route))?;
        }
        if route.takes_bytes && has_body(request.method()) {
            slot = Some(gateway.at_once.body(&principal)?);
        }
        request.extensions_mut().insert(principal);
    }
    Ok(slot)
}

/// Limits the time of JSON bodies and keeps a copy of them, because the status of a JSON error depends on the bytes.
/// Uploads of bytes have no limit in total, whatever their media type, because they are checked for a minimum
/// throughput.
fn prepare_body(request: &mut ServiceRequest, route: RouteProperties) {
    if has_body(request.method()) && !route.takes_bytes {
        let payload = body::within(request.take_payload(), JSON_WITHIN);
        request.set_payload(payload);
        json::remember_body(request);
    }
}

fn has_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// Checks that the user of a token is in the directory, that the company is open unless the audit is read, and that the
/// host product only administers.
async fn check(
    gateway: &Gateway,
    principal: &Principal,
    route: RouteProperties,
    request: &ServiceRequest,
) -> Result<(), Problem> {
    let path = request.path();
    if principal.link.is_some() {
        return links::check(gateway, principal, route, request.method()).await;
    }
    if principal.is_host() {
        return if path.starts_with(ADMINISTRATION) || !route.needs_token { Ok(()) } else { principal.require_user() };
    }
    let standing =
        gateway.access.standing(principal.company_id, principal.user_id).await.or_problem("checking a user")?;
    // Closing a company does not end its audit.
    let is_audit = principal.roles.contains(&Role::Auditor) && path.starts_with(AUDIT);
    let company = if is_audit && standing.company == Presence::Ended { Presence::Active } else { standing.company };
    let standing = Standing { company, ..standing };
    standing.check(gateway.registration.is_automatic(), principal.issued_at).map_err(barred)
}
