//! Associations of files with chatrooms and threads: loading, access and changes.

use crate::application::access::{denied, viewer};
use crate::application::gateway::Gateway;
use crate::http::problems::{IntoProblem, OrProblem};
use waybill_access::Wanted;
use waybill_domain::access::{Denied, FileFacts, Operation};
use waybill_domain::share::{Command, State};
use waybill_repository::{Context, LifecycleAggregate, Loaded, ShareAggregate, UploadAggregate};
use waybill_schema::events::UploadKind;
use waybill_schema::{CompanyId, Position, ShareId, UploadId};
use waybill_service_kit::{Principal, Problem, now};

/// Revokes an association for the host product, for example because the message with the file was deleted.
pub(crate) async fn revoke_by_host(
    gateway: &Gateway,
    context: &Context,
    company: CompanyId,
    share: ShareId,
) -> Result<Position, Problem> {
    let state = load_share(gateway, company, share).await?;
    run(gateway, context, company, share, state, Command::Revoke).await
}

/// Returns the association if the principal may change it. Also returns the access facts of the file, unless the
/// principal uploaded it or is an admin, who may grant every permission.
///
/// # Errors
/// 404 if the association does not exist or the principal cannot see it, and 403 if the principal may not change it.
pub(crate) async fn manageable(
    gateway: &Gateway,
    principal: &Principal,
    share: ShareId,
) -> Result<(State, Option<FileFacts>), Problem> {
    let company = principal.company_id;
    let state = load_share(gateway, company, share).await?;
    let shared = state.shared.as_ref().ok_or_else(|| Problem::not_found("association"))?;
    let asks = viewer(principal);
    let aggregate = LifecycleAggregate(UploadAggregate { company, upload: shared.file_id });
    let upload = gateway.repository.load(&aggregate).await.or_problem("loading an upload")?;
    let is_theirs = upload.state.started.is_some_and(|started| started.uploaded_by == asks.user_id);
    if is_theirs || asks.is_admin {
        // The log has this information. The read model may not have the file yet.
        return Ok((state, None));
    }
    let wanted = Wanted { files: vec![shared.file_id], ..Wanted::default() };
    let mut connection = gateway.database.connection().await.or_problem("connecting for a query")?;
    let mut known = gateway.access.look(&mut connection, company, principal.user_id, &wanted).await?;
    let facts = known.files.remove(&shared.file_id).ok_or_else(|| Problem::not_found("association"))?;
    let is_new = facts.shares.iter().all(|known| known.id != share);
    match facts.check(asks, Operation::ManageShare(share), now()) {
        Ok(()) => {}
        // The principal created the association recently, and only the log has it yet.
        Err(Denied::Forbidden) if is_new && shared.shared_by == asks.user_id => {}
        Err(why) => return Err(denied(why, "association")),
    }
    Ok((state, Some(facts)))
}

/// Loads an association. An upload into a chatroom or thread creates an association with the id of the upload.
async fn load_share(gateway: &Gateway, company: CompanyId, share: ShareId) -> Result<State, Problem> {
    let repository = &gateway.repository;
    let failed = |error: waybill_event_log::ReadError| error.into_problem("loading an association");
    let aggregate = LifecycleAggregate(UploadAggregate { company, upload: UploadId(share.0) });
    let upload = repository.load(&aggregate).await.map_err(failed)?;
    // A partial upload is not a file.
    let started = upload.state.started.filter(|_| upload.state.kind != UploadKind::Partial);
    let state = started.map(|started| State::of_upload(UploadId(share.0), &started)).unwrap_or_default();
    let mut loaded = Loaded::beginning_with(state);
    repository.refresh(&ShareAggregate { company, share }, &mut loaded).await.map_err(failed)?;
    Ok(loaded.state)
}

/// Executes a command. `begin` is a state from which the fold of the events begins. If it contains these events
/// already, folding them again does not change it.
pub(crate) async fn run(
    gateway: &Gateway,
    context: &Context,
    company: CompanyId,
    share: ShareId,
    begin: State,
    command: Command,
) -> Result<Position, Problem> {
    let mut loaded = Loaded::beginning_with(begin);
    gateway
        .repository
        .execute_from(&ShareAggregate { company, share }, &mut loaded, command, context)
        .await
        .map(|done| done.position)
        .or_problem("changing an association")
}
