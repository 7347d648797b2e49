//! Rules of the upload links with which files are sent.

use crate::Worker;
use waybill_access::AccessError;
use waybill_domain::link::{self, State};
use waybill_domain::media_type::TypePolicy;
use waybill_domain::quota::LinkLimits;
use waybill_event_log::ReadError;
use waybill_repository::LinkAggregate;
use waybill_schema::{CompanyId, LinkId};

/// Returns the types that a company accepts or, of a file that is sent with an upload link, those that the link accepts.
///
/// # Errors
/// [`AccessError`] or [`ReadError`].
pub(crate) async fn types<E: From<AccessError> + From<ReadError>>(
    worker: &Worker,
    company: CompanyId,
    link: Option<LinkId>,
) -> Result<TypePolicy, E> {
    let types = worker.policies.types(company).await?;
    let Some(link) = link else { return Ok(types) };
    let state = load(worker, company, link).await?;
    Ok(state.made.as_ref().map_or_else(|| types.clone(), |made| link::types(made, &types)))
}

/// Returns the limits of a link; `None` if it was never made.
///
/// # Errors
/// [`ReadError`].
pub(crate) async fn limits(worker: &Worker, company: CompanyId, link: LinkId) -> Result<Option<LinkLimits>, ReadError> {
    Ok(load(worker, company, link).await?.made.as_ref().map(link::limits))
}

async fn load(worker: &Worker, company: CompanyId, link: LinkId) -> Result<State, ReadError> {
    Ok(worker.repository.load(&LinkAggregate { company, link }).await?.state)
}
