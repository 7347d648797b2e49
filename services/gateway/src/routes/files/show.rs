//! `GET /v1/files/{id}`, and the lookup of a file together with the user's access to it.

use crate::application::access::viewer;
use crate::application::files::find::find;
use crate::application::gateway::Gateway;
use crate::http::parameters::MinPosition;
use crate::http::path::FilePath;
use crate::http::response::private;
use crate::routes::files::shown;
use actix_web::{HttpRequest, HttpResponse, get, web};
use waybill_domain::access::Operation;
use waybill_http_kit::{Principal, Problem};
use waybill_read_model::queries::File;

routes!(show);

/// Returns a file
#[utoipa::path(
    tag = "files",
    operation_id = "show_file",
    params(("id" = Uuid, Path), MinPosition),
    responses(
        (status = 200, description = "The file", body = File),
    ),
)]
#[get("/v1/files/{id}")]
pub(crate) async fn show(
    request: HttpRequest,
    principal: Principal,
    FilePath(id): FilePath,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let (file, facts) = find(&request, &principal, id, &gateway, Operation::View).await?;
    Ok(private(HttpResponse::Ok()).json(shown(file, Some(&facts), viewer(&principal))))
}
