//! Lookup of a file for another user than the caller: the issuer of a token.

use crate::application::files::find::{add_deletion, look_for};
use crate::application::gateway::Gateway;
use crate::application::rows::find_file;
use waybill_access::Wanted;
use waybill_domain::access::{FileFacts, Standing};
use waybill_http_kit::Problem;
use waybill_read_model::queries::File;
use waybill_schema::{CompanyId, FileId, UserId};

/// A file, and what decides whether a user has access to it.
pub(crate) struct Found {
    pub(crate) file: File,
    pub(crate) facts: FileFacts,
    pub(crate) standing: Standing,
}

/// Finds the file of a token for `user`. The error is 404 if the file does not exist or the user's account is not active.
pub(crate) async fn find_for(
    gateway: &Gateway,
    company: CompanyId,
    user: UserId,
    file: FileId,
) -> Result<Found, Problem> {
    let mut reading = gateway.positions.reading_primary();
    let mut found = find_file(gateway, &mut reading, company, file).await?;
    let wanted = Wanted { files: vec![file], ..Wanted::default() };
    let mut known = look_for(gateway, &mut reading, company, user, &wanted).await?;
    let there = found.take().zip(known.files.remove(&file)).filter(|_| known.standing.is_active());
    let (mut file, facts) = there.ok_or_else(|| Problem::not_found("token"))?;
    add_deletion(&mut file, &facts);
    Ok(Found { file, facts, standing: known.standing })
}
