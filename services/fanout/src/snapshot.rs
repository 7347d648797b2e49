//! What a subscription begins with: the state as of one checkpoint, read in one transaction with it.

use crate::protocol::Topic;
use diesel_async::AsyncPgConnection;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use waybill_read_model::{Database, ReadModelError, projection, queries};
use waybill_schema::CompanyId;

/// How long a snapshot waits for the projection.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// A state, and as of when it is.
pub(crate) struct Snapshot {
    pub(crate) epoch: String,
    pub(crate) seq: u64,
    pub(crate) state: Value,
}

/// The state of a topic, at least as new as sequence `at_least`; `None` where the projection does not get there.
pub(crate) async fn take(
    database: &Database,
    company: CompanyId,
    partition: u32,
    topic: Topic,
    at_least: u64,
) -> Result<Option<Snapshot>, ReadModelError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let snapshot = read(database, company, partition, topic).await?;
        if snapshot.seq >= at_least {
            return Ok(Some(snapshot));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn read(
    database: &Database,
    company: CompanyId,
    partition: u32,
    topic: Topic,
) -> Result<Snapshot, ReadModelError> {
    let mut connection = database.connection().await?;
    connection
        .build_transaction()
        .repeatable_read()
        .read_only()
        .run(async |connection: &mut AsyncPgConnection| {
            let checkpoint = projection::checkpoint(connection, partition).await?;
            let (epoch, seq) = checkpoint.map_or_else(Default::default, |at| (at.epoch, at.seq.unsigned_abs()));
            Ok::<_, ReadModelError>(Snapshot { epoch, seq, state: state(connection, company, topic).await? })
        })
        .await
}

async fn state(connection: &mut AsyncPgConnection, company: CompanyId, topic: Topic) -> Result<Value, ReadModelError> {
    Ok(match topic {
        Topic::Upload(id) => json!(queries::find_progress(connection, company, id).await?),
        Topic::Session(id) => {
            let session = queries::find_session(connection, company, id).await?;
            json!({ "session": session, "files": queries::list_session_files(connection, company, id).await? })
        }
        Topic::Company(_) => json!({ "uploads": queries::list_running(connection, company).await? }),
        Topic::Chatroom(_) | Topic::Thread(_) => Value::Null,
    })
}
