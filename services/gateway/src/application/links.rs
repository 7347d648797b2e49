//! Upload links: authentication with them, and their rules.
//!
//! The text of a link is base64url of the company's id, the link's id and 256 random bits, like that of a download token. Waybill stores
//! only its SHA-256. A request with the text acts for the owner of the link, but may only upload.

use crate::application::gateway::Gateway;
use crate::application::tokens::{hash, parse, text_of};
use crate::http::openapi::RouteProperties;
use crate::http::problems::OrProblem;
use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use rand::RngCore;
use subtle::ConstantTimeEq;
use waybill_api::uploads::FileFacts;
use waybill_data_plane::refused;
use waybill_domain::Refusal;
use waybill_domain::limits::Limits;
use waybill_domain::link::{self, State};
use waybill_domain::media_type::TypePolicy;
use waybill_http_kit::{Principal, Problem};
use waybill_repository::LinkAggregate;
use waybill_schema::events::UploadLinkMade;
use waybill_schema::{ChatroomId, CompanyId, ErrorCode, LinkId, ThreadId};
use waybill_service_kit::now;

/// Scheme of the header `Authorization`.
const SCHEME: &str = "upload-link";

/// Member of the metadata with the name of the person who sends a file.
const SENDER_NAME: &str = "sender_name";

const SECRET_BYTES: usize = 32;

/// Text of a new upload link.
pub(crate) fn new_text(company: CompanyId, link: LinkId) -> String {
    let mut secret = [0; SECRET_BYTES];
    rand::rng().fill_bytes(&mut secret);
    text_of(company, link.0, &secret)
}

/// A link whose text is right.
pub(crate) struct Found {
    pub(crate) company: CompanyId,
    pub(crate) link: LinkId,
    pub(crate) state: State,
}

/// Finds the link with this text; `None` if it was never made.
pub(crate) async fn find(gateway: &Gateway, text: &str) -> Result<Option<Found>, Problem> {
    let Some((company, id)) = parse(text) else { return Ok(None) };
    let link = LinkId(id);
    let loaded =
        gateway.repository.load(&LinkAggregate { company, link }).await.or_problem("loading an upload link")?;
    let state = loaded.state;
    let is_it = state.made.as_ref().is_some_and(|made| bool::from(made.token_sha256.0.ct_eq(&hash(text).0)));
    Ok(is_it.then_some(Found { company, link, state }))
}

/// Returns the text of an upload link in the header `Authorization`.
pub(crate) fn text_in(headers: &HeaderMap) -> Option<&str> {
    let (scheme, text) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| text.trim())
}

/// Returns the principal for an upload link.
///
/// # Errors
/// 401 `token_invalid`.
pub(crate) async fn authenticate(gateway: &Gateway, text: &str) -> Result<Principal, Problem> {
    let invalid = || Problem::new(401, ErrorCode::TokenInvalid, "The upload link is invalid.");
    let Found { company, link, state } = find(gateway, text).await?.ok_or_else(invalid)?;
    let made = state.made().map_err(refused)?;
    Ok(Principal {
        user_id: made.owner,
        company_id: company,
        roles: Vec::new(),
        issued_at: Some(state.made_at),
        expires_at: made.expires_at,
        link: Some(link),
    })
}

/// Returns the problem of a request that an upload link does not permit.
pub(crate) fn forbidden() -> Problem {
    let text = "an upload link only permits to upload files; use the token of a user for everything else";
    Problem::new(403, ErrorCode::LinkForbidden, text)
}

/// Checks that a request is one of those that are permitted with an upload link, and that its owner still has an account. A link that has
/// expired permits to continue uploads.
///
/// # Errors
/// 403 `link_forbidden`, 410 `link_ended`.
pub(crate) async fn check(
    gateway: &Gateway,
    principal: &Principal,
    route: RouteProperties,
    method: &Method,
) -> Result<(), Problem> {
    // `GET /v1/files` has the same path as the upload of a file in one request.
    let sends_bytes = route.takes_bytes && matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    if !route.is_upload && !sends_bytes {
        return Err(forbidden());
    }
    let standing = gateway.access.standing(principal.company_id, principal.user_id).await;
    match standing.or_problem("checking a user")?.has_ended() {
        true => Err(refused(Refusal::LinkEnded { why: "has ended with the account of its owner" })),
        false => Ok(()),
    }
}

/// Returns the problem of an upload whose link leads to a place that its owner has left; otherwise `problem`.
pub(crate) fn without_place(problem: Problem) -> Problem {
    match problem.code {
        ErrorCode::NotFound => refused(Refusal::LinkEnded { why: "leads to a place that its owner has left" }),
        _ => problem,
    }
}

/// Rules for the files that are sent with a link.
pub(crate) struct Permitted(UploadLinkMade);

/// Checks that uploads can start with the link of the principal, if there is one. Uploads that have started can continue after its end,
/// which includes repeated requests for them and the concatenation of their parts.
///
/// # Errors
/// 410 `link_ended`.
pub(crate) async fn check_open(gateway: &Gateway, principal: &Principal) -> Result<(), Problem> {
    let Some(link) = principal.link else { return Ok(()) };
    let state = state_of(gateway, principal, link).await?;
    state.check(now()).map(drop).map_err(refused)
}

async fn state_of(gateway: &Gateway, principal: &Principal, link: LinkId) -> Result<State, Problem> {
    let aggregate = LinkAggregate { company: principal.company_id, link };
    Ok(gateway.repository.load(&aggregate).await.or_problem("loading an upload link")?.state)
}

/// Returns the rules of the link of the principal, even if it has ended; `None` for a user.
pub(crate) async fn permitted(gateway: &Gateway, principal: &Principal) -> Result<Option<Permitted>, Problem> {
    let Some(link) = principal.link else { return Ok(None) };
    let state = state_of(gateway, principal, link).await?;
    Ok(Some(Permitted(state.made().map_err(refused)?.clone())))
}

/// Returns the maximum sizes of the files that the principal may upload.
pub(crate) async fn limits(gateway: &Gateway, principal: &Principal) -> Result<Limits, Problem> {
    let limits = gateway.limits(principal.company_id).await?;
    Ok(permitted(gateway, principal).await?.map_or(limits, |link| link.limits(limits)))
}

impl Permitted {
    /// Returns the types that are accepted.
    pub(crate) fn types(&self, of_company: TypePolicy) -> TypePolicy {
        link::types(&self.0, &of_company)
    }

    /// Returns the limits of a file.
    pub(crate) fn limits(&self, of_company: Limits) -> Limits {
        of_company.lowered(self.0.max_file_bytes, None)
    }

    /// Returns the places of the files.
    pub(crate) fn places(&self) -> (Option<ChatroomId>, Option<ThreadId>) {
        (self.0.chatroom_id, self.0.thread_id)
    }

    /// Checks the description of a file.
    ///
    /// # Errors
    /// 403 `link_forbidden` if it names a place or a session, 422 `link_name_required`.
    pub(crate) fn check(&self, facts: &FileFacts) -> Result<(), Problem> {
        if facts.chatroom_id.is_some() || facts.thread_id.is_some() || facts.session_id.is_some() {
            let text = "an upload link has its chatroom or thread; leave chatroom_id, thread_id and session_id out";
            return Err(Problem::new(403, ErrorCode::LinkForbidden, text));
        }
        let members = facts.metadata.as_ref().map(waybill_api::Metadata::members).unwrap_or_default();
        let has_name =
            members.get(SENDER_NAME).and_then(|name| name.as_str()).is_some_and(|name| !name.trim().is_empty());
        if self.0.ask_name && !has_name {
            let text = "send the name of the sender as `sender_name` in the metadata of the file";
            return Err(Problem::new(422, ErrorCode::LinkNameRequired, text));
        }
        Ok(())
    }
}
