//! Resumable uploads for existing clients: tus 1.0 with its extensions, and the IETF's Resumable Uploads for HTTP. Both
//! protocols use the same URLs and the same uploads. docs/resumable-uploads.md maps their clauses to tests.

pub(crate) mod append;
pub(crate) mod concatenate;
pub(crate) mod create;
pub(crate) mod creation;
pub(crate) mod dialect;
pub(crate) mod documented;
pub(crate) mod look;
pub(crate) mod metadata;
pub(crate) mod progress;
pub(crate) mod request;
pub(crate) mod small;

use crate::application::gateway::Gateway;
use crate::application::uploads::end::cancel_upload;
use crate::http::path::parse_upload;
use crate::routes::resumable::dialect::Dialect;
use crate::routes::resumable::request::Asked;
use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use waybill_http_kit::{Principal, Problem, RequestId, body};
use waybill_repository::Loaded;
use waybill_schema::ErrorCode;
use waybill_schema::UploadId;

/// Registers the routes of both protocols.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config.service(web::resource(["/tus", "/tus/"]).to(collection)).service(web::resource("/tus/{id}").to(resource));
}

const METHOD_OVERRIDE: &str = "X-HTTP-Method-Override";

/// Methods of both protocols, for the URL that creates uploads and for the URL of an upload.
const COLLECTION: &[&str] = &["POST", "PUT", "PATCH", "OPTIONS"];

const RESOURCE: &[&str] = &["HEAD", "GET", "PATCH", "DELETE", "OPTIONS"];

async fn collection(
    request: HttpRequest,
    payload: web::Payload,
    id: RequestId,
    gateway: web::Data<Gateway>,
) -> HttpResponse {
    answer(request, payload, id, gateway, COLLECTION, async |asked, method, body| match method {
        Method::POST => create::create(asked, body).await,
        // In the draft, every method with content can create an upload (§4.2).
        Method::PUT | Method::PATCH if asked.dialect != Dialect::Tus => create::create(asked, body).await,
        _ => Err(not_allowed(&["POST", "OPTIONS"])),
    })
    .await
}

async fn resource(
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
    id: RequestId,
    gateway: web::Data<Gateway>,
) -> HttpResponse {
    answer(request, payload, id, gateway, RESOURCE, async move |asked, method, body| {
        let upload = parse_upload(&path)?;
        match method {
            Method::HEAD => look::look(asked, upload).await,
            Method::GET => look::read(asked, upload).await,
            Method::PATCH => append::patch(asked, upload, body).await,
            Method::DELETE => terminate(asked, upload).await,
            _ => Err(not_allowed(RESOURCE)),
        }
    })
    .await
}

/// Handles what all requests have in common: checks the method, the version and the token, and adapts the response to
/// the protocol.
async fn answer(
    request: HttpRequest,
    payload: web::Payload,
    id: RequestId,
    gateway: web::Data<Gateway>,
    takes: &'static [&'static str],
    handle: impl AsyncFnOnce(&Asked, Method, Payload) -> Result<HttpResponse, Problem> + 'static,
) -> HttpResponse {
    let method = effective_method(&request);
    if method == Ok(Method::OPTIONS) {
        // OPTIONS requires neither a version nor a token (tus 1.0, OPTIONS; draft §4.1.4).
        let answer = dialect::options(gateway.policies.limits.max_file_bytes, gateway.settings.upload_lifetime_ms());
        return Dialect::Tus.finish(&Method::OPTIONS, Ok(answer));
    }
    let dialect = Dialect::of(&request);
    let connection = request.clone();
    let meant = method.clone().unwrap_or(Method::POST);
    let work = |body| async move {
        // A method that neither protocol has is refused before the version is checked.
        let is_meant = !request.headers().contains_key(METHOD_OVERRIDE);
        if is_meant && !takes.contains(&request.method().as_str()) {
            return Err(not_allowed(takes));
        }
        dialect.check_version(&request)?;
        let method = method?;
        // The token is checked after the effective method is known.
        let principal = Principal::from_request(&request, &mut Payload::None).await?;
        let asked = Asked { gateway, principal, request, id, dialect };
        handle(&asked, method, body).await
    };
    let answered = body::outliving(&connection, payload.into_inner(), work).await;
    dialect.finish(&meant, answered)
}

/// Returns the method of the request, or the one in `X-HTTP-Method-Override` (tus 1.0).
fn effective_method(request: &HttpRequest) -> Result<Method, Problem> {
    let Some(meant) = request.headers().get(METHOD_OVERRIDE) else { return Ok(request.method().clone()) };
    let known = [Method::POST, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];
    let invalid = || Problem::bad_request(ErrorCode::HeaderInvalid, "X-HTTP-Method-Override must be PATCH or DELETE");
    known.into_iter().find(|method| meant.as_bytes() == method.as_str().as_bytes()).ok_or_else(invalid)
}

fn not_allowed(methods: &[&str]) -> Problem {
    let methods = methods.join(", ");
    Problem::new(405, ErrorCode::MethodNotAllowed, format!("this URL supports only {methods}"))
        .with(|members| members.allow = Some(methods))
}

/// Cancels an upload (tus 1.0, Termination; draft §4.5).
async fn terminate(asked: &Asked, upload: UploadId) -> Result<HttpResponse, Problem> {
    look::refuse_state_headers(asked)?;
    // Check the owner first. Only then stop the request that is sending bytes.
    asked.gateway.started(&asked.principal, upload).await?;
    asked.gateway.take_over(upload, None).await?;
    if asked.dialect == Dialect::Tus {
        let state = progress::loaded(asked, &asked.aggregate(upload)).await?.state;
        progress::check_alive(asked, upload, &state).await?;
    }
    let aggregate = asked.aggregate(upload);
    let mut loaded = Loaded::default();
    let position = cancel_upload(&asked.gateway, &asked.context(), &aggregate, &mut loaded).await?;
    let mut answer = HttpResponse::NoContent().finish();
    dialect::set(&mut answer, "waybill-position", position.to_string());
    Ok(answer)
}
