//! The files of a chatroom, a thread or a session.

use crate::application::access::viewer;
use crate::application::files::find::look;
use crate::application::gateway::Gateway;
use crate::application::read_your_writes::Reading;
use crate::application::rows::shared_page;
use crate::application::sessions;
use crate::http::problems::OrProblem;
use actix_web::HttpRequest;
use std::collections::BTreeSet;
use waybill_access::Wanted;
use waybill_http_kit::{Principal, Problem};
use waybill_read_model::queries::{FileFilter, SharedPage, list_session_files};
use waybill_schema::{FileId, Place, ProcessingStatus, SessionId, UploadId, UploadStatus};

/// Files of a chatroom, a thread or a session.
pub(crate) struct PlaceFiles {
    /// Verified files, as many as were asked for.
    pub(crate) ids: Vec<FileId>,
    /// Number of files, or more than as many as were asked for.
    pub(crate) total: usize,
}

/// Checks that the place exists and that the principal is a member of it or an admin. Otherwise the error is 404, so
/// that it does not reveal if the place exists.
pub(crate) async fn check_member(
    gateway: &Gateway,
    reading: &mut Reading<'_>,
    principal: &Principal,
    place: Place,
) -> Result<(), Problem> {
    let (wanted, what) = match place {
        Place::Chatroom(id) => (Wanted { chatrooms: vec![id], ..Wanted::default() }, "chatroom"),
        Place::Thread(id) => (Wanted { threads: vec![id], ..Wanted::default() }, "thread"),
    };
    let known = look(gateway, reading, principal, &wanted).await?;
    let theirs = known.is_member(place) || (viewer(principal).is_admin && known.places.contains(&place));
    if theirs { Ok(()) } else { Err(Problem::not_found(what)) }
}

/// Returns the verified files of a chatroom or thread, in the order of its list; at most `limit`. The principal may not have access to
/// all of them.
///
/// # Errors
/// 404 if the principal is neither a member nor an admin.
pub(crate) async fn ids_in_place(
    request: &HttpRequest,
    principal: &Principal,
    gateway: &Gateway,
    place: Place,
    limit: usize,
) -> Result<PlaceFiles, Problem> {
    let company = principal.company_id;
    let filter = FileFilter { processing_status: Some(ProcessingStatus::Completed), ..FileFilter::default() };
    let mut reading = gateway.positions.reading(request, None)?;
    check_member(gateway, &mut reading, principal, place).await?;
    let asks = viewer(principal);
    let named = (!asks.is_admin).then_some(principal.user_id);
    let page = SharedPage { limit: i64::try_from(limit).unwrap_or(i64::MAX), ..SharedPage::default() };
    let found = shared_page(gateway, &mut reading, company, place, &filter, named, page).await?;
    // A file can be there twice.
    let (total, mut seen) = (found.len(), BTreeSet::new());
    let ids = found.into_iter().map(|shared| UploadId(shared.file.id)).filter(|id| seen.insert(*id)).collect();
    Ok(PlaceFiles { ids, total })
}

/// Returns the verified files of a session, in the order of their start.
///
/// # Errors
/// 404 if the session is not that of the principal, unless they are an admin.
pub(crate) async fn ids_in_session(
    request: &HttpRequest,
    principal: &Principal,
    gateway: &Gateway,
    session: SessionId,
) -> Result<PlaceFiles, Problem> {
    let (mut connection, found) = sessions::find(request, principal, gateway, session).await?;
    let uploads = list_session_files(&mut connection, principal.company_id, session)
        .await
        .or_problem("listing the files of a session")?;
    let verified = uploads.into_iter().filter(|upload| upload.status == UploadStatus::Completed);
    let ids = verified.map(|upload| UploadId(upload.id)).collect();
    Ok(PlaceFiles { ids, total: usize::try_from(found.total_files).unwrap_or(usize::MAX) })
}
