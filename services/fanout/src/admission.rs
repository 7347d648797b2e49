//! Middleware in front of the routes of a fan-out with its own listener. A fan-out in the process of a gateway has the
//! middleware of the gateway.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage, HttpResponse, web};
use waybill_http_kit::admission::{Admission, has_ticket};
use waybill_http_kit::{Principal, Problem, health};

/// Points of a request: a connection costs about as much as a command of the gateway.
const POINTS: u32 = 5;

/// Refuses requests of clients that exceed the rate limits or guess tokens and tickets.
///
/// # Errors
/// The errors of the wrapped service. A refusal of this middleware is a response with 429 `too_many_requests` or
/// `too_many_at_once`.
pub(crate) async fn admit<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    // Health probes ask about this process only.
    let is_probe = health::PATHS.contains(&request.path());
    let admission = request.app_data::<web::Data<Admission>>().filter(|_| !is_probe).cloned();
    let Some(admission) = admission else {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    };
    let id = admission.identify(&request);
    let principal = Principal::extract(request.request()).await.ok();
    let has_secret = has_ticket(request.headers());
    let admitted = match (admission.check(id, principal.as_ref(), has_secret), &principal) {
        (Ok(()), Some(principal)) => admission.spend(principal, POINTS).await,
        (checked, _) => checked,
    };
    let response = match admitted {
        Ok(()) => {
            if let Some(principal) = principal {
                request.extensions_mut().insert(principal);
            }
            next.call(request).await?.map_into_left_body()
        }
        // `into_response` would drop the error, which is counted below.
        Err(problem) => request.error_response(problem).map_into_right_body(),
    };
    let problem = response.response().error().and_then(|error| error.as_error::<Problem>());
    let too_many = problem.and_then(|problem| admission.refused(response.request(), problem, false));
    match too_many.filter(|_| has_secret) {
        Some(too_many) => Ok(response.into_response(HttpResponse::from_error(too_many)).map_into_right_body()),
        None => Ok(response),
    }
}
