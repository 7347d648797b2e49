//! Cancellation of all uploads of a user by the host product or an admin, for example if the user has reserved too much
//! of the quota.

use crate::application::administration::Administration;
use crate::application::gateway::Gateway;
use crate::application::uploads::end::cancel_all;
use crate::http::path::NewId;
use actix_web::{HttpResponse, delete, web};
use waybill_api::directory::UploadsCancelled;
use waybill_http_kit::Problem;
use waybill_schema::UserId;

routes!(cancel_uploads);

/// Cancels the open uploads of a user
///
/// A request cancels up to 1,000 uploads. Uploads whose bytes have arrived completely are not cancelled. Reservations of
/// builds without limits per user are not known to be of this user.
#[utoipa::path(
    tag = "directory",
    operation_id = "cancel_uploads_of_user",
    params(("company" = Uuid, Path), ("id" = Uuid, Path)),
    responses(
        (status = 200, description = "The uploads are cancelled, or some of them", body = UploadsCancelled),
        (status = 422, description = "`id_invalid`"),
    ),
)]
#[delete("/v1/admin/companies/{company}/users/{id}/uploads")]
pub(crate) async fn cancel_uploads(
    by: Administration,
    NewId(user): NewId<UserId>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let left = cancel_all(&gateway, &by.context, by.company, user).await?;
    Ok(HttpResponse::Ok().json(UploadsCancelled { cancelled: left.cancelled, open: left.open }))
}
