//! Times of the sweep, and the aggregates of its candidates.

use chrono::{DateTime, Duration as Span, Utc};
use std::time::Duration;
use waybill_read_model::queries::Overdue;
use waybill_repository::UploadAggregate;
use waybill_service_kit::now;

pub(super) fn time_now() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(now().0).unwrap_or_default()
}

pub(super) fn before_now(span: Duration) -> DateTime<Utc> {
    time_now() - Span::from_std(span).unwrap_or_default()
}

pub(super) fn aggregate(overdue: Overdue) -> UploadAggregate {
    UploadAggregate { company: overdue.company_id, upload: overdue.upload_id }
}
