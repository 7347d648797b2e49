//! Takes the snapshot with which a subscription begins: the state of a topic, read in one transaction with its
//! checkpoint.

use crate::fanout::{Fanout, Turn};
use crate::taken::Snapshot;
use diesel_async::AsyncPgConnection;
use serde_json::{Value, json, to_value};
use std::time::Duration;
use tokio::time::Instant;
use waybill_access::{AccessError, Wanted, scan_filter};
use waybill_api::frames::Topic;
use waybill_domain::access::{ShownShare, Viewer};
use waybill_http_kit::{Principal, Role};
use waybill_read_model::queries::{FileFilter, ScanFilter, SharedFile, UploadProgress};
use waybill_read_model::rows::UploadSessionRow;
use waybill_read_model::{Database, ReadModelError, projection, queries};
use waybill_schema::{Place, ProcessingStatus, ShareId, UploadId};
use waybill_service_kit::now;

/// Maximum time that a snapshot waits for the projection.
const PATIENCE: Duration = Duration::from_secs(2);
/// Maximum number of files in the snapshot of a chatroom or thread.
const FILES_MAX: i64 = 50;
/// Pause between two reads while a snapshot waits for the projection.
const PAUSE: Duration = Duration::from_millis(20);

/// Rows of a topic and the position at which they were read.
struct Found {
    epoch: String,
    seq: u64,
    rows: Rows,
}

/// Rows of a topic.
enum Rows {
    Upload(Option<UploadProgress>),
    Session(Option<UploadSessionRow>, Vec<UploadProgress>),
    Company(Vec<UploadProgress>),
    /// The files of a chatroom or thread.
    Place(Vec<SharedFile>),
}

impl Rows {
    /// Returns the state in the format of the frame.
    fn into_state(self) -> Result<Value, serde_json::Error> {
        Ok(match self {
            Self::Upload(progress) => to_value(progress)?,
            Self::Session(session, files) => json!({ "session": to_value(session)?, "files": to_value(files)? }),
            Self::Company(uploads) => json!({ "uploads": to_value(uploads)? }),
            Self::Place(files) => {
                let files = files.into_iter().map(shown).collect::<Result<Vec<Value>, _>>()?;
                json!({ "files": files })
            }
        })
    }
}

/// Returns a file of a chatroom or thread in the format of `GET /v1/files`.
fn shown(shared: SharedFile) -> Result<Value, serde_json::Error> {
    let mut file = to_value(shared.file)?;
    file["association"] = to_value(shared.association)?;
    Ok(file)
}

/// Reads the state of a topic at sequence `at_least` or later. Returns `None` if the projection does not reach that
/// sequence in time. Returns the permit while it waits, so that other snapshots can be taken.
pub(crate) async fn take<'a>(
    fanout: &'a Fanout,
    mut turn: Turn<'a>,
    principal: &Principal,
    topic: Topic,
    at_least: u64,
) -> Result<Option<Snapshot>, AccessError> {
    let partition = fanout.repository.log().partitions().of(principal.company_id);
    let until = Instant::now() + PATIENCE;
    loop {
        let asked = Asked { topic, scans: scan_filter(fanout.access.scan_rules(principal.company_id).await?) };
        let Found { epoch, seq, mut rows } = read(&fanout.database, principal, partition, asked).await?;
        if seq >= at_least {
            if let Rows::Place(files) = &mut rows {
                leave_out_hidden(fanout, principal, files).await?;
            }
            let failed = |source| ReadModelError::Row { operation: "writing a snapshot as JSON", source };
            return Ok(Some(Snapshot { epoch, seq, state: rows.into_state().map_err(failed)? }));
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
    asked: Asked,
) -> Result<Found, ReadModelError> {
    let mut connection = database.connection().await?;
    connection
        .build_transaction()
        .repeatable_read()
        .read_only()
        .run(async |connection: &mut AsyncPgConnection| {
            let checkpoint = projection::checkpoint(connection, partition).await?;
            let (epoch, seq) = checkpoint.map_or_else(Default::default, |at| (at.epoch, at.seq.unsigned_abs()));
            Ok::<_, ReadModelError>(Found { epoch, seq, rows: rows(connection, principal, asked).await? })
        })
        .await
}

/// State that a snapshot must contain.
#[derive(Clone, Copy)]
struct Asked {
    topic: Topic,
    /// Effect of virus scans. The files of a place are those that can be read.
    scans: ScanFilter,
}

async fn rows(connection: &mut AsyncPgConnection, principal: &Principal, asked: Asked) -> Result<Rows, ReadModelError> {
    let company = principal.company_id;
    Ok(match asked.topic {
        Topic::Upload(id) => Rows::Upload(queries::find_progress(connection, company, id).await?),
        Topic::Session(id) => {
            let session = queries::find_session(connection, company, id).await?;
            Rows::Session(session, queries::list_session_files(connection, company, id).await?)
        }
        Topic::Company(_) => Rows::Company(queries::list_running(connection, company).await?),
        Topic::Chatroom(id) => Rows::Place(files(connection, principal, Place::Chatroom(id), asked.scans).await?),
        Topic::Thread(id) => Rows::Place(files(connection, principal, Place::Thread(id), asked.scans).await?),
    })
}

/// Removes the files of a chatroom or thread that the viewer may not see now through the association that is shown.
async fn leave_out_hidden(
    fanout: &Fanout,
    principal: &Principal,
    files: &mut Vec<SharedFile>,
) -> Result<(), AccessError> {
    let viewer = Viewer { user_id: principal.user_id, is_admin: principal.roles.contains(&Role::Admin) };
    let ids = files.iter().map(|shared| UploadId(shared.file.id)).collect();
    let wanted = Wanted { files: ids, every_share: viewer.is_admin, ..Wanted::default() };
    let mut connection = fanout.database.connection().await?;
    let known = fanout.access.look(&mut connection, principal.company_id, principal.user_id, &wanted).await?;
    files.retain_mut(|shared| {
        let facts = known.files.get(&UploadId(shared.file.id));
        match facts.and_then(|facts| facts.shown_by(ShareId(shared.association.id), viewer, now())) {
            None => return false,
            Some(ShownShare::Whole) => {}
            Some(ShownShare::WithoutOthers) => shared.association.name_only(viewer.user_id),
        }
        true
    });
    Ok(())
}

/// Returns the first page of the files of a chatroom or thread.
async fn files(
    connection: &mut AsyncPgConnection,
    principal: &Principal,
    place: Place,
    scans: ScanFilter,
) -> Result<Vec<SharedFile>, ReadModelError> {
    let filter = FileFilter { processing_status: Some(ProcessingStatus::Completed), scans, ..FileFilter::default() };
    let named = (!principal.roles.contains(&Role::Admin)).then_some(principal.user_id);
    let page = queries::SharedPage { limit: FILES_MAX, ..queries::SharedPage::default() };
    queries::list_shared(connection, principal.company_id, place, &filter, named, page).await
}
