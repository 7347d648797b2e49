//! Internal HTTP interface, to which gateways send bytes. Gateways authenticate with a shared secret. The address must
//! be internal.

use super::LocalPlane;
use actix_web::http::header::HeaderMap;
use actix_web::{HttpRequest, HttpResponse, guard, web};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use serde::Deserialize;
use waybill_data_plane::Checksum;
use waybill_data_plane::{DataPlane, PutBytes, PutWhole, STARTED_HEADER};
use waybill_schema::ErrorCode;
use waybill_schema::events::UploadStarted;
use waybill_schema::{ByteRange, CompanyId, UploadId, UserId};
use waybill_service_kit::{Problem, RequestId, body};

/// Header with the shared secret of gateways and workers.
pub(crate) const SECRET_HEADER: &str = "Waybill-Worker-Secret";

#[derive(Deserialize)]
struct UploadPath {
    company: String,
    upload: String,
}

#[derive(Deserialize)]
struct RunQuery {
    from: u64,
    to: u64,
    user_id: UserId,
    checksum: Option<Checksum>,
    #[serde(default)]
    sequential: bool,
}

#[derive(Deserialize)]
struct WholeQuery {
    reserved: String,
}

/// Registers the routes. They match only requests that carry `secret`.
pub(crate) fn routes(config: &mut web::ServiceConfig, secret: &str) {
    let secret = secret.to_owned();
    config.service(
        web::scope("/internal/v1")
            .guard(guard::fn_guard(move |context| knows(&context.head().headers, &secret)))
            .route("/uploads/{company}/{upload}/bytes", web::put().to(put_bytes))
            .route("/objects/{company}/{upload}", web::put().to(put_whole)),
    );
}

/// Returns `true` if the request carries the secret. The comparison takes the same time wherever the secrets differ.
fn knows(headers: &HeaderMap, secret: &str) -> bool {
    let sent = headers.get(SECRET_HEADER).map(|value| value.as_bytes()).unwrap_or_default();
    sent.len() == secret.len() && sent.iter().zip(secret.bytes()).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

async fn put_bytes(
    http: HttpRequest,
    path: web::Path<UploadPath>,
    query: web::Query<RunQuery>,
    payload: web::Payload,
    id: RequestId,
    plane: web::Data<LocalPlane>,
) -> Result<HttpResponse, Problem> {
    let (company, upload) = ids(&path)?;
    let request = PutBytes {
        company,
        upload,
        user: query.user_id,
        range: ByteRange { from: query.from, to: query.to },
        checksum: query.checksum,
        sequential: query.sequential,
        content_length: None,
        request: from(&http, id),
    };
    let work = |body| async move { plane.put_bytes(request, body).await };
    Ok(HttpResponse::Ok().json(body::outliving(&http, payload.into_inner(), work).await?))
}

async fn put_whole(
    http: HttpRequest,
    path: web::Path<UploadPath>,
    query: web::Query<WholeQuery>,
    payload: web::Payload,
    id: RequestId,
    plane: web::Data<LocalPlane>,
) -> Result<HttpResponse, Problem> {
    let (company, upload) = ids(&path)?;
    let invalid = || Problem::bad_request(ErrorCode::RequestInvalid, "the request is not one of a gateway");
    let start = start(http.headers()).filter(|start| start.started.company_id == company).ok_or_else(invalid)?;
    let reserved = query.reserved.parse().map_err(|_| invalid())?;
    let request = PutWhole { upload, start, reserved, request: from(&http, id) };
    let work = |body| async move { plane.put_whole(request, body).await };
    Ok(HttpResponse::Ok().json(body::outliving(&http, payload.into_inner(), work).await?))
}

fn start(headers: &HeaderMap) -> Option<UploadStarted> {
    serde_json::from_slice(&BASE64URL.decode(headers.get(STARTED_HEADER)?).ok()?).ok()
}

/// Returns the request id with the address of the gateway's client.
fn from(http: &HttpRequest, id: RequestId) -> RequestId {
    let sent = http.headers().get("Waybill-Client-Address").and_then(|value| value.to_str().ok());
    RequestId { address: sent.and_then(|address| address.parse().ok()), ..id }
}

fn ids(path: &UploadPath) -> Result<(CompanyId, UploadId), Problem> {
    let invalid = |_| Problem::not_found("upload");
    Ok((path.company.parse().map_err(invalid)?, path.upload.parse().map_err(invalid)?))
}
