//! What is looked at before a request gets to its route: how often its client asks, and whether its user is still there.
//! And what is kept of those that were refused.

use crate::gateway::Gateway;
use crate::refusals::Refused;
use crate::registration::not_registered;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HOST;
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage, web};
use waybill_service_kit::body::Hold;
use waybill_service_kit::{Principal, Problem, RequestId, Role};

/// Turns away whoever is not there any more, or asks too often. What a route demands of others, it says itself.
///
/// # Errors
/// 403 `not_registered`, 429 `too_many_requests`, 503 where it cannot be told; and those of the service behind it.
pub(crate) async fn admit<B: MessageBody>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    let Some(gateway) = request.app_data::<web::Data<Gateway>>().cloned() else { return next.call(request).await };
    if request.headers().get_all(HOST).count() > 1 {
        // RFC 9112 §3.2.
        return Err(Problem::bad_request("request_invalid", "a request has one Host").into());
    }
    let address = gateway.addresses.of(request.request());
    let id = request.extensions().get::<RequestId>().copied();
    let id =
        RequestId { address: Some(address), ..id.unwrap_or(RequestId { id: uuid::Uuid::now_v7(), address: None }) };
    request.extensions_mut().insert(id);
    let principal = Principal::extract(request.request()).await.ok();
    gateway.rates.check(address, principal.as_ref())?;
    let refused = principal.as_ref().map(|principal| Refused::new(principal, id, &request));
    let outcome = pass(&gateway, request, principal, next).await;
    let problem = match &outcome {
        Ok(response) => response.response().error().and_then(|error| error.as_error::<Problem>()),
        Err(error) => error.as_error::<Problem>(),
    };
    if let Some(problem) = problem {
        gateway.rates.refused(address, problem);
        if let Some(refused) = refused {
            gateway.refusals.keep(refused, problem);
        }
    }
    outcome
}

async fn pass<B: MessageBody>(
    gateway: &Gateway,
    request: ServiceRequest,
    principal: Option<Principal>,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    if let Some(principal) = principal {
        // A client that breaks off meanwhile has sent bytes that count.
        let hold = Hold::of(request.request());
        check(gateway, &principal).await?;
        drop(hold);
        request.extensions_mut().insert(principal);
    }
    next.call(request).await
}

async fn check(gateway: &Gateway, principal: &Principal) -> Result<(), Problem> {
    // The host product is no user.
    if principal.roles.contains(&Role::Service) {
        return Ok(());
    }
    let standing = gateway.access.standing(principal.company_id, principal.user_id).await?;
    if standing.has_ended() { Err(not_registered()) } else { Ok(()) }
}
