//! `GET /v1/audit`: pages of the decoded events or of the refused requests of a company, for the role `auditor`. A
//! filter limits them to one file.

use crate::application::gateway::Gateway;
use crate::application::trail;
use crate::application::trail::Trail;
use crate::http::problems::OrProblem;
use crate::http::response::private;
use crate::http::time::rfc3339;
use actix_web::{HttpResponse, get, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use waybill_access::refusals::Refusal;
use waybill_api::audit::{AuditEntry, AuditPage, AuditQuery, EventEntry, RefusedEntry};
use waybill_event_log::chain::RawMessage;
use waybill_event_log::{Stored, read_after};
use waybill_schema::ErrorCode;
use waybill_schema::{Causation, CompanyId, Entity, FileId, Position, Subject, Timestamp, UploadId};
use waybill_service_kit::{Principal, Problem, Role};

routes!(list);

const PAGE_DEFAULT: u16 = 100;

const PAGE_MAX: u16 = 1_000;

#[derive(Serialize, Deserialize)]
struct Place {
    after_seq: u64,
}

/// Lists the events or the refused requests of the company
///
/// Needs the role `auditor`. A page can have fewer entries than `limit`, or none, and still have a `next_cursor`.
#[utoipa::path(
    tag = "audit",
    operation_id = "list_audit",
    params(AuditQuery),
    responses(
        (status = 200, description = "A page of entries, oldest first", body = AuditPage),
    ),
)]
#[get("/v1/audit")]
pub(crate) async fn list(
    principal: Principal,
    query: web::Query<AuditQuery>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    principal.require(Role::Auditor, "auditor")?;
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
    if query.refusals {
        return refusals(&gateway, company, &query, after, limit).await;
    }
    let (mut stored, rest) = match query.file_id {
        Some(file) => (about_file(&gateway, company, UploadId(file), after).await?, None),
        None => {
            let Trail { messages, read_to, more } = trail::events(&gateway, company, after, limit).await?;
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

/// Answers with a page of refused requests.
async fn refusals(
    gateway: &Gateway,
    company: CompanyId,
    query: &AuditQuery,
    after: u64,
    limit: usize,
) -> Result<HttpResponse, Problem> {
    let (found, more) = gateway.kept_refusals.page(company, after, limit).await.or_problem("reading refusals")?;
    let place = found.last().filter(|_| more).map(|(seq, _)| Place { after_seq: *seq });
    let read = |bytes: &bytes::Bytes| serde_json::from_slice::<Refusal>(bytes).ok();
    let wanted = |refusal: &Refusal| {
        let about = query.file_id.is_none_or(|file| refusal.path.contains(&file.to_string()));
        let is_kind = query.kind.as_ref().is_none_or(|kind| refusal.code == *kind);
        about && is_kind && is_of(query, &format!("user:{}", refusal.user_id)) && is_at(query, refusal.time)
    };
    let shown = |refusal: Refusal| {
        AuditEntry::Refused(RefusedEntry {
            time: rfc3339(refusal.time),
            actor: format!("user:{}", refusal.user_id),
            address: refusal.address,
            cause: format!("request:{}", refusal.request_id),
            method: refusal.method,
            path: refusal.path,
            status: refusal.status,
            code: refusal.code,
        })
    };
    let items = found.iter().filter_map(|(_, bytes)| read(bytes)).filter(wanted).map(shown).collect();
    Ok(page_of(gateway, company, items, place))
}

/// Reads the history of one file: the events of its upload and of the file, and the reservation that caused the upload.
async fn about_file(gateway: &Gateway, company: CompanyId, file: FileId, after: u64) -> Result<Vec<Stored>, Problem> {
    let log = gateway.log.as_ref();
    let aggregates = [Entity::UploadLifecycle(file), Entity::UploadChunks(file), Entity::File(file)];
    let mut found = Vec::new();
    for aggregate in aggregates {
        let events = read_after(log, Subject::new(company, aggregate), 0).await;
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
