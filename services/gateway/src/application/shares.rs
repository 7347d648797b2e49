//! Associations of files with chatrooms and threads: loading, access and changes.

use crate::application::access::{denied, viewer};
use crate::application::gateway::Gateway;
use crate::http::problems::{IntoProblem, OrProblem};
use uuid::Uuid;
use waybill_access::Wanted;
use waybill_domain::Refusal;
use waybill_domain::access::{Denied, FileFacts, Operation, ShareFacts, Terms};
use waybill_domain::share::{Command, Sharing, State};
use waybill_http_kit::{Principal, Problem};
use waybill_read_model::queries::{File, count_associations};
use waybill_repository::{Context, LifecycleAggregate, Loaded, ShareAggregate, UploadAggregate};
use waybill_schema::events::{FileShared, UploadKind};
use waybill_schema::{ChatroomId, CompanyId, ErrorCode, Position, ShareBasis, ShareId, ThreadId, Timestamp, UploadId};
use waybill_service_kit::now;

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
/// principal uploaded it or is an admin, and the association rests on no other one.
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
    let is_owner = is_theirs || asks.is_admin;
    if is_owner && shared.basis.parent().is_none() {
        // The log has this information. The read model may not have the file yet.
        return Ok((state, None));
    }
    let wanted =
        Wanted { files: vec![shared.file_id], all_names: true, every_share: asks.is_admin, ..Wanted::default() };
    let mut connection = gateway.database.connection().await.or_problem("connecting for a query")?;
    let mut known = gateway
        .access
        .look(&mut connection, company, principal.user_id, &wanted)
        .await
        .or_problem("checking access")?;
    let facts = known.files.remove(&shared.file_id).ok_or_else(|| Problem::not_found("association"))?;
    let is_new = !facts.shares.contains_key(&share);
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

/// File that a principal shares.
pub(crate) struct Shareable {
    pub(crate) file: File,
    pub(crate) facts: FileFacts,
}

/// Result of sharing a file.
pub(crate) struct Shared {
    pub(crate) id: ShareId,
    /// `true` if the file had no association with the place before, or only one that has ended.
    pub(crate) is_new: bool,
    pub(crate) position: Position,
}

/// Shares a file with a place. If the file already has an association there, changes it. `first_sent_at` is the time of
/// the first request if this one repeats it.
///
/// # Errors
/// 409 `association_exists` if the principal may not change the association, 409 `associations_exhausted`, and 422
/// `association_invalid`.
pub(crate) async fn share(
    gateway: &Gateway,
    context: &Context,
    principal: &Principal,
    of: Shareable,
    shared: FileShared,
    first_sent_at: Option<Timestamp>,
) -> Result<Shared, Problem> {
    let (company, asks) = (principal.company_id, viewer(principal));
    let id = id_in_place(&of, &shared);
    let state = load_share(gateway, company, id).await?;
    let known = of.facts.shares.get(&id);
    let is_over = |share: &FileShared| state.revoked || share.expires_at.is_some_and(|at| at <= now());
    // It ended together with its place, or with the association that it rests on.
    let has_ended = known.is_some_and(|share| !of.facts.is_live(share, now())) && !state.revoked;
    let is_own_right = matches!(shared.basis, ShareBasis::Uploader | ShareBasis::Admin);
    let is_freed = is_own_right && known.is_some_and(|share| share.parent.is_some());
    let is_new = state.shared.as_ref().is_none_or(is_over) || has_ended;
    if is_new && first_sent_at.is_none() {
        check_number(gateway, company, shared.file_id).await?;
    }
    let is_within = |known| of.facts.check_change(asks, known, Terms::from(&shared), now()).is_ok();
    let is_theirs = |share: &FileShared| share.shared_by == asks.user_id;
    // The principal created the association recently, and only the log has it yet.
    let is_own_recent = known.is_none() && state.shared.as_ref().is_some_and(is_theirs);
    let may_manage = || of.facts.check(asks, Operation::ManageShare(id), now()).is_ok();
    let may_change = is_own_recent || (may_manage() && state.shared.as_ref().is_none_or(is_within));
    let ended_at = (has_ended || is_freed).then_some(state.at);
    let sharing = Sharing { shared, now: now(), may_change, ended_at, first_sent_at };
    let done = run(gateway, context, company, id, state, Command::Share(Box::new(sharing))).await;
    let position = done.map_err(|problem| match problem.code {
        ErrorCode::AssociationExists => problem.with(|members| members.association_id = Some(id.to_string())),
        _ => problem,
    })?;
    Ok(Shared { id, is_new, position })
}

/// Returns the id of the association of a file with a place. It follows from both, so that parallel requests cannot
/// create two associations. An association that an earlier version created has another id, and so has that of an upload
/// into the place.
fn id_in_place(of: &Shareable, shared: &FileShared) -> ShareId {
    let place = (shared.chatroom_id, shared.thread_id);
    let is_live = |share: &&ShareFacts| (share.chatroom_id, share.thread_id) == place && share.is_current(now());
    let uploaded_into = (of.file.chatroom_id.map(ChatroomId), of.file.thread_id.map(ThreadId));
    let calculated = if place == uploaded_into {
        ShareId(of.file.id)
    } else {
        // The nil UUID is no chatroom or thread.
        let chatroom = place.0.map_or(Uuid::nil(), |id| id.0);
        let thread = place.1.map_or(Uuid::nil(), |id| id.0);
        ShareId(Uuid::new_v5(&of.file.id, &[*chatroom.as_bytes(), *thread.as_bytes()].concat()))
    };
    let mut live = of.facts.shares.values().filter(is_live).map(|share| share.id);
    let first = live.next();
    if first == Some(calculated) || live.any(|id| id == calculated) { calculated } else { first.unwrap_or(calculated) }
}

/// Checks that a file has space for another association.
async fn check_number(gateway: &Gateway, company: CompanyId, file: UploadId) -> Result<(), Problem> {
    let max = gateway.settings.associations_per_file.get();
    let mut connection = gateway.database.connection().await.or_problem("connecting for a query")?;
    let counted = count_associations(&mut connection, company, file, max).await;
    if counted.or_problem("counting associations")? < max {
        return Ok(());
    }
    Err(Refusal::SharesExhausted { max }.into_problem("sharing a file"))
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
