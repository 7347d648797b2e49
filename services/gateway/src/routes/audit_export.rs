//! `GET /v1/audit/export`: all events of a company as they are stored, as one JSON object per line. Each line has the
//! root of the Merkle tree up to its event ([`waybill_audit::tree`]). The stored heads follow, and the last line is the
//! signed head of the whole export. `waybill audit verify` checks an export.

use crate::application::audit_heads;
use crate::application::gateway::Gateway;
use crate::application::reads::record_audit;
use crate::application::trail::{self, Haste};
use crate::http::problems::OrProblem;
use crate::http::time::rfc3339;
use actix_web::{HttpResponse, get, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use waybill_api::audit::{ExportedEvent, Head, PublicKey, SignedHead, StoredEvent};
use waybill_audit::leaf::leaf;
use waybill_audit::tree::Frontier;
use waybill_event_log::{self as event_log, RawMessage};
use waybill_http_kit::slots::Slot;
use waybill_http_kit::{Principal, Problem, RequestId, Role};
use waybill_schema::{CompanyId, Event, Position};
use waybill_service_kit::now;

routes!(export, key);

/// Number of events that are read at a time.
const PAGE: usize = 500;

/// Returns the public key that verifies heads of the audit
///
/// Needs the role `auditor`. Store the key outside of Waybill, because `waybill audit verify` needs it.
#[utoipa::path(
    tag = "audit",
    operation_id = "show_audit_key",
    responses((status = 200, description = "The public key", body = PublicKey)),
)]
#[get("/v1/audit/key")]
pub(crate) async fn key(principal: Principal, gateway: web::Data<Gateway>) -> Result<HttpResponse, Problem> {
    principal.require(Role::Auditor, "auditor")?;
    let mut keys = gateway.head_key.public();
    let public_key = if keys.is_empty() { return Err(Problem::internal()) } else { keys.remove(0) };
    Ok(HttpResponse::Ok().json(PublicKey { algorithm: "Ed25519".to_owned(), public_key, other_public_keys: keys }))
}

/// Exports all events of the company
///
/// Needs the role `auditor`. The events up to now are the leaves of a Merkle tree. After them come the heads of the tree
/// that were stored earlier. The last line is the signed head of the export; an export without it is incomplete.
#[utoipa::path(
    tag = "audit",
    operation_id = "export_audit",
    extensions(("x-waybill-points" = json!(20))),
    responses(
        (status = 200, description = "One JSON object per line", content_type = "application/x-ndjson", body = String),
        (status = 429, description = "`too_many_requests`, `too_many_at_once`: try again after `Retry-After`"),
    ),
)]
#[get("/v1/audit/export")]
pub(crate) async fn export(
    principal: Principal,
    id: RequestId,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    principal.require(Role::Auditor, "auditor")?;
    let company = principal.company_id;
    let slot = gateway.at_once.export(company)?;
    record_audit(&gateway, &principal, id).await?;
    // These heads cover only events before the end.
    let heads_from = audit_heads::newest_key(&gateway, company).await.or_problem("reading audit heads")?;
    let end = gateway.log.head(gateway.log.partitions().of(company)).await.or_problem("looking for the log's end")?;
    let begin = Export {
        gateway,
        company,
        read_to: 0,
        end,
        tree: Frontier::default(),
        last: None,
        heads_from,
        heads_after: None,
        ended: false,
        _slot: slot,
    };
    // An interrupted export has no head, so `waybill audit verify` detects it.
    let lines = stream::try_unfold(begin, Export::next);
    Ok(HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .insert_header(("Cache-Control", "private, no-store"))
        .streaming(lines))
}

/// State of a running export.
struct Export {
    gateway: web::Data<Gateway>,
    company: CompanyId,
    /// Sequence up to which the log was read.
    read_to: u64,
    /// Epoch and end of the log up to which it is exported.
    end: event_log::Head,
    tree: Frontier,
    /// Position of the last event.
    last: Option<Position>,
    /// Key of the newest stored head at the beginning of the export.
    heads_from: Option<String>,
    /// Key of the last exported head.
    heads_after: Option<String>,
    ended: bool,
    _slot: Slot,
}

impl Export {
    /// Returns the next lines, and `None` after the heads.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Problem> {
        if self.ended {
            return Ok(None);
        }
        let mut text = String::new();
        while text.is_empty() && self.read_to < self.end.last_seq {
            let trail = trail::events(&self.gateway, self.company, self.read_to, PAGE, Haste::Request).await?;
            for message in trail.messages.iter().take_while(|message| message.position.seq <= self.end.last_seq) {
                self.tree.push(leaf(message));
                self.last = Some(message.position);
                add(&mut text, &self.line(message))?;
            }
            if trail.read_to <= self.read_to {
                return Err(Problem::unavailable(
                    "events are missing from the event log, which may have been restored; try again",
                ));
            }
            self.read_to = trail.read_to;
        }
        while text.is_empty() && !self.ended {
            match self.stored_heads().await? {
                Some(page) => {
                    page.heads.iter().try_for_each(|head| add(&mut text, head))?;
                    self.heads_after = Some(page.last);
                }
                None => {
                    add(&mut text, &self.head()?)?;
                    self.ended = true;
                }
            }
        }
        Ok(Some((text.into(), self)))
    }

    /// Returns the next stored heads, or `None` after the last one.
    async fn stored_heads(&self) -> Result<Option<audit_heads::Page>, Problem> {
        let Some(from) = &self.heads_from else { return Ok(None) };
        let page = audit_heads::page(&self.gateway, self.company, from, self.heads_after.as_deref()).await;
        page.or_problem("reading audit heads")
    }

    fn line(&self, message: &RawMessage) -> ExportedEvent<Event> {
        ExportedEvent {
            stored: StoredEvent {
                position: message.position.to_string(),
                subject: message.subject.clone(),
                headers: message.headers.iter().cloned().collect(),
                body: BASE64.encode(&message.body),
            },
            root: self.tree.root(),
            event: message.decode().ok().map(|recorded| recorded.event),
        }
    }

    /// Returns the last line: the signed head of the tree.
    fn head(&self) -> Result<SignedHead, Problem> {
        let head = Head {
            company_id: self.company,
            epoch: self.end.epoch.clone(),
            position: self.last.map(|position| position.to_string()),
            root: self.tree.root(),
            size: self.tree.size(),
            time: rfc3339(now()),
        };
        self.gateway.head_key.sign(head).ok_or_else(Problem::internal)
    }
}

/// Adds a line.
fn add(text: &mut String, line: &impl Serialize) -> Result<(), Problem> {
    text.push_str(&serde_json::to_string(line).map_err(|_| Problem::internal())?);
    text.push('\n');
    Ok(())
}
