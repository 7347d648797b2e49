//! Tickets for browsers, which cannot set the `Authorization` header on a WebSocket. A ticket works once, within 30 s,
//! and is bound to a user, a company and an origin.

use crate::access::check_standing;
use crate::fanout::Fanout;
use actix_web::http::header::{HeaderMap, ORIGIN};
use actix_web::{HttpRequest, HttpResponse, post, web};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use uuid::Uuid;
use waybill_api::progress::Ticket;
use waybill_event_log::{Bucket, BucketError};
use waybill_http_kit::rate_limit::PerUser;
use waybill_http_kit::{Principal, Problem, Role};
use waybill_schema::{CompanyId, Timestamp, UserId};
use waybill_service_kit::{Shutdown, now};

/// Lifetime of a ticket in seconds.
const LIFETIME_S: i64 = 30;

/// Number of tickets per second that a user may get, after a burst of ten times as many. All companies share one bucket
/// for tickets, and a user can have only a few connections.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(5).unwrap();

#[derive(Serialize, Deserialize)]
struct Record {
    user_id: UserId,
    company_id: CompanyId,
    roles: Vec<Role>,
    token_issued_at: Option<Timestamp>,
    token_expires_at: Timestamp,
    expires_at: Timestamp,
    origin: Option<String>,
}

/// The tickets of all fan-outs.
pub(crate) struct Tickets {
    bucket: Bucket,
    rate: PerUser,
}

impl Tickets {
    pub(crate) fn new(bucket: Bucket) -> Self {
        Self { bucket, rate: PerUser::new(PER_SECOND) }
    }

    /// Forgets inactive users periodically, until shutdown.
    pub(crate) async fn tidy(&self, shutdown: Shutdown) {
        self.rate.tidy(shutdown).await;
    }

    /// Redeems a ticket. Returns `None` if it is unknown, used, expired or from another origin.
    pub(crate) async fn redeem(&self, ticket: &str, origin: Option<&str>) -> Result<Option<Principal>, BucketError> {
        // Other text may not be a valid key of the bucket.
        if ticket.len() != 64 || !ticket.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let Some(bytes) = self.bucket.take(ticket).await? else { return Ok(None) };
        let record: Option<Record> = serde_json::from_slice(&bytes).ok();
        let good = record.filter(|record| record.expires_at > now() && record.origin.as_deref() == origin);
        Ok(good.map(|record| Principal {
            link: None,
            user_id: record.user_id,
            company_id: record.company_id,
            roles: record.roles,
            issued_at: record.token_issued_at,
            expires_at: record.token_expires_at,
        }))
    }
}

/// Returns the `Origin` header of a request.
pub(crate) fn origin(headers: &HeaderMap) -> Option<&str> {
    headers.get(ORIGIN)?.to_str().ok()
}

/// Issues a ticket for the WebSocket of a browser.
#[utoipa::path(
    tag = "progress",
    operation_id = "issue_ticket",
    responses((status = 201, description = "The ticket", body = Ticket)),
)]
#[post("/v1/progress/tickets")]
pub(crate) async fn issue(
    request: HttpRequest,
    principal: Principal,
    fanout: web::Data<Fanout>,
    tickets: web::Data<Tickets>,
) -> Result<HttpResponse, Problem> {
    principal.require_user()?;
    tickets.rate.check(&principal)?;
    check_standing(&fanout, &principal).await?;
    let record = Record {
        user_id: principal.user_id,
        company_id: principal.company_id,
        roles: principal.roles,
        token_issued_at: principal.issued_at,
        token_expires_at: principal.expires_at,
        expires_at: now().plus_ms(LIFETIME_S * 1_000),
        origin: origin(request.headers()).map(str::to_owned),
    };
    // 244 random bits.
    let ticket = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let bytes = serde_json::to_vec(&record).map_err(|_| Problem::internal())?;
    tickets.bucket.put(&ticket, bytes.into()).await.map_err(|error| {
        tracing::warn!(%error, "cannot store a ticket");
        Problem::unavailable("tickets cannot be issued at the moment; try again")
    })?;
    Ok(HttpResponse::Created()
        .insert_header(("Cache-Control", "no-store"))
        .json(Ticket { ticket, expires_in_s: LIFETIME_S }))
}
