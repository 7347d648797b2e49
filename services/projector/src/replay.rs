//! Rebuilding the read models, and comparing a rebuilt one with the live one.

use crate::apply::ProjectError;
use crate::rebuild::{Target, fold_up_to, heads};
use diesel_async::AsyncPgConnection;
use futures_util::future::BoxFuture;
use uuid::Uuid;
use waybill_event_log::{EventLog, ReadError};
use waybill_read_model::projection::{self, Checkpoint};
use waybill_read_model::{Database, ReadModelError, SchemaName, TableDigest, digests};

/// Why a rebuild failed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Folding failed.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// Postgres does not do its part.
    #[error(transparent)]
    ReadModel(#[from] ReadModelError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A projector folds into the schema.
    #[error(
        "partition {partition} of schema {schema} is being folded by a projector; stop it, or wait for its lease to end"
    )]
    Leased {
        /// The schema.
        schema: SchemaName,
        /// The partition.
        partition: u32,
    },
    /// The checkpoint belongs to another incarnation of the stream.
    #[error("partition {partition} of schema {schema} was built from another stream; drop the schema first")]
    OtherStream {
        /// The schema.
        schema: SchemaName,
        /// The partition.
        partition: u32,
    },
    /// The name of the live schema leaves no room for the ones beside it.
    #[error("the name of schema {0} is too long for a swap: it has 58 characters at most")]
    LongName(SchemaName),
    /// The name that the old tables are to get is another schema's.
    #[error("there is a schema {0}, and no swap has left it; rename it, or drop it if nobody needs it")]
    Taken(SchemaName),
    /// Something would be lost with the old tables.
    #[error(
        "schema {schema} cannot be replaced because of: {}; drop the views and make them again after the swap, and run it as \
         the owner of the schema",
        strangers.join(", ")
    )]
    Strangers {
        /// The schema.
        schema: SchemaName,
        /// The views, and the owner if that is another role.
        strangers: Vec<String>,
    },
    /// The tables were migrated while others were built beside them.
    #[error(
        "schema {schema} has other migrations than the tables beside it; run the swap with the version that serves"
    )]
    Migrated {
        /// The schema.
        schema: SchemaName,
    },
    /// The live tables were never left alone for long enough.
    #[error("the tables of schema {schema} were in use all the time; nothing was swapped, try again")]
    Busy {
        /// The schema.
        schema: SchemaName,
    },
}

/// One table of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableComparison {
    /// As it is.
    pub live: TableDigest,
    /// As it was rebuilt.
    pub rebuilt: TableDigest,
}

/// What [`verify`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Up to where both were folded, by partition.
    pub checkpoints: Vec<(u32, i64)>,
    /// Every table.
    pub tables: Vec<TableComparison>,
}

impl From<diesel::result::Error> for ReplayError {
    fn from(error: diesel::result::Error) -> Self {
        ReadModelError::from(error).into()
    }
}

impl Comparison {
    pub(crate) fn of(checkpoints: &[(u32, Checkpoint)], live: Vec<TableDigest>, rebuilt: Vec<TableDigest>) -> Self {
        Self {
            checkpoints: checkpoints.iter().map(|(partition, at)| (*partition, at.seq)).collect(),
            tables: live.into_iter().zip(rebuilt).map(|(live, rebuilt)| TableComparison { live, rebuilt }).collect(),
        }
    }

    /// Whether all tables are equal.
    pub fn is_equal(&self) -> bool {
        self.tables.iter().all(|table| table.live == table.rebuilt)
    }
}

/// Makes the tables in the schema of `database` where they are missing, and folds all events into them that they do not
/// hold yet, of several partitions at once. Answers with how many events that were.
///
/// # Errors
/// [`ReplayError`].
pub fn replay_into<'a>(log: &'a dyn EventLog, database: &'a Database) -> BoxFuture<'a, Result<u64, ReplayError>> {
    Box::pin(replay(log, database))
}

async fn replay(log: &dyn EventLog, database: &Database) -> Result<u64, ReplayError> {
    let database = &database.patient()?;
    database.migrate().await?;
    fold_up_to(log, database, heads(log, log.partitions().all()).await?).await
}

/// Rebuilds everything in a schema beside the live one, up to exactly where the live one is, and compares. The live
/// tables are read in one transaction, so nothing needs to stop.
///
/// # Errors
/// [`ReplayError`].
pub fn verify<'a>(log: &'a dyn EventLog, live: &'a Database) -> BoxFuture<'a, Result<Comparison, ReplayError>> {
    Box::pin(compare(log, live))
}

async fn compare(log: &dyn EventLog, live: &Database) -> Result<Comparison, ReplayError> {
    let live = &live.patient()?;
    let (checkpoints, digests) = look(live).await?;
    let name = format!("waybill_verify_{}", Uuid::now_v7().simple());
    // The name has lower-case letters, digits and underscores only.
    let schema: SchemaName = name.parse().unwrap_or_else(|_| live.schema().clone());
    let beside = live.in_schema(schema)?;
    beside.migrate().await?;
    let rebuilt = rebuild(log, &beside, &checkpoints).await;
    beside.drop_schema().await?;
    Ok(Comparison::of(&checkpoints, digests, rebuilt?))
}

/// How far the tables are folded, and what they hold, as of one moment.
pub(crate) async fn look(live: &Database) -> Result<(Vec<(u32, Checkpoint)>, Vec<TableDigest>), ReadModelError> {
    live.connection()
        .await?
        .build_transaction()
        .repeatable_read()
        .read_only()
        .run(async |connection: &mut AsyncPgConnection| {
            Ok((projection::checkpoints(connection).await?, digests(connection).await?))
        })
        .await
}

async fn rebuild(
    log: &dyn EventLog,
    beside: &Database,
    checkpoints: &[(u32, Checkpoint)],
) -> Result<Vec<TableDigest>, ReplayError> {
    fold_up_to(log, beside, checkpoints.iter().map(Target::from).collect()).await?;
    Ok(digests(&mut *beside.connection().await?).await?)
}
