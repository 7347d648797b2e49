//! `GET /d/{token}`: downloads with a download token.

use crate::application::access::denied;
use crate::application::content::{Source, key_of, send_noted};
use crate::application::files::viewer::{Found, find_for};
use crate::application::gateway::Gateway;
use crate::application::plain::form_for;
use crate::application::tokens::{Download, hash, parse};
use crate::http::download::{Described, Prepared, check_readable, check_restored, disposition, prepare, without_bytes};
use crate::http::parameters::{Bytes, RangeHeaders};
use crate::http::problems::OrProblem;
use crate::routes::tokens::preview;
use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY, USER_AGENT};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, route, web};
use std::collections::BTreeSet;
use std::time::Duration;
use subtle::ConstantTimeEq;
use waybill_access::{Credential, Transfer};
use waybill_data_plane::refused;
use waybill_domain::access::{Denied, Operation, Viewer};
use waybill_domain::token::{Asked, By, Command};
use waybill_http_kit::rate_limit::ValidToken;
use waybill_http_kit::{Problem, RequestId};
use waybill_object_store::presign::Presign;
use waybill_read_model::queries::File;
use waybill_repository::Context;
use waybill_schema::ErrorCode;
use waybill_schema::{Actor, Sha256Digest, TokenId, UploadId, names};
use waybill_service_kit::{new_id, now};

routes!(download);

/// Lifetime of the presigned URL to which a client is redirected.
const REDIRECT_LIFETIME: Duration = Duration::from_secs(60);

/// Maximum number of characters of the user agent that are recorded.
const AGENT_MAX_CHARS: usize = 256;

/// Downloads a file with a download token
///
/// No account is required. Only a `GET` that sends the file counts as a download. `HEAD` requests and programs that
/// only preview the link do not count; such programs get an HTML page instead of the file.
#[utoipa::path(
    tag = "tokens",
    operation_id = "download_by_token",
    security(()),
    extensions(("x-waybill-token-in-path" = json!("text"))),
    params(("token" = String, Path), RangeHeaders),
    responses(
        (status = 200, description = "The bytes of the file, or an HTML page for link previews", content_type = "*/*", body = Bytes),
        (status = 206, description = "The bytes of the range", content_type = "*/*", body = Bytes),
        (status = 302, description = "Redirect to a presigned URL of the object store"),
        (status = 304, description = "The client's copy is current"),
        (status = 409, description = "`file_not_ready`, `file_archived`"),
        (status = 410, description = "`token_ended`, `file_deleted`"),
        (status = 412, description = "`precondition_failed`"),
        (status = 416, description = "`range_unsatisfiable`"),
        (status = 429, description = "`download_running`: another download with this token is running; `too_many_at_once`"),
    ),
)]
#[route("/d/{token}", method = "GET", method = "HEAD")]
pub(crate) async fn download(
    request: HttpRequest,
    id: RequestId,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let not_found = || Problem::not_found("token");
    let (company, token) = parse(&path).ok_or_else(not_found)?;
    let token = TokenId(token);
    let kept = gateway.tokens.get(company, token);
    let is_it = |known: Sha256Digest| bool::from(known.0.ct_eq(&hash(&path).0));
    // A wrong text of a known token costs neither a read of the log nor a wait for other downloads.
    if kept.known_hash().is_some_and(|known| !is_it(known)) {
        return Err(not_found());
    }
    let state = gateway.tokens.look(&kept).await?;
    let issued = state.issued.as_ref().filter(|issued| is_it(issued.token_sha256)).ok_or_else(not_found)?;
    kept.know_hash(issued.token_sha256);
    let issued = state.check(now()).map_err(refused)?.clone();
    let policy = gateway.policies.links(company).await.or_problem("loading the rules of a company")?;
    policy.check_use(&state, now()).map_err(refused)?;
    let issuer = Viewer { user_id: issued.user_id, is_admin: issued.as_admin };
    let seen = gateway.access.followed(company);
    let issued_at = state.issued_at;
    let Found { file, facts, standing } = find_for(&gateway, company, issued.user_id, issued.file_id).await?;
    let viewer = standing.viewer_of_link(issuer, issued_at);
    facts.check(viewer, Operation::Download, now()).map_err(|why| match why {
        Denied::NotScanned | Denied::Infected | Denied::Unscanned => denied(why, "token"),
        // The owner of a link must not learn why the issuer cannot download the file.
        Denied::Hidden | Denied::Forbidden | Denied::Wider => not_found(),
    })?;
    request.extensions_mut().insert(ValidToken);
    check_readable(&file)?;
    check_restored(&file)?;
    let plain = form_for(&gateway, &file, &facts, None).await?;
    let shown = plain.as_ref().map_or(&file, |plain| &plain.described);
    let (answer, range) = match prepare(&request, &Described::file(shown))? {
        Prepared::Done(answer) => return Ok(answer),
        Prepared::Body(answer, range) => (answer, range),
    };
    if request.method() == Method::HEAD {
        return Ok(without_bytes(answer, range.len()));
    }
    if preview::only_looks(request.headers()) {
        return Ok(preview::page());
    }
    // Before the download is recorded, because a refused request must not use one up.
    let slot = gateway.at_once.download_by_link(company, token, id.address)?;
    // The store can only send the bytes that it has, which are those of the file unless the object is compressed. Clients may not
    // reach the cold bucket.
    let redirect_to = match gateway.tokens.is_redirected(&issued) && plain.is_none() {
        true => Some(key_of(&gateway, &file).await?).filter(|key| !names::is_compressed(key) && !names::is_cold(key)),
        false => None,
    };
    let by = by(&request, id);
    let mut asked = Asked {
        request: new_id(),
        by,
        range,
        size_bytes: shown.size_bytes.unsigned_abs(),
        now: now(),
        has_waited: false,
        stopped: BTreeSet::new(),
    };
    // The request has no user, only a token. The events name the service as the actor.
    let context = Context {
        actor: Actor::Service("download".to_owned()),
        causation: id.causation(),
        address: id.address,
        clock: now,
    };
    let download = Download { token: kept, issued, context, request: asked.request };
    let serve = |asked: Asked| gateway.tokens.record(&download, Command::Serve(asked));
    let served = match serve(asked.clone()).await {
        Err(problem) if problem.code == ErrorCode::DownloadRunning => {
            // One person may have sent two requests, so this request waits for the running one. If several requests
            // wait, all of them are refused.
            asked.stopped = gateway.tokens.wait_for_others(&download.token).await.ok_or(problem)?;
            (asked.now, asked.has_waited) = (now(), true);
            serve(asked.clone()).await
        }
        served => served,
    };
    served?;
    if let Some(key) = redirect_to {
        gateway.tokens.end(&download, range).await;
        gateway.last_reads.note(company, UploadId(file.id));
        return redirect(&gateway, &file, &key).await;
    }
    let transfer =
        Transfer::new(gateway.access.clone(), company, viewer, Credential::Link { token, issued_at }, facts, seen);
    let sending = gateway.tokens.begin_sending(download, range);
    let source = Source { file: &file, form: plain.as_ref().map(|plain| &plain.form) };
    send_noted(&gateway, source, answer, range, Some(sending), slot, transfer).await
}

fn by(request: &HttpRequest, id: RequestId) -> By {
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    let user_agent = agent.map(|agent| agent.chars().take(AGENT_MAX_CHARS).collect());
    By { ip_address: id.client(), user_agent }
}

/// Redirects to a presigned URL of the file's object. The media type and the file name are part of the signature.
async fn redirect(gateway: &Gateway, file: &File, key: &str) -> Result<HttpResponse, Problem> {
    let content_disposition = disposition("attachment", file.shown_name());
    let wanted = Presign::GetObject { content_type: &file.mime_type, content_disposition: &content_disposition };
    let signed = gateway.presigner.presign(key, &wanted, REDIRECT_LIFETIME);
    let signed = signed.await.or_problem("signing a download")?;
    Ok(HttpResponse::Found()
        .insert_header((LOCATION, signed.url))
        .insert_header((CACHE_CONTROL, "private, no-store"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .finish())
}
