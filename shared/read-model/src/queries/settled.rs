//! The state of the rows of a partition.

use crate::ReadModelError;
use crate::projection::signed;
use crate::statement::{Bind, Statement};
use diesel::sql_types::{BigInt, Bool, Text, Uuid as SqlUuid};
use diesel::{OptionalExtension, QueryableByName};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use uuid::Uuid;

/// State of the rows of a partition. Rows that are read after it contain all events up to `seq`. While the incarnation is the same, they
/// change only with later events.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct RowsState {
    /// Epoch of the stream.
    #[diesel(sql_type = Text)]
    pub epoch: String,
    /// Sequence of the last folded event.
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    /// Incarnation of the rows.
    #[diesel(sql_type = SqlUuid)]
    pub incarnation: Uuid,
    /// `true` if an event of the partition is parked, so that rows lack it.
    #[diesel(sql_type = Bool)]
    pub has_parked: bool,
}

/// Returns the state of the rows of a partition, if it has rows.
///
/// # Errors
/// [`ReadModelError`].
pub fn rows_state(
    connection: &mut AsyncPgConnection,
    partition: u32,
) -> BoxFuture<'_, Result<Option<RowsState>, ReadModelError>> {
    Box::pin(async move {
        let text = "SELECT epoch, seq, incarnation, \
                    EXISTS (SELECT FROM parked_event WHERE partition = :partition) AS has_parked \
                    FROM projection_checkpoint WHERE partition = :partition";
        let statement = Statement::new(text, [("partition", Bind::Integer(signed(partition)))]);
        let found = statement.get_result(connection).await.optional();
        found.map_err(ReadModelError::query("reading the state of the rows"))
    })
}
