//! Budget of event bytes per user and company. Events are never deleted and do not count towards the quota, so that a
//! user may not write any number of them.
//!
//! A command costs the bytes that it can add to the log. Plain uploads cost nothing, because the quota limits them; only
//! descriptions that are longer than usual do.

use crate::http::openapi::RouteProperties;
use crate::metrics::{BUDGET_REFUSALS, BUDGETED_BYTES};
use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, TRANSFER_ENCODING};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::num::NonZeroU32;
use std::time::Duration;
use waybill_http_kit::{Principal, Problem};
use waybill_schema::ErrorCode;
use waybill_schema::{CompanyId, UserId};
use waybill_service_kit::Shutdown;

/// Interval at which the budgets of inactive users and companies are forgotten.
const TIDY: Duration = Duration::from_secs(30);

/// Cost of a command in bytes, in addition to its description: the envelope and the ids of its event.
const COMMAND: u64 = 512;

/// Bytes of the description of an upload that cost nothing.
const USUAL_DESCRIPTION: u64 = 2_048;

/// Maximum number of bytes of a description: of a JSON body, or of the metadata in a form.
const JSON_MAX: u64 = 64 * 1_024;
const FORM_MAX: u64 = 8 * 1_024;

/// Number of users whose budgets a company has.
const USERS: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// Budget of a user. A company has ten times as much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventRates {
    /// Bytes per second.
    pub(crate) per_second: NonZeroU32,
    /// Bytes that can be used at once after a pause.
    pub(crate) burst: NonZeroU32,
}

/// Enforces the budgets of this gateway.
pub(crate) struct EventBudget {
    users: DefaultKeyedRateLimiter<(CompanyId, UserId)>,
    companies: DefaultKeyedRateLimiter<CompanyId>,
    burst: NonZeroU32,
}

impl EventBudget {
    pub(crate) fn new(rates: EventRates) -> Self {
        let EventRates { per_second, burst } = rates;
        let of_company = Quota::per_second(per_second.saturating_mul(USERS)).allow_burst(burst.saturating_mul(USERS));
        Self {
            users: RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst)),
            companies: RateLimiter::keyed(of_company),
            burst,
        }
    }

    /// Takes the cost of a request from the budgets of the user and of the company.
    ///
    /// # Errors
    /// 429 `event_budget_exhausted`.
    pub(crate) fn charge(&self, principal: &Principal, cost: u64) -> Result<(), Problem> {
        let cost = u32::try_from(cost).unwrap_or(u32::MAX).min(self.burst.get());
        let Some(cost) = NonZeroU32::new(cost) else { return Ok(()) };
        let wait_s = |until: governor::NotUntil<_>| until.wait_time_from(DefaultClock::default().now()).as_secs() + 1;
        let company = principal.company_id;
        // The cost is at most the burst, so that the outer result is not an error.
        if let Ok(Err(until)) = self.users.check_key_n(&(company, principal.counted_as()), cost) {
            BUDGET_REFUSALS.with_label_values(&["user"]).inc();
            return Err(exhausted("you have", wait_s(until)));
        }
        if let Ok(Err(until)) = self.companies.check_key_n(&company, cost) {
            BUDGET_REFUSALS.with_label_values(&["company"]).inc();
            return Err(exhausted("your company has", wait_s(until)));
        }
        BUDGETED_BYTES.inc_by(u64::from(cost.get()));
        Ok(())
    }

    /// Forgets users and companies with a full budget regularly, until shutdown.
    pub(crate) async fn tidy(&self, shutdown: Shutdown) {
        while shutdown.unless(tokio::time::sleep(TIDY)).await.is_some() {
            self.users.retain_recent();
            self.companies.retain_recent();
        }
    }
}

fn exhausted(who: &str, wait_s: u64) -> Problem {
    let detail = format!("{who} sent too many changes and too much metadata; wait for the time in Retry-After");
    let retry_after_s = Some(u32::try_from(wait_s).unwrap_or(u32::MAX));
    Problem { retry_after_s, ..Problem::new(429, ErrorCode::EventBudgetExhausted, detail) }
}

/// Returns the cost of a request in bytes.
pub(crate) fn cost_of(request: &ServiceRequest, route: RouteProperties) -> u64 {
    let method = request.method();
    if !matches!(*method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE) {
        return 0;
    }
    let headers = request.headers();
    let length = |name: HeaderName| headers.get(name).map_or(0, |value| value.len() as u64);
    let body = match headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok()) {
        Some(bytes) => bytes,
        None if headers.contains_key(TRANSFER_ENCODING) => JSON_MAX,
        None => 0,
    };
    let is_form = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"multipart/"));
    let described = match (route.takes_bytes, is_form) {
        (true, false) => length(HeaderName::from_static("upload-metadata")),
        (true, true) => u64::min(body, FORM_MAX),
        (false, _) => u64::min(body, JSON_MAX),
    };
    let described = described + request.query_string().len() as u64;
    if (route.takes_bytes || route.is_upload) && *method != Method::DELETE {
        described.saturating_sub(USUAL_DESCRIPTION)
    } else {
        COMMAND + described
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn cost(request: TestRequest, route: RouteProperties) -> u64 {
        cost_of(&request.to_srv_request(), route)
    }

    #[test]
    fn plain_uploads_cost_nothing_and_commands_cost_their_bytes() {
        let bytes = RouteProperties { takes_bytes: true, ..RouteProperties::default() };
        let upload = RouteProperties { is_upload: true, ..RouteProperties::default() };
        let other = RouteProperties::default();
        let of = |method: Method, length: u64| {
            TestRequest::default().method(method).insert_header(("Content-Length", length))
        };
        assert_eq!(cost(of(Method::PUT, 1 << 30), bytes), 0);
        assert_eq!(cost(of(Method::POST, 300), upload), 0);
        assert_eq!(cost(of(Method::POST, 8_192), upload), 8_192 - USUAL_DESCRIPTION);
        assert_eq!(cost(of(Method::DELETE, 0), upload), COMMAND);
        assert_eq!(cost(of(Method::PATCH, 8_192), other), COMMAND + 8_192);
        assert_eq!(cost(of(Method::GET, 0), other), 0);
        let metadata = of(Method::POST, 0).insert_header(("Upload-Metadata", "a".repeat(8_192)));
        assert_eq!(cost(metadata, bytes), 8_192 - USUAL_DESCRIPTION);
        let form = of(Method::POST, 1 << 30).insert_header(("Content-Type", "multipart/form-data; boundary=x"));
        assert_eq!(cost(form, bytes), FORM_MAX - USUAL_DESCRIPTION);
        let chunked = TestRequest::default().method(Method::PATCH).insert_header(("Transfer-Encoding", "chunked"));
        assert_eq!(cost(chunked, other), COMMAND + JSON_MAX);
    }

    #[test]
    fn a_user_waits_and_a_company_has_ten_budgets() {
        let one = |n: u32| NonZeroU32::new(n).unwrap();
        let budget = EventBudget::new(EventRates { per_second: one(1), burst: one(1_000) });
        let company_id = CompanyId(uuid::Uuid::from_u128(1));
        let user = |n: u128| Principal {
            link: None,
            issued_at: None,
            company_id,
            user_id: UserId(uuid::Uuid::from_u128(n)),
            roles: Vec::new(),
            expires_at: waybill_schema::Timestamp(i64::MAX),
        };
        assert!(budget.charge(&user(1), 1_000).is_ok());
        let refused = budget.charge(&user(1), 500).unwrap_err();
        assert_eq!((refused.status, refused.code), (429, ErrorCode::EventBudgetExhausted));
        assert!(refused.retry_after_s.is_some_and(|s| (400..=501).contains(&s)), "{refused:?}");
        assert!(budget.charge(&user(1), 0).is_ok());
        for n in 2..=10 {
            assert!(budget.charge(&user(n), 1_000).is_ok());
        }
        assert!(budget.charge(&user(11), 1_000).is_err());
    }
}
