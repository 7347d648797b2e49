//! `/v1/upload-links`, and `GET /u/{token}`: the description of a link for people who send files with it.

use crate::application::gateway::Gateway;
use crate::application::links::{find, new_text, without_place};
use crate::application::tokens::hash;
use crate::http::parameters::MinPosition;
use crate::http::path::LinkPath;
use crate::http::problems::OrProblem;
use crate::http::response::{POSITION, private};
use crate::http::time::rfc3339;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, delete, get, post, web};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_api::links::{LinkBody, LinkMade, LinkShown, LinksQuery};
use waybill_data_plane::refused;
use waybill_domain::link::{self, Command, FILES_MAX, LABEL_MAX_BYTES, LIFETIME_MAX_S, TYPES_MAX};
use waybill_http_kit::rate_limit::ValidToken;
use waybill_http_kit::{Principal, Problem, RequestId, Role};
use waybill_read_model::queries::{Received, UploadLink, count_links, find_link, list_links, received_with};
use waybill_repository::LinkAggregate;
use waybill_schema::events::UploadLinkMade;
use waybill_schema::{ErrorCode, LinkId};
use waybill_service_kit::{new_id, now};

routes!(make, list, show, revoke, describe);

const LIFETIME_DEFAULT_S: u32 = 7 * 24 * 3_600;
const TYPE_MAX_BYTES: usize = 100;

/// Maximum number of upload links of a user and of a company that have not expired, including revoked ones: the quota counts what was
/// sent with each.
const LINKS_PER_USER: i64 = 200;
const LINKS_PER_COMPANY: i64 = 5_000;

const PAGE_DEFAULT: u16 = 50;
const PAGE_MAX: u16 = 200;

/// Upload link with what was received with it.
#[derive(Serialize, ToSchema)]
struct Shown {
    #[serde(flatten)]
    link: UploadLink,
    /// Number of files that were received and not purged.
    received_files: i64,
    /// Bytes of these files.
    received_bytes: i64,
}

/// Upload links, newest first.
#[derive(Serialize, ToSchema)]
struct LinkList {
    items: Vec<Shown>,
}

/// Makes an upload link
///
/// People without an account can send files with it, by every protocol for uploads, with the header
/// `Authorization: Upload-Link …`. The files belong to the caller.
#[utoipa::path(
    tag = "upload links",
    operation_id = "make_upload_link",
    request_body = LinkBody,
    responses(
        (status = 201, description = "The link. Waybill does not store its text and cannot show it again", body = LinkMade),
        (status = 404, description = "`not_found`: the chatroom or thread does not exist, or the caller is not a member"),
        (status = 409, description = "`links_exhausted`"),
        (status = 422, description = "`link_invalid`"),
    ),
)]
#[post("/v1/upload-links")]
pub(crate) async fn make(
    principal: Principal,
    id: RequestId,
    body: web::Json<LinkBody>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let body = body.into_inner();
    let lifetime_s = body.expires_in_s.unwrap_or(LIFETIME_DEFAULT_S);
    check(&body, lifetime_s)?;
    let company = principal.company_id;
    // A request with the link has no roles of its owner.
    let owner = Principal { roles: Vec::new(), ..principal.clone() };
    gateway.check_place(&owner, body.chatroom_id, body.thread_id).await?;
    let context = gateway.context(&principal, id);
    gateway.registration.ensure(&principal, &context).await?;
    check_number(&gateway, &principal).await?;
    let link = LinkId(new_id());
    let text = new_text(company, link);
    let expires_at = now().plus_ms(i64::from(lifetime_s) * 1_000);
    let made = UploadLinkMade {
        owner: principal.user_id,
        token_sha256: hash(&text),
        expires_at,
        max_files: body.max_files,
        max_bytes: body.max_bytes,
        max_file_bytes: body.max_file_bytes,
        mime_types: body.mime_types,
        chatroom_id: body.chatroom_id,
        thread_id: body.thread_id,
        label: body.label,
        ask_name: body.ask_name,
    };
    let aggregate = LinkAggregate { company, link };
    let done = gateway.repository.execute(&aggregate, Command::Make(made), &context).await;
    let done = done.or_problem("making an upload link")?;
    let made = LinkMade { id: link.0, url: format!("/u/{text}"), token: text, expires_at: rfc3339(expires_at) };
    Ok(private(HttpResponse::Created()).insert_header((POSITION, done.position.to_string())).json(made))
}

/// Checks that the user and the company may have another upload link. Parallel requests can exceed the numbers by a few.
async fn check_number(gateway: &Gateway, principal: &Principal) -> Result<(), Problem> {
    let mut connection = gateway.database.connection().await.or_problem("connecting for a query")?;
    for (user, most) in [(Some(principal.user_id), LINKS_PER_USER), (None, LINKS_PER_COMPANY)] {
        let count = count_links(&mut connection, principal.company_id, user, now()).await;
        if count.or_problem("counting upload links")? >= most {
            let text = format!("there are {most} upload links that have not expired; wait until some have expired");
            return Err(Problem::new(409, ErrorCode::LinksExhausted, text));
        }
    }
    Ok(())
}

fn check(body: &LinkBody, lifetime_s: u32) -> Result<(), Problem> {
    let is_label = |label: &String| label.len() <= LABEL_MAX_BYTES && !label.chars().any(char::is_control);
    let is_type = |entry: &String| entry.contains('/') && entry.len() <= TYPE_MAX_BYTES && entry.is_ascii();
    let is_valid = (1..=LIFETIME_MAX_S).contains(&lifetime_s)
        && (1..=FILES_MAX).contains(&body.max_files)
        && body.max_bytes <= i64::MAX.unsigned_abs()
        && body.max_file_bytes.is_none_or(|bytes| bytes <= i64::MAX.unsigned_abs())
        && body.mime_types.len() <= TYPES_MAX
        && body.mime_types.iter().all(is_type)
        && body.label.as_ref().is_none_or(is_label);
    if is_valid {
        return Ok(());
    }
    let text = "`expires_in_s` must be 1 to 7,776,000, `max_files` 1 to 10,000, the label at most 255 bytes without control characters, and \
                `mime_types` at most 50 types such as `image/*`";
    Err(Problem::new(422, ErrorCode::LinkInvalid, text))
}

/// Lists upload links
///
/// Users get the links that they made, and admins all links of the company, newest first.
#[utoipa::path(
    tag = "upload links",
    operation_id = "list_upload_links",
    extensions(("x-waybill-points" = json!(2))),
    params(LinksQuery, MinPosition),
    responses((status = 200, description = "A page of upload links", body = LinkList)),
)]
#[get("/v1/upload-links")]
pub(crate) async fn list(
    request: HttpRequest,
    principal: Principal,
    query: web::Query<LinksQuery>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let limit = i64::from(query.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX));
    let user = (!principal.roles.contains(&Role::Admin)).then_some(principal.user_id);
    let mut connection = gateway.positions.connection(&request, None).await?;
    let links = list_links(&mut connection, principal.company_id, user, query.before, limit).await;
    let links = links.or_problem("listing upload links")?;
    let ids: Vec<Uuid> = links.iter().map(|link| link.id).collect();
    let received = received_with(&mut connection, principal.company_id, &ids).await;
    let received = received.or_problem("listing upload links")?;
    let items = links.into_iter().map(|link| shown(received.get(&link.id).copied().unwrap_or_default(), link));
    Ok(private(HttpResponse::Ok()).json(LinkList { items: items.collect() }))
}

/// Shows an upload link
#[utoipa::path(
    tag = "upload links",
    operation_id = "show_upload_link",
    params(("id" = Uuid, Path), MinPosition),
    responses((status = 200, description = "The upload link", body = Shown)),
)]
#[get("/v1/upload-links/{id}")]
pub(crate) async fn show(
    request: HttpRequest,
    principal: Principal,
    LinkPath(id): LinkPath,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let mut connection = gateway.positions.connection(&request, None).await?;
    let link = find_link(&mut connection, principal.company_id, id).await.or_problem("finding an upload link")?;
    let is_theirs = |link: &UploadLink| link.user_id == principal.user_id.0 || principal.roles.contains(&Role::Admin);
    let link = link.filter(is_theirs).ok_or_else(|| Problem::not_found("upload link"))?;
    let received = received_with(&mut connection, principal.company_id, &[link.id]).await;
    let received = received.or_problem("finding an upload link")?.remove(&link.id).unwrap_or_default();
    Ok(private(HttpResponse::Ok()).json(shown(received, link)))
}

fn shown(received: Received, link: UploadLink) -> Shown {
    Shown { link, received_files: received.files, received_bytes: received.bytes }
}

/// Revokes an upload link
///
/// No upload can start with it afterwards. Uploads that have started can continue. The user who made the link and admins can revoke it.
#[utoipa::path(
    tag = "upload links",
    operation_id = "revoke_upload_link",
    params(("id" = Uuid, Path)),
    responses((status = 204, description = "The link is revoked")),
)]
#[delete("/v1/upload-links/{id}")]
pub(crate) async fn revoke(
    principal: Principal,
    id: RequestId,
    LinkPath(link): LinkPath,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let aggregate = LinkAggregate { company: principal.company_id, link };
    let state = gateway.repository.load(&aggregate).await.or_problem("loading an upload link")?.state;
    let is_theirs = state.made.is_some_and(|made| made.owner == principal.user_id);
    if !is_theirs && !principal.roles.contains(&Role::Admin) {
        return Err(Problem::not_found("upload link"));
    }
    let context = gateway.context(&principal, id);
    let done = gateway.repository.execute(&aggregate, Command::Revoke, &context).await;
    let position = done.or_problem("revoking an upload link")?.position;
    Ok(HttpResponse::NoContent().insert_header((POSITION, position.to_string())).finish())
}

/// Describes an upload link to the people who have it
///
/// No account is required.
#[utoipa::path(
    tag = "upload links",
    operation_id = "describe_upload_link",
    security(()),
    extensions(("x-waybill-token-in-path" = json!("text"))),
    params(("token" = String, Path)),
    responses(
        (status = 200, description = "The files that can be sent with the link", body = LinkShown),
        (status = 410, description = "`link_ended`"),
    ),
)]
#[get("/u/{token}")]
pub(crate) async fn describe(
    request: HttpRequest,
    token: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let found = find(&gateway, &token).await?.ok_or_else(|| Problem::not_found("upload link"))?;
    request.extensions_mut().insert(ValidToken);
    let made = found.state.check(now()).map_err(refused)?;
    let company = found.company;
    let standing = gateway.access.standing(company, made.owner).await.or_problem("checking a user")?;
    if standing.has_ended() {
        return Err(refused(waybill_domain::Refusal::LinkEnded { why: "has ended with the account of its owner" }));
    }
    let owner = Principal {
        user_id: made.owner,
        company_id: company,
        roles: Vec::new(),
        issued_at: None,
        expires_at: made.expires_at,
        link: Some(found.link),
    };
    gateway.check_place(&owner, made.chatroom_id, made.thread_id).await.map_err(without_place)?;
    let types = link::types(made, &gateway.types(company).await?);
    let limits = gateway.limits(company).await?.lowered(made.max_file_bytes, None);
    let left = gateway.reserver.look(company, |quota| quota.left_of_link(found.link, link::limits(made))).await?;
    Ok(private(HttpResponse::Ok()).json(LinkShown {
        label: made.label.clone(),
        expires_at: rfc3339(made.expires_at),
        max_file_bytes: limits.max_file_bytes.min(left.bytes),
        mime_types: types.allowed().to_vec(),
        ask_name: made.ask_name,
        left_files: left.files,
        left_bytes: left.bytes,
    }))
}
