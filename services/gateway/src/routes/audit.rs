//! `GET /v1/audit`: pages of the decoded events, of the refused requests or of the reads of a company, for the role
//! `auditor`. A filter limits them to one file.

use crate::application::gateway::Gateway;
use crate::application::reads::record_audit;
use crate::application::trail::{self, Haste, Trail};
use crate::http::problems::OrProblem;
use crate::http::response::private;
use crate::http::time::rfc3339;
use actix_web::{HttpResponse, get, web};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use waybill_api::audit::{AuditEntry, AuditPage, AuditQuery, EventEntry, ReadEntry, RefusedEntry};
use waybill_audit::denials::Denial;
use waybill_audit::reads::Read;
use waybill_event_log::jetstream::Records;
use waybill_event_log::{RawMessage, Stored, read_after};
use waybill_http_kit::{Principal, Problem, RequestId, Role};
use waybill_read_model::queries::shares_and_tokens_of;
use waybill_schema::ErrorCode;
use waybill_schema::{Causation, CompanyId, Entity, FileId, Position, Subject, Timestamp, UploadId};

routes!(list);

const PAGE_DEFAULT: u16 = 100;

const PAGE_MAX: u16 = 1_000;

/// Maximum number of associations, and of download tokens, in the history of a file: the newest ones.
const SHARES_AND_TOKENS_MAX: i64 = 1_000;

/// Number of aggregates of a file that are read at the same time.
const READS_AT_ONCE: usize = 8;

#[derive(Serialize, Deserialize)]
struct Place {
    after_seq: u64,
}

/// Lists the events, the refused requests or the reads of the company
///
/// Needs the role `auditor`. A page can have fewer entries than `limit`, or none, and still have a `next_cursor`.
#[utoipa::path(
    tag = "audit",
    operation_id = "list_audit",
    extensions(("x-waybill-points" = json!(5))),
    params(AuditQuery),
    responses(
        (status = 200, description = "A page of entries, oldest first", body = AuditPage),
    ),
)]
#[get("/v1/audit")]
pub(crate) async fn list(
    principal: Principal,
    id: RequestId,
    query: web::Query<AuditQuery>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    principal.require(Role::Auditor, "auditor")?;
    record_audit(&gateway, &principal, id).await?;
    let company = principal.company_id;
    let after: Option<Place> =
        query.cursor.as_deref().map(|cursor| gateway.cursors.read(company, cursor)).transpose()?;
    let after = match (after, &query.after) {
        (Some(place), _) => place.after_seq,
        (None, Some(position)) => {
            let position: Option<Position> = position.parse().ok();
            let position = position.filter(|at| at.partition == gateway.log.partitions().of(company));
            position
                .ok_or_else(|| {
                    Problem::bad_request(
                        ErrorCode::PositionInvalid,
                        "after is not a position of this company's partition; use the position of an event",
                    )
                })?
                .seq
        }
        (None, None) => 0,
    };
    let limit = usize::from(query.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX));
    let page = |records| RecordPage { records, company, after, limit };
    match (query.refusals, query.reads) {
        (false, false) => {}
        (true, false) => return refusals(&gateway, &query, page(&gateway.kept_refusals)).await,
        (false, true) => return reads(&gateway, &query, page(&gateway.kept_reads)).await,
        (true, true) => return Err(Problem::bad_request(ErrorCode::QueryInvalid, "send refusals or reads, not both")),
    }
    let (mut stored, rest) = match query.file_id {
        Some(file) => (about_file(&gateway, company, UploadId(file), after).await?, None),
        None => {
            let Trail { messages, read_to, more } =
                trail::events(&gateway, company, after, limit, Haste::Request).await?;
            (messages.into_iter().map(stored).collect(), more.then_some(read_to))
        }
    };
    let is_cut = stored.len() > limit;
    stored.truncate(limit);
    let last = stored.last().filter(|_| is_cut).map(|last| last.position.seq);
    let place = last.or(rest).map(|after_seq| Place { after_seq });
    let items = stored.iter().filter(|stored| wants(&query, stored)).map(shown).collect();
    Ok(page_of(&gateway, company, items, place))
}

fn stored(message: RawMessage) -> Stored {
    let event = message.decode();
    Stored { position: message.position, message_id: None, previous: None, event, subject: message.subject }
}

/// Builds the response with a page. It can have fewer items than the client asked for, or none, and still a cursor to
/// the next page.
fn page_of(gateway: &Gateway, company: CompanyId, items: Vec<AuditEntry>, next: Option<Place>) -> HttpResponse {
    let next_cursor = next.and_then(|place| gateway.cursors.seal(company, &place));
    private(HttpResponse::Ok()).json(AuditPage { items, next_cursor })
}

/// Returns `true` if an event passes the filters. Unreadable events always pass, so that the audit never hides them.
fn wants(query: &AuditQuery, stored: &Stored) -> bool {
    let Ok(recorded) = &stored.event else { return true };
    let is_kind = query.kind.as_ref().is_none_or(|kind| recorded.event.event_type() == kind);
    is_kind && is_of(query, &recorded.envelope.actor.to_string()) && is_at(query, recorded.envelope.time)
}

/// Returns `true` if the query asks for entries of this actor.
fn is_of(query: &AuditQuery, actor: &str) -> bool {
    let wanted = query.actor.as_deref();
    wanted.is_none_or(|wanted| actor == wanted || actor.strip_prefix("user:") == Some(wanted))
}

/// Returns `true` if the query asks for entries at this time.
fn is_at(query: &AuditQuery, time: Timestamp) -> bool {
    let ms = |time: DateTime<Utc>| Timestamp(time.timestamp_millis());
    query.since.is_none_or(|since| ms(since) <= time) && query.until.is_none_or(|until| time < ms(until))
}

/// A request for a page of records.
struct RecordPage<'a> {
    records: &'a Records,
    company: CompanyId,
    after: u64,
    limit: usize,
}

/// Answers with a page of refused requests.
async fn refusals(gateway: &Gateway, query: &AuditQuery, page: RecordPage<'_>) -> Result<HttpResponse, Problem> {
    let wanted = |denial: &Denial| {
        let about = query.file_id.is_none_or(|file| denial.path.contains(&file.to_string()));
        let is_kind = query.kind.as_ref().is_none_or(|kind| denial.code == *kind);
        about && is_kind && is_of(query, &format!("user:{}", denial.user_id)) && is_at(query, denial.time)
    };
    let shown = |denial: Denial| {
        AuditEntry::Refused(RefusedEntry {
            time: rfc3339(denial.time),
            actor: format!("user:{}", denial.user_id),
            address: denial.address,
            cause: format!("request:{}", denial.request_id),
            method: denial.method,
            path: denial.path,
            status: denial.status,
            code: denial.code,
            count: denial.count,
        })
    };
    records(gateway, page, wanted, shown).await
}

/// Answers with a page of reads.
async fn reads(gateway: &Gateway, query: &AuditQuery, page: RecordPage<'_>) -> Result<HttpResponse, Problem> {
    let wanted = |read: &Read| {
        let about = query.file_id.is_none_or(|file| read.file_id == Some(file));
        let is_kind = query.kind.as_ref().is_none_or(|kind| read.action.as_str() == kind);
        about && is_kind && is_of(query, &format!("user:{}", read.user_id)) && is_at(query, read.time)
    };
    let shown = |read: Read| {
        AuditEntry::Read(ReadEntry {
            time: rfc3339(read.time),
            actor: format!("user:{}", read.user_id),
            address: read.address,
            cause: format!("request:{}", read.request_id),
            action: read.action.as_str().to_owned(),
            file_id: read.file_id,
            chatroom_id: read.chatroom_id,
            thread_id: read.thread_id,
        })
    };
    records(gateway, page, wanted, shown).await
}

async fn records<R: DeserializeOwned>(
    gateway: &Gateway,
    page: RecordPage<'_>,
    wanted: impl Fn(&R) -> bool,
    shown: impl Fn(R) -> AuditEntry,
) -> Result<HttpResponse, Problem> {
    let RecordPage { records, company, after, limit } = page;
    let (found, more) = records.page(company, after, limit).await.or_problem("reading records")?;
    let place = found.last().filter(|_| more).map(|(seq, _)| Place { after_seq: *seq });
    let read = |bytes: &bytes::Bytes| serde_json::from_slice(bytes).ok();
    let items = found.iter().filter_map(|(_, bytes)| read(bytes)).filter(wanted).map(shown).collect();
    Ok(page_of(gateway, company, items, place))
}

/// Reads the history of one file: the events of its upload, of the file, of its associations and of its download tokens,
/// and the reservation that caused the upload. Downloads with a token without `max_downloads` are not part of it, because
/// there can be any number of them.
async fn about_file(gateway: &Gateway, company: CompanyId, file: FileId, after: u64) -> Result<Vec<Stored>, Problem> {
    let log = gateway.log.as_ref();
    let mut aggregates = vec![Entity::UploadLifecycle(file), Entity::UploadChunks(file), Entity::File(file)];
    let mut connection = gateway.database.connection().await.or_problem("reading the history of a file")?;
    let more = shares_and_tokens_of(&mut connection, company, file, SHARES_AND_TOKENS_MAX).await;
    aggregates.extend(more.or_problem("reading the history of a file")?);
    drop(connection);
    let read = |aggregate| read_after(log, Subject::new(company, aggregate), 0);
    let mut reading = stream::iter(aggregates.into_iter().map(read)).buffered(READS_AT_ONCE);
    let mut found = Vec::new();
    while let Some(events) = reading.next().await {
        found.extend(events.or_problem("reading events")?);
    }
    found.sort_by_key(|stored| stored.position.seq);
    let cause = found.first().and_then(|first| first.event.as_ref().ok()).map(|first| first.envelope.causation);
    if let Some(Causation::Event(position)) = cause {
        let quota = Subject::new(company, Entity::Quota).to_nats(log.partitions());
        let reservation = log.at(position).await.or_problem("reading a reservation")?;
        found.splice(0..0, reservation.filter(|stored| stored.subject == quota));
    }
    found.retain(|stored| stored.position.seq > after);
    Ok(found)
}

/// Converts an event for the response. Unreadable events are marked as such, never omitted.
fn shown(stored: &Stored) -> AuditEntry {
    let position = stored.position.to_string();
    match &stored.event {
        Ok(recorded) => AuditEntry::Event(Box::new(EventEntry {
            position,
            time: rfc3339(recorded.envelope.time),
            event_type: recorded.event.event_type().to_owned(),
            version: recorded.event.version(),
            subject: stored.subject.clone(),
            actor: recorded.envelope.actor.to_string(),
            address: recorded.envelope.address,
            cause: recorded.envelope.causation.to_string(),
            data: recorded.event.clone(),
        })),
        Err(error) => {
            AuditEntry::Unreadable { position, subject: stored.subject.clone(), unreadable: error.to_string() }
        }
    }
}
