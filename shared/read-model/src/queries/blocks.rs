//! Query for the positions of a company's events in the log.

use crate::ReadModelError;
use crate::blocks::{block_of, seqs_of};
use crate::projection::{Checkpoint, signed};
use crate::statement::{Bind, Statement};
use diesel::sql_types::{BigInt, Nullable, Uuid as SqlUuid};
use diesel::{OptionalExtension, QueryableByName};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use uuid::Uuid;
use waybill_schema::CompanyId;

/// Positions of a company's events in the log.
#[derive(Clone, Debug)]
pub struct EventPositions {
    /// The checkpoint up to which the positions are known.
    pub checkpoint: Checkpoint,
    /// The sequence after which the positions are known. An older version of Waybill folded the events up to it and
    /// recorded no positions.
    pub from: u64,
    /// The sequences of the company's events, in ascending order.
    pub seqs: Vec<u64>,
    /// `true` if there may be more events after the last one.
    pub more: bool,
}

/// Returns the positions of a company's events from sequence `from` on, in up to `blocks` blocks of the log, or `None`
/// if nothing of the partition is folded. All data are from one snapshot.
///
/// # Errors
/// [`ReadModelError`].
pub fn event_positions(
    connection: &mut AsyncPgConnection,
    partition: u32,
    company: CompanyId,
    from: u64,
    blocks: u16,
) -> BoxFuture<'_, Result<Option<EventPositions>, ReadModelError>> {
    Box::pin(async move {
        connection
            .build_transaction()
            .repeatable_read()
            .read_only()
            .run(async |connection: &mut AsyncPgConnection| {
                let Some(Noted { checkpoint, blocks_from }) = noted(connection, partition).await? else {
                    return Ok(None);
                };
                let found = found(connection, company, from, blocks).await?;
                let more = found.len() >= usize::from(blocks);
                let seqs = found.iter().flat_map(|block| seqs_of(block.id, block.events)).filter(|seq| *seq >= from);
                Ok(Some(EventPositions { checkpoint, from: blocks_from.unsigned_abs(), seqs: seqs.collect(), more }))
            })
            .await
    })
}

/// The range of the log in which positions are known.
#[derive(QueryableByName)]
struct Noted {
    #[diesel(embed)]
    checkpoint: Checkpoint,
    #[diesel(sql_type = BigInt)]
    blocks_from: i64,
}

async fn noted(connection: &mut AsyncPgConnection, partition: u32) -> Result<Option<Noted>, ReadModelError> {
    let text = "SELECT epoch, seq, last_id, blocks_from FROM projection_checkpoint WHERE partition = :partition";
    Statement::new(text, [("partition", Bind::Integer(signed(partition)))])
        .get_result(connection)
        .await
        .optional()
        .map_err(ReadModelError::query("reading a checkpoint"))
}

#[derive(QueryableByName)]
struct Block {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = BigInt)]
    events: i64,
}

async fn found(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
    from: u64,
    blocks: u16,
) -> Result<Vec<Block>, ReadModelError> {
    let text = "SELECT id, events FROM event_positions WHERE company_id = :company AND id >= :first \
                ORDER BY id LIMIT :blocks";
    let binds = [
        ("company", Bind::Uuid(company.0)),
        ("first", Bind::Uuid(block_of(from))),
        ("blocks", Bind::BigInt(blocks.into())),
    ];
    Statement::new(text, binds)
        .load(connection)
        .await
        .map_err(ReadModelError::query("reading the positions of a company's events"))
}

/// Last known event of a company.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastEvent {
    /// The company.
    pub company: CompanyId,
    /// Sequence of the event in the partition of the company, or 0 if no event is known.
    pub seq: u64,
}

/// Returns the last known events of the next 500 companies after `after`, ordered by company.
///
/// # Errors
/// [`ReadModelError`].
pub fn last_events(
    connection: &mut AsyncPgConnection,
    after: CompanyId,
) -> BoxFuture<'_, Result<Vec<LastEvent>, ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Last {
            #[diesel(sql_type = SqlUuid)]
            company_id: Uuid,
            #[diesel(sql_type = Nullable<SqlUuid>)]
            id: Option<Uuid>,
            #[diesel(sql_type = Nullable<BigInt>)]
            events: Option<i64>,
        }
        let text = "SELECT company.id AS company_id, last.id, last.events FROM company LEFT JOIN LATERAL \
                      (SELECT id, events FROM event_positions WHERE company_id = company.id ORDER BY id DESC LIMIT 1) last \
                    ON TRUE WHERE company.id > :after ORDER BY company.id LIMIT 500";
        let found: Vec<Last> = Statement::new(text, [("after", Bind::Uuid(after.0))])
            .load(connection)
            .await
            .map_err(ReadModelError::query("looking for companies with new events"))?;
        let last_of = |last: Last| {
            let block = last.id.zip(last.events);
            let seq = block.and_then(|(id, events)| seqs_of(id, events).last()).unwrap_or(0);
            LastEvent { company: CompanyId(last.company_id), seq }
        };
        Ok(found.into_iter().map(last_of).collect())
    })
}
