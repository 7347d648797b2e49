//! Middleware in front of every route: rate limits, the check that the user is still registered, and the audit record
//! of refused requests.

use crate::application::gateway::Gateway;
use crate::application::registration::not_registered;
use crate::http::json;
use crate::http::openapi::{Api, RouteProperties, TokenInPath};
use crate::http::rate_limit::ValidToken;
use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::HOST;
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage, HttpResponse, web};
use std::net::IpAddr;
use std::time::Duration;
use waybill_access::refusals::Refused;
use waybill_schema::ErrorCode;
use waybill_service_kit::body::Hold;
use waybill_service_kit::{Principal, Problem, RequestId, Role, body, health};

/// Time within which a JSON body must arrive completely.
const JSON_WITHIN: Duration = Duration::from_secs(30);

/// Refuses requests of removed users and of clients that exceed the rate limits. Each route checks further conditions
/// itself.
///
/// # Errors
/// The errors of the wrapped service. A refusal of this middleware is a response, not an error, so that it gets the
/// common headers and is logged: 403 `not_registered`, 429 `too_many_requests`, or 503 if the user cannot be checked
/// now.
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
    let address = gateway.proxies.client(request.request());
    let id = request.extensions().get::<RequestId>().copied();
    let id =
        RequestId { address: Some(address), ..id.unwrap_or(RequestId { id: uuid::Uuid::now_v7(), address: None }) };
    request.extensions_mut().insert(id);
    let principal = Principal::extract(request.request()).await.ok();
    let api = request.app_data::<web::Data<Api>>();
    let route = api.map(|api| api.properties_of(request.match_pattern().as_deref())).unwrap_or_default();
    let secret_prefix = api.and_then(|api| api.secret_prefix_of(request.path()));
    // A link to download a file needs no other credentials than its path.
    let is_link = secret_prefix.is_some();
    let path = secret_prefix.map_or_else(|| request.path().to_owned(), |prefix| format!("{prefix}…"));
    let refused = principal.as_ref().map(|principal| Refused::new(principal, id, request.method().as_str(), &path));
    let response = match pass(&gateway, &request, address, is_link, principal).await {
        Ok(()) => {
            prepare_body(&mut request, route);
            next.call(request).await?.map_into_left_body()
        }
        Err(problem) => request.into_response(HttpResponse::from_error(problem)).map_into_right_body(),
    };
    let problem = response.response().error().and_then(|error| error.as_error::<Problem>());
    let Some(problem) = problem else { return Ok(response) };
    if let Some(refused) = refused {
        gateway.refusals.keep(refused, problem);
    }
    // A 404 of a route with a token in its path counts as a guess of a token, unless the token was valid.
    let names_token =
        route.token_in_path != TokenInPath::None && !response.request().extensions().contains::<ValidToken>();
    if let Some(too_many) = gateway.rates.refused(address, problem, names_token).filter(|_| is_link) {
        return Ok(response.into_response(HttpResponse::from_error(too_many)).map_into_right_body());
    }
    if !route.is_for_uppy {
        return Ok(response);
    }
    // Uppy's Companion client shows only the member `message`. The headers are kept, because a 405 has `Allow`.
    let said = problem.clone().with("message", problem.detail.clone()).to_json().to_string();
    Ok(response.map_body(|_, _| EitherBody::right(BoxBody::new(said))))
}

/// Checks the rate limits and the user, and stores the principal for the handlers.
async fn pass(
    gateway: &Gateway,
    request: &ServiceRequest,
    address: IpAddr,
    is_link: bool,
    principal: Option<Principal>,
) -> Result<(), Problem> {
    if request.headers().get_all(HOST).count() > 1 {
        // RFC 9112 §3.2.
        return Err(Problem::bad_request(
            ErrorCode::RequestInvalid,
            "the request has several Host headers; send exactly one",
        ));
    }
    gateway.rates.check(address, principal.as_ref(), is_link)?;
    if let Some(principal) = principal {
        // If the client disconnects during the check, the bytes that it has sent are still stored.
        let hold = Hold::of(request.request());
        check(gateway, &principal).await?;
        drop(hold);
        request.extensions_mut().insert(principal);
    }
    Ok(())
}

/// Limits the time of JSON bodies and keeps a copy of them, because the status of a JSON error depends on the bytes.
/// Uploads of bytes have no limit in total, whatever their media type, because they are checked for a minimum
/// throughput.
fn prepare_body(request: &mut ServiceRequest, route: RouteProperties) {
    let has_body = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    if has_body && !route.takes_bytes {
        let payload = body::within(request.take_payload(), JSON_WITHIN);
        request.set_payload(payload);
        json::remember_body(request);
    }
}

/// Checks that the user of a token has not been removed from the directory.
async fn check(gateway: &Gateway, principal: &Principal) -> Result<(), Problem> {
    // The host product is not a user.
    if principal.roles.contains(&Role::Service) {
        return Ok(());
    }
    let standing = gateway.access.standing(principal.company_id, principal.user_id).await?;
    if standing.has_ended() { Err(not_registered()) } else { Ok(()) }
}
