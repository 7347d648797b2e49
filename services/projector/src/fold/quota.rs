//! `storage_quota` and `quota_reservation`.

use super::convert::{big, id_of_quota, time_of};
use super::{Misfit, Tables};
use chrono::{DateTime, Utc};
use waybill_read_model::rows::{QuotaReservationRow, StorageQuotaRow};
use waybill_schema::events::ReleasedFrom;
use waybill_schema::{CompanyId, Event};

pub(super) fn fold(tables: &mut Tables, company: CompanyId, event: &Event, time: DateTime<Utc>) -> Result<(), Misfit> {
    if let Event::QuotaLimitSet(set) = event {
        let added = tables.quotas.add(new_quota(company, set.storage_limit_bytes, time));
        if added {
            return Ok(());
        }
    }
    let quota = tables.quotas.change(company.0)?;
    quota.updated_at = time;
    quota.last_calculated_at = time;
    match event {
        Event::QuotaLimitSet(set) => quota.storage_limit_bytes = big(set.storage_limit_bytes),
        Event::QuotaReserved(reserved) => {
            for item in &reserved.items {
                quota.storage_reserved_bytes += big(item.bytes_total);
                tables.reservations.add(QuotaReservationRow {
                    upload_id: item.upload_id.0,
                    company_id: company.0,
                    upload_session_id: item.session_id.map(|id| id.0),
                    bytes_total: big(item.bytes_total),
                    reserved_until: time_of(reserved.until),
                    settled: false,
                });
            }
        }
        Event::QuotaCommitted(committed) => {
            quota.storage_reserved_bytes -= big(committed.bytes_reserved);
            quota.storage_used_bytes += big(committed.bytes_used);
            quota.file_count += 1;
            tables.reservations.change(committed.upload_id.0)?.settled = true;
        }
        Event::QuotaReleased(released) => match released.from {
            ReleasedFrom::Reserved => {
                quota.storage_reserved_bytes -= big(released.bytes);
                tables.reservations.change(released.upload_id.0)?.settled = true;
            }
            ReleasedFrom::Used => {
                quota.storage_used_bytes -= big(released.bytes);
                quota.file_count -= 1;
            }
        },
        _ => {}
    }
    Ok(())
}

fn new_quota(company: CompanyId, limit_bytes: u64, time: DateTime<Utc>) -> StorageQuotaRow {
    StorageQuotaRow {
        id: id_of_quota(company),
        company_id: company.0,
        storage_limit_bytes: big(limit_bytes),
        storage_used_bytes: 0,
        storage_reserved_bytes: 0,
        file_count: 0,
        last_calculated_at: time,
        created_at: time,
        updated_at: time,
    }
}
