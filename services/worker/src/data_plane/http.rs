//! Internal HTTP interface, to which gateways send bytes. Gateways sign their requests. The address must be internal.

use super::LocalPlane;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderValue};
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, HttpRequest, HttpResponse, web};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use serde::Deserialize;
use waybill_data_plane::Checksum;
use waybill_data_plane::signature::{COVERED, Covered, SIGNATURE_HEADER, SignatureChecker, SignatureError};
use waybill_data_plane::{CLIENT_ADDRESS_HEADER, DataPlane, PutBytes, PutWhole, STARTED_HEADER};
use waybill_http_kit::{Problem, RequestId, body};
use waybill_schema::ErrorCode;
use waybill_schema::events::UploadStarted;
use waybill_schema::{ByteRange, CompanyId, LinkId, UploadId, UserId};
use waybill_service_kit::now;

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
    link_id: Option<LinkId>,
    checksum: Option<Checksum>,
    #[serde(default)]
    sequential: bool,
}

#[derive(Deserialize)]
struct WholeQuery {
    reserved: String,
}

/// Registers the routes. They need the app data [`SignatureChecker`].
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/internal/v1")
            .wrap(from_fn(check_signature))
            .route("/uploads/{company}/{upload}/bytes", web::put().to(put_bytes))
            .route("/objects/{company}/{upload}", web::put().to(put_whole)),
    );
}

/// Answers 401 without a body to a request whose signature is refused.
async fn check_signature<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let value = |name| request.headers().get(name).map(HeaderValue::as_bytes).unwrap_or_default();
    let path = request.uri().path_and_query().map(|path| path.as_str()).unwrap_or_default();
    let covered = Covered { method: request.method().as_str(), path, headers: COVERED.map(value) };
    let signature = str::from_utf8(value(SIGNATURE_HEADER)).unwrap_or_default();
    let checker = request.app_data::<web::Data<SignatureChecker>>();
    let checked = checker.map_or(Err(SignatureError::Missing), |it| it.check(signature, covered, now()));
    if let Err(error) = checked {
        let peer = request.peer_addr().map(tracing::field::display);
        tracing::warn!(%error, peer, "refused the signature of a request");
        return Ok(request.into_response(HttpResponse::Unauthorized().finish()).map_into_right_body());
    }
    Ok(next.call(request).await?.map_into_left_body())
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
        link: query.link_id,
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
    let sent = http.headers().get(CLIENT_ADDRESS_HEADER).and_then(|value| value.to_str().ok());
    RequestId { address: sent.and_then(|address| address.parse().ok()), ..id }
}

fn ids(path: &UploadPath) -> Result<(CompanyId, UploadId), Problem> {
    let invalid = |_| Problem::not_found("upload");
    Ok((path.company.parse().map_err(invalid)?, path.upload.parse().map_err(invalid)?))
}
