//! Description of a file by a client, and everything that can be checked without the bytes.

use crate::application::gateway::Gateway;
use crate::application::links;
use crate::http::metadata::text_of;
use crate::http::problems::OrProblem;
use waybill_api::uploads::FileFacts;
use waybill_data_plane::refused;
use waybill_domain::limits::part_size_for;
use waybill_domain::media_type::Claim;
use waybill_domain::{media_type, name, session};
use waybill_http_kit::{Principal, Problem};
use waybill_repository::{Context, SessionAggregate};
use waybill_schema::ErrorCode;
use waybill_schema::events::UploadDescription;
use waybill_schema::{ChatroomId, SessionId, Sha256Digest, ThreadId};
use waybill_service_kit::now;

/// Media types that contain no information about the file.
const GENERIC: [&str; 2] = [media_type::ANY, "binary/octet-stream"];

/// Parses a declared media type.
fn read(text: Option<&str>) -> Result<Option<&str>, Problem> {
    text.map_or(Ok(None), media_type::declared).map_err(refused)
}

/// Returns the media type that the client declared, or else that of the headers, or else that of the file name. The
/// result is empty if only the content can show the type.
fn media_type_of(facts: &FileFacts) -> Result<String, Problem> {
    if let Some(declared) = read(facts.mime_type.as_deref())? {
        return Ok(declared.to_owned());
    }
    let of_request =
        read(facts.content_type.as_deref())?.filter(|it| !GENERIC.iter().any(|any| it.eq_ignore_ascii_case(any)));
    Ok(of_request.or_else(|| media_type::of_name(&facts.name)).unwrap_or_default().to_owned())
}

/// Checks everything about a file that can be checked without its bytes: name, type, size, digest, metadata, place and
/// session. Appends no event, except for the registration of the user.
pub(crate) async fn check(
    gateway: &Gateway,
    principal: &Principal,
    context: &Context,
    facts: &FileFacts,
) -> Result<UploadDescription, Problem> {
    name::check(&facts.name).map_err(refused)?;
    let company = principal.company_id;
    let mime_type = media_type_of(facts)?;
    let claim = Claim { name: &facts.name, mime_type: &mime_type };
    let (mut types, mut limits) = (gateway.types(company).await?, gateway.limits(company).await?);
    let (mut chatroom_id, mut thread_id) = (facts.chatroom_id.map(ChatroomId), facts.thread_id.map(ThreadId));
    if let Some(link) = links::permitted(gateway, principal).await? {
        link.check(facts)?;
        (types, limits) = (link.types(types), link.limits(limits));
        (chatroom_id, thread_id) = link.places();
    }
    types.check(claim).map_err(refused)?;
    limits.check_file(facts.size_bytes).map_err(refused)?;
    let declared_sha256 = facts.sha256.as_deref().map(parse_sha256).transpose()?;
    let metadata = facts.metadata.as_ref().map(text_of).transpose()?;
    let place = gateway.check_place(principal, chatroom_id, thread_id).await;
    place.map_err(|problem| if principal.link.is_some() { links::without_place(problem) } else { problem })?;
    let session_id = facts.session_id.map(SessionId);
    if let Some(session) = session_id {
        let aggregate = SessionAggregate { company: principal.company_id, session };
        let loaded = gateway.repository.load(&aggregate).await.or_problem("loading a session")?;
        session::check_join(&loaded.state, principal.user_id, now()).map_err(refused)?;
    }
    gateway.registration.ensure(principal, context).await?;
    Ok(UploadDescription {
        company_id: principal.company_id,
        uploaded_by: principal.user_id,
        session_id,
        chatroom_id,
        thread_id,
        original_name: facts.name.clone(),
        mime_type,
        size_bytes: facts.size_bytes,
        declared_sha256,
        metadata,
        part_size_bytes: part_size_for(facts.size_bytes),
        expires_at: now().plus_ms(gateway.settings.upload_lifetime_ms()),
    })
}

pub(crate) fn parse_sha256(text: &str) -> Result<Sha256Digest, Problem> {
    text.parse().map_err(|error: waybill_schema::Sha256DigestError| {
        Problem::new(422, ErrorCode::DigestInvalid, error.to_string())
    })
}
