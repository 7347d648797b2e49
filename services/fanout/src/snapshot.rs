//! Takes the snapshot with which a subscription begins: the state of a topic, read in one transaction with its
//! checkpoint.

use crate::fanout::{Fanout, Turn};
use crate::protocol::Topic;
use crate::taken::Snapshot;
use diesel_async::AsyncPgConnection;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use waybill_access::{AccessError, Wanted};
use waybill_domain::access::Viewer;
use waybill_read_model::queries::FileFilter;
use waybill_read_model::{Database, ReadModelError, projection, queries};
use waybill_schema::{Place, ShareId};
use waybill_service_kit::{Principal, Role, now};

/// Maximum time that a snapshot waits for the projection.
const PATIENCE: Duration = Duration::from_secs(2);
/// Maximum number of files in the snapshot of a chatroom or thread.
const FILES_MAX: i64 = 50;
/// Pause between two reads while a snapshot waits for the projection.
const PAUSE: Duration = Duration::from_millis(20);

/// Reads the state of a topic at sequence `at_least` or later. Returns `None` if the projection does not reach that
/// sequence in time. Returns the permit while it waits, so that other snapshots can be taken.
pub(crate) async fn take<'a>(
    fanout: &'a Fanout,
    mut turn: Turn<'a>,
    principal: &Principal,
    topic: Topic,
    at_least: u64,
) -> Result<Option<Snapshot>, AccessError> {
    let partition = fanout.log.partitions().of(principal.company_id);
    let until = Instant::now() + PATIENCE;
    loop {
        let mut snapshot = read(&fanout.database, principal, partition, topic).await?;
        if snapshot.seq >= at_least {
            if matches!(topic, Topic::Chatroom(_) | Topic::Thread(_)) {
                leave_out_hidden(fanout, principal, &mut snapshot.state).await?;
            }
            return Ok(Some(snapshot));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        drop(turn.take());
        tokio::time::sleep(PAUSE).await;
        turn = fanout.turn().await;
    }
}

async fn read(
    database: &Database,
    principal: &Principal,
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
            Ok::<_, ReadModelError>(Snapshot { epoch, seq, state: state(connection, principal, topic).await? })
        })
        .await
}

async fn state(
    connection: &mut AsyncPgConnection,
    principal: &Principal,
    topic: Topic,
) -> Result<Value, ReadModelError> {
    let company = principal.company_id;
    Ok(match topic {
        Topic::Upload(id) => json!(queries::find_progress(connection, company, id).await?),
        Topic::Session(id) => {
            let session = queries::find_session(connection, company, id).await?;
            json!({ "session": session, "files": queries::list_session_files(connection, company, id).await? })
        }
        Topic::Company(_) => json!({ "uploads": queries::list_running(connection, company).await? }),
        Topic::Chatroom(id) => files(connection, principal, Place::Chatroom(id)).await?,
        Topic::Thread(id) => files(connection, principal, Place::Thread(id)).await?,
    })
}

/// Removes the files of a chatroom or thread that the viewer may not see now through the association that is shown.
async fn leave_out_hidden(fanout: &Fanout, principal: &Principal, state: &mut Value) -> Result<(), AccessError> {
    let Some(files) = state["files"].as_array_mut() else { return Ok(()) };
    let id_of = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
    let wanted = Wanted { files: files.iter().filter_map(|file| id_of(&file["id"])).collect(), ..Wanted::default() };
    let mut connection = fanout.database.connection().await?;
    let known = fanout.access.look(&mut connection, principal.company_id, principal.user_id, &wanted).await?;
    let viewer = Viewer { user_id: principal.user_id, is_admin: principal.roles.contains(&Role::Admin) };
    files.retain(|file| {
        let facts = id_of(&file["id"]).and_then(|id| known.files.get(&id));
        let share: Option<ShareId> = file["association"]["id"].as_str().and_then(|text| text.parse().ok());
        facts.zip(share).is_some_and(|(facts, share)| facts.is_shown(share, viewer, now()))
    });
    Ok(())
}

/// Returns the first page of the files of a chatroom or thread, in the format of `GET /v1/files`.
async fn files(
    connection: &mut AsyncPgConnection,
    principal: &Principal,
    place: Place,
) -> Result<Value, ReadModelError> {
    let filter = FileFilter { processing_status: Some("COMPLETED".to_owned()), ..FileFilter::default() };
    let named = (!principal.roles.contains(&Role::Admin)).then_some(principal.user_id);
    let page = (None, FILES_MAX);
    let found = queries::list_shared(connection, principal.company_id, place, &filter, named, page).await?;
    let shown = |shared: queries::SharedFile| {
        let mut file = json!(shared.file);
        file["association"] = json!(shared.association);
        file
    };
    Ok(json!({ "files": found.into_iter().map(shown).collect::<Vec<_>>() }))
}
