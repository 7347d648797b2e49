//! Media URLs: `POST /v1/media-urls` makes them, `GET` and `HEAD /m/…` answer them, and `GET /v1/media/check` checks them for a proxy
//! with a cache.

use crate::application::content::{Source, send_noted};
use crate::application::gateway::Gateway;
use crate::application::media::find;
use crate::application::media::issue;
use crate::application::media::url::MediaUrl;
use crate::application::shown::Shown;
use crate::application::variants;
use crate::http::download::{Described, Prepared, disposition, prepare, without_bytes};
use crate::http::parameters::{Bytes, MinPosition, RangeHeaders};
use crate::http::response::private;
use crate::routes::variants::{described, is_current};
use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, get, post, route, web};
use waybill_access::Transfer;
use waybill_api::media::{Disposition, MediaUrls, MediaUrlsBody};
use waybill_http_kit::rate_limit::ValidToken;
use waybill_http_kit::{Principal, Problem, RequestId};
use waybill_schema::ErrorCode;
use waybill_service_kit::now;

routes!(make, download, check);

/// Headers in which proxies send the URL of the request that they check: nginx, and Traefik and Caddy.
const URL_HEADERS: [&str; 2] = ["X-Original-URI", "X-Forwarded-Uri"];

/// Makes media URLs
///
/// A media URL needs no `Authorization` header, so that `<img>`, `<video>` and `<audio>` can load it. It shows the file or a preview to
/// the caller, and to whoever gets the URL, until it expires or the access of the caller ends. Making it counts as a download in the
/// audit; its use leaves no record.
#[utoipa::path(
    tag = "media",
    operation_id = "make_media_urls",
    extensions(("x-waybill-points" = json!(5))),
    params(MinPosition),
    request_body = MediaUrlsBody,
    responses(
        (status = 200, description = "For each item, in this order, the URL or the problem of the file", body = MediaUrls),
        (status = 422, description = "`media_urls_invalid`"),
    ),
)]
#[post("/v1/media-urls")]
pub(crate) async fn make(
    request: HttpRequest,
    principal: Principal,
    body: web::Json<MediaUrlsBody>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let items = issue::issue(&request, &principal, &gateway, body.into_inner()).await?;
    Ok(private(HttpResponse::Ok()).json(MediaUrls { items }))
}

/// Returns the bytes of a media URL
///
/// Browsers can keep the answer until the URL expires.
#[utoipa::path(
    tag = "media",
    operation_id = "get_media",
    security(()),
    extensions(("x-waybill-token-in-path" = json!("text"))),
    params(
        ("company" = Uuid, Path),
        ("file" = Uuid, Path),
        ("digest" = String, Path, description = "Names the bytes"),
        ("variant" = String, Path, description = "`original`, `preview-256` or `preview-1024`"),
        ("s" = String, Query, description = "The signature. The URL has further parameters, and must be used unchanged"),
        RangeHeaders,
    ),
    responses(
        (status = 200, description = "The bytes", content_type = "*/*", body = Bytes),
        (status = 206, description = "The bytes of the range", content_type = "*/*", body = Bytes),
        (status = 304, description = "The copy of the client is current"),
        (status = 403, description = "`media_url_invalid`"),
        (status = 404, description = "`preview_absent`"),
        (status = 409, description = "`file_archived`"),
        (status = 410, description = "`media_url_ended`"),
        (status = 412, description = "`precondition_failed`"),
        (status = 416, description = "`range_unsatisfiable`"),
        (status = 429, description = "`too_many_requests`, `too_many_at_once`"),
    ),
)]
#[route("/m/{company}/{file}/{digest}/{variant}", method = "GET", method = "HEAD")]
pub(crate) async fn download(request: HttpRequest, gateway: web::Data<Gateway>) -> Result<HttpResponse, Problem> {
    let uri = request.uri().path_and_query().map_or("", |uri| uri.as_str());
    let url = find::check(&gateway, uri, now())?;
    request.extensions_mut().insert(ValidToken);
    let transfer = find::permit(&gateway, &url, now()).await?;
    let shown = find::find(&gateway, &url, transfer.rights().map(|rights| &rights.facts)).await?;
    let mut answer = answer(&request, &gateway, &url, &shown, transfer).await?;
    let is_kept = matches!(answer.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED);
    if is_kept {
        let headers = answer.headers_mut();
        if let Ok(value) = HeaderValue::from_str(&cache_control(&url)) {
            headers.insert(CACHE_CONTROL, value);
        }
        if let Ok(value) = HeaderValue::from_str(&disposition_of(&url, &shown)) {
            headers.insert(CONTENT_DISPOSITION, value);
        }
        headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    }
    Ok(answer)
}

async fn answer(
    request: &HttpRequest,
    gateway: &Gateway,
    url: &MediaUrl,
    shown: &Shown,
    transfer: Transfer,
) -> Result<HttpResponse, Problem> {
    let is_head = request.method() == Method::HEAD;
    let address = RequestId::of(request).address;
    let slot = || gateway.at_once.download_by_media_url(url.company, url.user, address);
    match shown {
        Shown::Preview(found) if is_current(request, found) => Ok(described(StatusCode::NOT_MODIFIED, found).finish()),
        Shown::Preview(found) if is_head => Ok(without_bytes(described(StatusCode::OK, found), found.size_bytes)),
        Shown::Preview(found) => variants::send(gateway, found, described(StatusCode::OK, found), slot()?).await,
        Shown::Original(original) => match prepare(request, &Described::file(original.described()))? {
            Prepared::Done(answer) => Ok(answer),
            Prepared::Body(answer, range) if is_head => Ok(without_bytes(answer, range.len())),
            Prepared::Body(answer, range) => {
                let form = original.plain.as_ref().map(|plain| &plain.form);
                let source = Source { file: &original.file, form };
                send_noted(gateway, source, answer, range, None, slot()?, transfer).await
            }
        },
    }
}

/// Returns the `Cache-Control` of an answer: browsers may keep it until the URL ends, and shared caches must check each URL.
fn cache_control(url: &MediaUrl) -> String {
    format!("private, max-age={}, immutable", url.left_s(now()).unwrap_or(0))
}

fn disposition_of(url: &MediaUrl, shown: &Shown) -> String {
    let kind = match url.disposition {
        Disposition::Inline => "inline",
        Disposition::Attachment => "attachment",
    };
    match shown {
        Shown::Original(original) => {
            let file = &original.file;
            disposition(kind, file.shown_name())
        }
        Shown::Preview(_) => kind.to_owned(),
    }
}

/// Checks a media URL
///
/// For proxies that have a cache and cannot compute the signature: `auth_request` of nginx, `forward_auth` of Caddy and Traefik, or a
/// request of Varnish. Also checks whether the access has ended.
#[utoipa::path(
    tag = "media",
    operation_id = "check_media_url",
    security(()),
    extensions(("x-waybill-token-in-path" = json!("header"))),
    params(("X-Original-URI" = String, Header, description = "Path and query of the media URL. `X-Forwarded-Uri` means the same")),
    responses(
        (status = 204, description = "The bytes may be sent. `Waybill-Media-Cache-Control` is the `Cache-Control` for the client"),
        (status = 403, description = "`media_url_invalid`, also if the URL has expired or its access has ended"),
        (status = 429, description = "`too_many_requests`"),
    ),
)]
#[get("/v1/media/check")]
pub(crate) async fn check(request: HttpRequest, gateway: web::Data<Gateway>) -> Result<HttpResponse, Problem> {
    let url = URL_HEADERS.iter().find_map(|name| request.headers().get(*name)?.to_str().ok()).unwrap_or_default();
    // Proxies expect 401 or 403 for each refusal.
    let refused = |problem: Problem| match problem.status {
        410 => Problem::new(403, ErrorCode::MediaUrlInvalid, problem.detail),
        _ => problem,
    };
    let url = find::check(&gateway, url, now()).map_err(refused)?;
    find::permit(&gateway, &url, now()).await.map_err(refused)?;
    Ok(HttpResponse::NoContent().insert_header(("Waybill-Media-Cache-Control", cache_control(&url))).finish())
}
