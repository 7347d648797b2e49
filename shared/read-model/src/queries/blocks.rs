//! Finds the blocks of the log in which a company has events.

use crate::ReadModelError;
use crate::blocks::{block_of, ends_of};
use crate::projection::{Checkpoint, signed};
use crate::statement::{Bind, Statement};
use diesel::sql_types::{BigInt, Uuid as SqlUuid};
use diesel::{OptionalExtension, QueryableByName};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;
use waybill_schema::CompanyId;

/// The blocks of the log in which a company has events.
#[derive(Clone, Debug)]
pub struct EventBlocks {
    /// Up to where it is known.
    pub checkpoint: Checkpoint,
    /// Behind which sequence it is known: what was folded before, an older version did.
    pub from: u64,
    /// The sequences of the first and of the last message of each block in which the company has events.
    pub blocks: Vec<(u64, u64)>,
}

/// Up to `limit` blocks of the log in which a company has events, from the one of the message `from` on; `None` if nothing of the
/// partition is folded. All of one moment.
///
/// # Errors
/// [`ReadModelError`].
pub async fn event_blocks(
    connection: &mut AsyncPgConnection,
    (partition, company): (u32, CompanyId),
    from: u64,
    limit: i64,
) -> Result<Option<EventBlocks>, ReadModelError> {
    connection
        .build_transaction()
        .repeatable_read()
        .read_only()
        .run(async |connection: &mut AsyncPgConnection| {
            let Some(Noted { checkpoint, blocks_from }) = noted(connection, partition).await? else { return Ok(None) };
            let blocks = blocks(connection, company, from, limit).await?;
            Ok(Some(EventBlocks { checkpoint, from: blocks_from.unsigned_abs(), blocks }))
        })
        .await
}

/// From where to where blocks are known.
#[derive(QueryableByName)]
struct Noted {
    #[diesel(embed)]
    checkpoint: Checkpoint,
    #[diesel(sql_type = BigInt)]
    blocks_from: i64,
}

async fn noted(connection: &mut AsyncPgConnection, partition: u32) -> Result<Option<Noted>, ReadModelError> {
    let text = "SELECT epoch, seq, last_id, blocks_from FROM projection_checkpoint WHERE partition = ?";
    Statement::new(text, [Bind::Integer(signed(partition))])
        .get_result(connection)
        .await
        .optional()
        .map_err(ReadModelError::query("reading a checkpoint"))
}

async fn blocks(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
    from: u64,
    limit: i64,
) -> Result<Vec<(u64, u64)>, ReadModelError> {
    #[derive(QueryableByName)]
    struct Block {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    let text = "SELECT id FROM event_block WHERE company_id = ? AND id >= ? ORDER BY id LIMIT ?";
    let binds = [Bind::Uuid(company.0), Bind::Uuid(block_of(from)), Bind::BigInt(limit)];
    let found: Vec<Block> = Statement::new(text, binds)
        .load(connection)
        .await
        .map_err(ReadModelError::query("looking for a company's events"))?;
    Ok(found.into_iter().map(|block| ends_of(block.id)).collect())
}
