//! A batch of events as one transaction.

use crate::fold::{Tables, Touched, aggregate_key};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use std::collections::{BTreeSet, HashSet};
use std::ops::DerefMut;
use waybill_event_log::{ReadError, Stored};
use waybill_read_model::projection::{self, Checkpoint, ParkedEvent};
use waybill_read_model::rows::{Key, Row, load, upsert};
use waybill_read_model::{Database, ReadModelError};
use waybill_schema::Subject;
use waybill_service_kit::metrics;

/// Why events were not folded.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Postgres does not do its part.
    #[error(transparent)]
    ReadModel(#[from] ReadModelError),
}

/// Why a batch was not applied as a whole.
#[derive(Debug, thiserror::Error)]
enum Refused {
    /// An event does not fit, or the tables refuse what it led to.
    #[error("{0}")]
    Event(String),
    /// It may go through the next time.
    #[error(transparent)]
    ReadModel(ReadModelError),
}

impl From<ReadModelError> for Refused {
    fn from(error: ReadModelError) -> Self {
        match error {
            ReadModelError::Query { source, .. } if is_refusal(&source) => Self::Event(source.to_string()),
            // A row that cannot be read does not become readable.
            ReadModelError::Row { .. } => Self::Event(error.to_string()),
            error => Self::ReadModel(error),
        }
    }
}

impl From<diesel::result::Error> for Refused {
    fn from(error: diesel::result::Error) -> Self {
        ReadModelError::from(error).into()
    }
}

/// Whether the tables refuse the rows, rather than Postgres being away.
fn is_refusal(error: &diesel::result::Error) -> bool {
    use diesel::result::DatabaseErrorKind as Kind;
    matches!(
        error,
        diesel::result::Error::DatabaseError(
            Kind::CheckViolation | Kind::ForeignKeyViolation | Kind::NotNullViolation | Kind::UniqueViolation,
            _
        )
    )
}

/// All rows of a partition's companies, where they are known: in a rebuild, which has written every one of them.
#[derive(Debug, Default)]
pub(crate) struct Known(Option<Tables>);

impl Known {
    /// How many rows are kept in memory; a rebuild with more reads them back.
    const ROWS: usize = 300_000;

    /// Nothing is known: what is needed is read.
    pub(crate) fn nothing() -> Self {
        Self(None)
    }

    /// There is no row yet.
    pub(crate) fn no_rows() -> Self {
        Self(Some(Tables::default()))
    }
}

/// Folds `batch`, which follows `from` in the stream, and moves the checkpoint behind it. An event that does not fit is
/// parked, and so are later ones of its aggregate: it must not hold up all others for ever.
pub(crate) async fn apply(
    database: &Database,
    partition: u32,
    from: &Checkpoint,
    epoch: &str,
    batch: &[Stored],
    known: &mut Known,
) -> Result<Checkpoint, ProjectError> {
    let reason = match apply_once(database, partition, from, epoch, batch, known, None).await {
        Ok(at) => return Ok(at),
        Err(Refused::ReadModel(error)) => return Err(error.into()),
        Err(Refused::Event(reason)) => reason,
    };
    if batch.len() > 1 {
        tracing::warn!(partition, events = batch.len(), reason, "a batch is refused; folding one by one");
        let mut at = from.clone();
        for event in batch {
            at = Box::pin(apply(database, partition, &at, epoch, std::slice::from_ref(event), known)).await?;
        }
        return Ok(at);
    }
    match apply_once(database, partition, from, epoch, batch, known, Some(&reason)).await {
        Ok(at) => Ok(at),
        Err(Refused::ReadModel(error)) => Err(error.into()),
        Err(Refused::Event(reason)) => {
            Err(ReadModelError::Unavailable { operation: "parking an event", reason }.into())
        }
    }
}

/// One transaction: all of the batch or nothing. With `park`, the batch's one event is parked for that reason.
async fn apply_once(
    database: &Database,
    partition: u32,
    from: &Checkpoint,
    epoch: &str,
    batch: &[Stored],
    known: &mut Known,
    park: Option<&str>,
) -> Result<Checkpoint, Refused> {
    let rows = known.0.take();
    let is_all = rows.is_some();
    let to = Checkpoint { epoch: epoch.to_owned(), seq: batch.last().map_or(from.seq, seq_of) };
    let mut connection = database.connection().await?;
    let advanced = to.clone();
    let (mut tables, parked) = connection
        .deref_mut()
        .transaction(async |connection: &mut AsyncPgConnection| {
            projection::advance(connection, partition, from, &advanced).await?;
            let (tables, parked) = fold(connection, batch, rows, park).await?;
            write(connection, &tables).await?;
            projection::park(connection, partition, &parked).await?;
            Ok::<_, Refused>((tables, parked))
        })
        .await?;
    if is_all && tables.len() <= Known::ROWS {
        tables.written();
        known.0 = Some(tables);
    }
    for event in &parked {
        metrics::PARKED_EVENTS.inc();
        tracing::error!(
            partition,
            seq = event.seq,
            subject = event.subject,
            reason = event.reason,
            "an event is parked"
        );
    }
    metrics::FOLDED_SEQ.with_label_values(&[partition.to_string()]).set(to.seq);
    Ok(to)
}

async fn fold(
    connection: &mut AsyncPgConnection,
    batch: &[Stored],
    rows: Option<Tables>,
    park: Option<&str>,
) -> Result<(Tables, Vec<ParkedEvent>), Refused> {
    let mut touched = Touched::default();
    let mut aggregates: Vec<String> = Vec::new();
    for recorded in batch.iter().filter_map(|stored| stored.event.as_ref().ok()) {
        touched.add(recorded);
        aggregates.push(aggregate_key(&recorded.subject));
    }
    let mut tables = match rows {
        Some(rows) => rows,
        // What is parked changes no row.
        None if park.is_some() => Tables::default(),
        None => load_all(connection, &touched).await?,
    };
    let mut blocked: HashSet<String> = projection::blocked(connection, &aggregates).await?;
    let mut parked = Vec::new();
    for stored in batch {
        let (aggregate, reason) = match &stored.event {
            Err(error) => {
                let known = Subject::parse(&stored.subject);
                (known.map_or_else(|_| stored.subject.clone(), |subject| aggregate_key(&subject)), error.to_string())
            }
            Ok(recorded) => match (aggregate_key(&recorded.subject), park) {
                (aggregate, _) if blocked.contains(&aggregate) => {
                    (aggregate, "an earlier event of its aggregate is parked".to_owned())
                }
                (aggregate, Some(reason)) => (aggregate, reason.to_owned()),
                (_, None) => {
                    tables.fold(recorded).map_err(|misfit| Refused::Event(misfit.to_string()))?;
                    continue;
                }
            },
        };
        blocked.insert(aggregate.clone());
        parked.push(ParkedEvent { seq: seq_of(stored), subject: stored.subject.clone(), aggregate, reason });
    }
    Ok((tables, parked))
}

async fn load_all(connection: &mut AsyncPgConnection, touched: &Touched) -> Result<Tables, ReadModelError> {
    async fn of<R: Row>(connection: &mut AsyncPgConnection, keys: &BTreeSet<Key>) -> Result<Vec<R>, ReadModelError> {
        load(connection, keys.iter().copied()).await
    }
    let mut tables = Tables::default();
    tables.companies.extend(of(connection, &touched.companies).await?);
    tables.users.extend(of(connection, &touched.users).await?);
    tables.chatrooms.extend(of(connection, &touched.chatrooms).await?);
    tables.threads.extend(of(connection, &touched.threads).await?);
    tables.members.extend(of(connection, &touched.members).await?);
    tables.shares.extend(of(connection, &touched.shares).await?);
    tables.tokens.extend(of(connection, &touched.tokens).await?);
    tables.contents.extend(of(connection, &touched.contents).await?);
    tables.files.extend(of(connection, &touched.files).await?);
    tables.progress.extend(of(connection, &touched.progress).await?);
    tables.partials.extend(of(connection, &touched.progress).await?);
    tables.sessions.extend(of(connection, &touched.sessions).await?);
    tables.quotas.extend(of(connection, &touched.quotas).await?);
    tables.reservations.extend(of(connection, &touched.reservations).await?);
    Ok(tables)
}

/// Writes what changed, referenced tables first.
async fn write(connection: &mut AsyncPgConnection, tables: &Tables) -> Result<(), ReadModelError> {
    upsert(connection, &tables.companies.changed()).await?;
    upsert(connection, &tables.users.changed()).await?;
    upsert(connection, &tables.chatrooms.changed()).await?;
    upsert(connection, &tables.threads.changed()).await?;
    upsert(connection, &tables.members.changed()).await?;
    upsert(connection, &tables.sessions.changed()).await?;
    upsert(connection, &tables.files.changed()).await?;
    upsert(connection, &tables.shares.changed()).await?;
    upsert(connection, &tables.tokens.changed()).await?;
    upsert(connection, &tables.contents.changed()).await?;
    upsert(connection, &tables.progress.changed()).await?;
    upsert(connection, &tables.partials.changed()).await?;
    upsert(connection, &tables.quotas.changed()).await?;
    upsert(connection, &tables.reservations.changed()).await
}

fn seq_of(stored: &Stored) -> i64 {
    i64::try_from(stored.position.seq).unwrap_or(i64::MAX)
}
