//! Lookup of a file together with the access of the user to it.

use crate::application::access::{denied, viewer};
use crate::application::gateway::Gateway;
use crate::application::links;
use crate::application::read_your_writes::Reading;
use crate::application::rows::{find_file, has_followed};
use crate::http::problems::OrProblem;
use actix_web::HttpRequest;
use std::collections::HashMap;
use waybill_access::{Known, Wanted};
use waybill_domain::access::{FileFacts, Operation};
use waybill_domain::upload::Phase;
use waybill_http_kit::{Principal, Problem};
use waybill_read_model::queries::{File, Scan};
use waybill_repository::{FileAggregate, LifecycleAggregate, UploadAggregate};
use waybill_schema::{CompanyId, FileId, Position, UserId};
use waybill_service_kit::now;

/// Finds a file and its access facts, if the principal is allowed to perform the operation.
pub(crate) async fn find(
    request: &HttpRequest,
    principal: &Principal,
    id: FileId,
    gateway: &Gateway,
    operation: Operation,
) -> Result<(File, FileFacts), Problem> {
    if principal.link.is_some() {
        return Err(links::forbidden());
    }
    let all_names = operation == Operation::Share;
    let mut found = find_at(request, principal, id, gateway, None, all_names).await?;
    if found.as_ref().is_none_or(|(file, _)| !file.is_processed) {
        // The file may be verified in the log but not yet in the read model. Wait for the read model even if the client
        // sent no position.
        let position = verified_at(principal, id, gateway).await;
        if position.is_some() {
            found = find_at(request, principal, id, gateway, position, all_names).await?;
        }
    }
    if found.as_ref().is_some_and(|(file, facts)| is_behind(file, facts)) {
        let position = changed_at(principal, id, gateway).await;
        // If the tables are behind, the access facts decide, and the answer has the previous scan.
        if let Ok(newer) = find_at(request, principal, id, gateway, position, all_names).await {
            found = newer;
        }
    }
    let (file, facts) = found.ok_or_else(|| Problem::not_found("file"))?;
    facts.check(viewer(principal), operation, now()).map_err(|why| denied(why, "file"))?;
    Ok((file, facts))
}

/// Returns `true` if the access facts contain a scan or a release that the row does not have.
pub(crate) fn is_behind(file: &File, facts: &FileFacts) -> bool {
    let shown = file.scan.clone().and_then(|scan| Scan::parse(scan).ok()).map(|scan| scan.result());
    shown != facts.scans.last || file.released_at.is_some() != facts.scans.is_released
}

/// Adds a deletion to the row that only the access facts have, because they can be newer.
pub(crate) fn add_deletion(file: &mut File, facts: &FileFacts) {
    if facts.is_deleted {
        file.deleted_at.get_or_insert(file.updated_at);
    }
}

/// Returns the position of the last change of a file, or `None` if the log cannot be read.
async fn changed_at(principal: &Principal, file: FileId, gateway: &Gateway) -> Option<Position> {
    let company = principal.company_id;
    let loaded = gateway.repository.load(&FileAggregate { company, file }).await.ok()?;
    let partition = gateway.log.partitions().of(company);
    Some(Position { partition, seq: loaded.last_seq })
}

async fn find_at(
    request: &HttpRequest,
    principal: &Principal,
    id: FileId,
    gateway: &Gateway,
    position: Option<Position>,
    all_names: bool,
) -> Result<Option<(File, FileFacts)>, Problem> {
    let mut reading = gateway.positions.reading(request, position)?;
    let found = find_file(gateway, &mut reading, principal.company_id, id).await?;
    let Some(mut file) = found else { return Ok(None) };
    let every_share = viewer(principal).is_admin;
    let wanted = Wanted { files: vec![id], every_share, all_names, ..Wanted::default() };
    let facts = look(gateway, &mut reading, principal, &wanted).await?.files.remove(&id);
    Ok(facts.map(|facts| {
        add_deletion(&mut file, &facts);
        (file, facts)
    }))
}

/// Returns a position at which the upload of the file was verified, or `None` if it was not. If the log cannot be read,
/// this returns `None` too, and the read model decides.
async fn verified_at(principal: &Principal, id: FileId, gateway: &Gateway) -> Option<Position> {
    let aggregate = LifecycleAggregate(UploadAggregate { company: principal.company_id, upload: id });
    let loaded = gateway.repository.load(&aggregate).await.ok()?;
    let partition = gateway.log.partitions().of(principal.company_id);
    let verified = matches!(loaded.state.phase, Phase::Verified { .. });
    verified.then_some(Position { partition, seq: loaded.last_seq })
}

/// Loads the access facts in `wanted` for the principal.
pub(crate) async fn look(
    gateway: &Gateway,
    reading: &mut Reading<'_>,
    principal: &Principal,
    wanted: &Wanted,
) -> Result<Known, Problem> {
    look_for(gateway, reading, principal.company_id, principal.user_id, wanted).await
}

/// Loads the access facts in `wanted` for a user.
pub(crate) async fn look_for(
    gateway: &Gateway,
    reading: &mut Reading<'_>,
    company: CompanyId,
    user: UserId,
    wanted: &Wanted,
) -> Result<Known, Problem> {
    let failed = "checking access";
    let keeps = gateway.rows.is_some();
    if keeps {
        reading.release();
    }
    if keeps && has_followed(gateway, reading, company).await {
        let kept = gateway.access.look_kept(company, user, wanted).await.or_problem(failed)?;
        if let Some(known) = kept {
            return Ok(known);
        }
    }
    gateway.access.look_and_keep(reading.connection().await?, company, user, wanted).await.or_problem(failed)
}

/// Loads the access facts of files for the principal. Files without facts are absent from the map.
pub(crate) async fn facts_of(
    gateway: &Gateway,
    reading: &mut Reading<'_>,
    principal: &Principal,
    files: impl Iterator<Item = FileId>,
) -> Result<HashMap<FileId, FileFacts>, Problem> {
    let every_share = viewer(principal).is_admin;
    let wanted = Wanted { files: files.collect(), every_share, ..Wanted::default() };
    if wanted.files.is_empty() {
        return Ok(HashMap::new());
    }
    Ok(look(gateway, reading, principal, &wanted).await?.files)
}
