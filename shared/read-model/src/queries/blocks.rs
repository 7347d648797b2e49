//! Where a company's events are.

use crate::ReadModelError;
use crate::blocks::{block_of, ends_of};
use diesel::{ExpressionMethods, QueryDsl};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;
use waybill_schema::CompanyId;

/// The sequences of the first and of the last message of each block of the log in which a company has events: up to `limit`
/// blocks, from the one of the message `from` on. As far as the tables are folded.
///
/// # Errors
/// [`ReadModelError`].
pub async fn event_blocks(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
    from: u64,
    limit: i64,
) -> Result<Vec<(u64, u64)>, ReadModelError> {
    use crate::schema::event_block::dsl as b;
    let query = b::event_block
        .filter(b::company_id.eq(company.0))
        .filter(b::id.ge(block_of(from)))
        .order(b::id)
        .limit(limit)
        .select(b::id);
    let found: Vec<Uuid> =
        query.load(connection).await.map_err(ReadModelError::query("looking for a company's events"))?;
    Ok(found.into_iter().map(ends_of).collect())
}
