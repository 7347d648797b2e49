//! Who is turned away before anything else is looked at: users who were removed, and those of closed companies.

use crate::gateway::Gateway;
use crate::registration::not_registered;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage, web};
use waybill_service_kit::body::Hold;
use waybill_service_kit::{Principal, Problem, Role};

/// Turns away whoever is not there any more. What a route demands of others, it says itself.
///
/// # Errors
/// 403 `not_registered`, 503 where it cannot be told; and those of the service behind it.
pub(crate) async fn admit(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let principal = Principal::extract(request.request()).await.ok();
    if let (Some(principal), Some(gateway)) = (principal, request.app_data::<web::Data<Gateway>>()) {
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
