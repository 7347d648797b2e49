//! What is looked at before a request gets to its route: how often its client asks, and whether its user is still there.
//! And what is kept of those that were refused.

use crate::gateway::Gateway;
use crate::registration::not_registered;
use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::HOST;
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage, HttpResponse, web};
use std::net::IpAddr;
use std::time::Duration;
use waybill_access::refusals::Refused;
use waybill_service_kit::body::{self, Hold};
use waybill_service_kit::health;
use waybill_service_kit::{Principal, Problem, RequestId, Role};

/// How long a JSON body may take.
const JSON_WITHIN: Duration = Duration::from_secs(30);

/// Turns away whoever is not there any more, or asks too often. What a route demands of others, it says itself.
///
/// # Errors
/// Those of the service behind it. What is refused here, 403 `not_registered`, 429 `too_many_requests` or 503 where it
/// cannot be told, is an answer like others: with the headers that all have, and in the log.
pub(crate) async fn admit<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    // A probe asks about this process, whatever its neighbours do and whoever is known.
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
    let refused =
        principal.as_ref().map(|principal| Refused::new(principal, id, request.method().as_str(), request.path()));
    let is_link = request.path().starts_with("/d/");
    let response = match pass(&gateway, &request, (address, is_link), principal).await {
        Ok(()) => {
            in_time(&mut request);
            next.call(request).await?.map_into_left_body()
        }
        Err(problem) => request.into_response(HttpResponse::from_error(problem)).map_into_right_body(),
    };
    let problem = response.response().error().and_then(|error| error.as_error::<Problem>());
    let Some(problem) = problem else { return Ok(response) };
    if let Some(refused) = refused {
        gateway.refusals.keep(refused, problem);
    }
    if let Some(too_many) = gateway.rates.refused(address, problem).filter(|_| is_link) {
        return Ok(response.into_response(HttpResponse::from_error(too_many)).map_into_right_body());
    }
    if !response.request().path().starts_with("/uppy/") {
        return Ok(response);
    }
    // Uppy's Companion client shows this member, and no other. The headers stay: a 405 has `Allow`.
    let said = problem.clone().with("message", problem.detail.clone()).to_json().to_string();
    Ok(response.map_body(|_, _| EitherBody::right(BoxBody::new(said))))
}

async fn pass(
    gateway: &Gateway,
    request: &ServiceRequest,
    (address, is_link): (IpAddr, bool),
    principal: Option<Principal>,
) -> Result<(), Problem> {
    if request.headers().get_all(HOST).count() > 1 {
        // RFC 9112 §3.2.
        return Err(Problem::bad_request("request_invalid", "a request has one Host"));
    }
    gateway.rates.check(address, principal.as_ref(), is_link)?;
    if let Some(principal) = principal {
        // A client that breaks off meanwhile has sent bytes that count.
        let hold = Hold::of(request.request());
        check(gateway, &principal).await?;
        drop(hold);
        request.extensions_mut().insert(principal);
    }
    Ok(())
}

/// JSON comes within its time. Bytes of files, whatever their type, take as long as they take, as long as they come.
fn in_time(request: &mut ServiceRequest) {
    let path = request.path();
    let is_file = path == "/v1/files" || path.starts_with("/tus") || path.contains("/chunks/");
    let has_body = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    if has_body && !is_file {
        let payload = body::within(request.take_payload(), JSON_WITHIN);
        request.set_payload(payload);
    }
}

async fn check(gateway: &Gateway, principal: &Principal) -> Result<(), Problem> {
    // The host product is no user.
    if principal.roles.contains(&Role::Service) {
        return Ok(());
    }
    let standing = gateway.access.standing(principal.company_id, principal.user_id).await?;
    if standing.has_ended() { Err(not_registered()) } else { Ok(()) }
}
