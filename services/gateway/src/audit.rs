//! `GET /v1/audit`: the company's events, decoded, in pages; for the role auditor. All of them, or those about one file.

use crate::gateway::Gateway;
use crate::problems::IntoProblem;
use crate::uploads::rfc3339;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;
use waybill_event_log::{Stored, read_all};
use waybill_schema::{Aggregate, Causation, CompanyId, FileId, Position, Subject, UploadId, names};
use waybill_service_kit::{Principal, Problem, Role};

const PAGE_DEFAULT: u16 = 100;
const PAGE_MAX: u16 = 1_000;

#[derive(Deserialize)]
pub(crate) struct AuditQuery {
    file_id: Option<Uuid>,
    cursor: Option<String>,
    /// Only what came behind this position.
    after: Option<String>,
    limit: Option<u16>,
}

#[derive(Serialize, Deserialize)]
struct Place {
    after_seq: u64,
}

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
            position.ok_or_else(|| Problem::bad_request("position_invalid", "after is the position of an event"))?.seq
        }
        (None, None) => 0,
    };
    let limit = usize::from(query.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX));
    let (mut stored, mut more) = match query.file_id {
        Some(file) => (about_file(&gateway, company, UploadId(file), after).await?, false),
        None => {
            let partition = gateway.log.partitions().of(company);
            let filter = names::company_filter(partition, company);
            let page = gateway.log.page(partition, &filter, after, limit).await;
            let page = page.map_err(|error| error.into_problem("reading events"))?;
            (page.messages, page.more)
        }
    };
    more |= stored.len() > limit;
    stored.truncate(limit);
    let place = stored.last().filter(|_| more).map(|last| Place { after_seq: last.position.seq });
    let next_cursor = place.and_then(|place| gateway.cursors.sign(company, &place));
    let items: Vec<Value> = stored.iter().map(shown).collect();
    Ok(HttpResponse::Ok()
        .insert_header(("Cache-Control", "private, no-store"))
        .json(json!({ "items": items, "next_cursor": next_cursor })))
}

/// The whole history of one file: its upload, its own events, its space; with the reservation that caused its start.
async fn about_file(gateway: &Gateway, company: CompanyId, file: FileId, after: u64) -> Result<Vec<Stored>, Problem> {
    let log = gateway.log.as_ref();
    let partition = log.partitions().of(company);
    let subject = |aggregate| Subject::new(company, aggregate).to_nats(log.partitions());
    let filters = [
        names::upload_filter(partition, company, file),
        subject(Aggregate::File(file)),
        subject(Aggregate::QuotaSettlement(file)),
    ];
    let mut found = Vec::new();
    for filter in filters {
        let events = read_all(log, partition, &filter, 0, 0).await;
        found.extend(events.map_err(|error| error.into_problem("reading events"))?);
    }
    found.sort_by_key(|stored| stored.position.seq);
    let cause = found.first().and_then(|first| first.event.as_ref().ok()).map(|first| first.envelope.causation);
    if let Some(Causation::Event(position)) = cause {
        let quota = subject(Aggregate::Quota);
        let page = log.page(partition, &quota, position.seq.saturating_sub(1), 1).await;
        let page = page.map_err(|error| error.into_problem("reading a reservation"))?;
        found.splice(0..0, page.messages.into_iter().filter(|stored| stored.position == position));
    }
    found.retain(|stored| stored.position.seq > after);
    Ok(found)
}

/// One event for people and programs. What cannot be read is shown as such, never left out.
fn shown(stored: &Stored) -> Value {
    let position = stored.position.to_string();
    match &stored.event {
        Ok(recorded) => json!({
            "position": position,
            "time": rfc3339(recorded.envelope.time),
            "type": recorded.event.event_type(),
            "version": recorded.event.version(),
            "subject": stored.subject,
            "actor": recorded.envelope.actor.to_string(),
            "cause": recorded.envelope.causation.to_string(),
            "data": recorded.event,
        }),
        Err(error) => json!({ "position": position, "subject": stored.subject, "unreadable": error.to_string() }),
    }
}
