//! `GET /v1/audit/export`: all events of a company as they are stored, as one JSON object per line. Each line has the
//! hash chain up to its event, and the last line has the signed head of the chain ([`waybill_event_log::chain`]).
//! `waybill audit verify` checks an export.

use crate::application::gateway::Gateway;
use crate::application::trail;
use crate::http::problems::OrProblem;
use actix_web::{HttpResponse, get, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use chrono::{SecondsFormat, Utc};
use futures_util::stream;
use waybill_api::audit::{ExportedEvent, Head, PublicKey, SignedHead};
use waybill_event_log::chain::{Chain, RawMessage, signed_text};
use waybill_schema::CompanyId;
use waybill_service_kit::{Principal, Problem, Role};

routes!(export, key);

/// Number of events that are read at a time.
const PAGE: usize = 500;

/// Returns the public key that verifies audit exports
///
/// Needs the role `auditor`. Store the key outside of Waybill, to verify later exports with it.
#[utoipa::path(
    tag = "audit",
    operation_id = "show_audit_key",
    responses((status = 200, description = "The public key", body = PublicKey)),
)]
#[get("/v1/audit/key")]
pub(crate) async fn key(principal: Principal, gateway: web::Data<Gateway>) -> Result<HttpResponse, Problem> {
    principal.require(Role::Auditor, "auditor")?;
    Ok(HttpResponse::Ok().json(PublicKey { algorithm: "Ed25519".to_owned(), public_key: gateway.head_key.public() }))
}

/// Exports all events of the company
///
/// Needs the role `auditor`. The events up to now are linked in a hash chain. The last line is the signed head of the
/// chain; an export without it is incomplete.
#[utoipa::path(
    tag = "audit",
    operation_id = "export_audit",
    responses((status = 200, description = "One JSON object per line", content_type = "application/x-ndjson", body = String)),
)]
#[get("/v1/audit/export")]
pub(crate) async fn export(principal: Principal, gateway: web::Data<Gateway>) -> Result<HttpResponse, Problem> {
    principal.require(Role::Auditor, "auditor")?;
    let company = principal.company_id;
    let end =
        gateway.log.head(gateway.log.partitions().of(company)).await.or_problem("looking for the log's end")?.last_seq;
    let begin = Export { gateway, company, read_to: 0, end, chain: Chain::of(company), ended: false };
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
    /// Sequence up to which the log is exported.
    end: u64,
    chain: Chain,
    ended: bool,
}

impl Export {
    /// Returns the next lines, and `None` after the head.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Problem> {
        if self.ended {
            return Ok(None);
        }
        let mut text = String::new();
        while text.is_empty() && self.read_to < self.end {
            let trail = trail::events(&self.gateway, self.company, self.read_to, PAGE).await?;
            for message in trail.messages.iter().take_while(|message| message.position.seq <= self.end) {
                self.chain.link(message);
                text.push_str(&line(message, &self.chain)?);
                text.push('\n');
            }
            if trail.read_to <= self.read_to {
                return Err(Problem::unavailable(
                    "events are missing from the event log, which may have been restored; try again",
                ));
            }
            self.read_to = trail.read_to;
        }
        if self.read_to >= self.end {
            text.push_str(&self.head()?);
            text.push('\n');
            self.ended = true;
        }
        Ok(Some((text.into(), self)))
    }

    /// Returns the last line: the head of the chain with its signature.
    fn head(&self) -> Result<String, Problem> {
        let time = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let head_key = &self.gateway.head_key;
        let signature = head_key.sign(&signed_text(self.company, &self.chain, &time));
        let head = Head {
            chain: self.chain.digest.to_string(),
            company_id: self.company,
            events: self.chain.events,
            position: self.chain.position.map(|position| position.to_string()),
            time,
        };
        serde_json::to_string(&SignedHead { head, public_key: head_key.public(), signature })
            .map_err(|_| Problem::internal())
    }
}

fn line(message: &RawMessage, chain: &Chain) -> Result<String, Problem> {
    let line = ExportedEvent {
        position: message.position.to_string(),
        subject: message.subject.clone(),
        headers: message.headers.iter().cloned().collect(),
        body: BASE64.encode(&message.body),
        chain: chain.digest.to_string(),
        event: message.decode().ok().map(|recorded| recorded.event),
    };
    serde_json::to_string(&line).map_err(|_| Problem::internal())
}
