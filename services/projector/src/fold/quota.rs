//! Folds quota events into `storage_quota`, `quota_reservation` and the purged files in `file_total`.

use super::convert::{big, id_of_quota, time_of};
use super::misfit::Misfit;
use super::rows::Rows;
use super::tables::Tables;
use super::totals;
use chrono::{DateTime, Utc};
use waybill_read_model::rows::{QuotaReservationRow, StorageQuotaRow};
use waybill_schema::events::{QuotaEvent, ReservedItem};
use waybill_schema::{CompanyId, Timestamp, UploadId};

pub(super) fn fold(
    tables: &mut Tables,
    company: CompanyId,
    event: &QuotaEvent,
    time: DateTime<Utc>,
) -> Result<(), Misfit> {
    if let QuotaEvent::QuotaLimitSet(set) = event {
        let added = tables.quotas.add(new_quota(company, set.storage_limit_bytes, time));
        if added {
            return Ok(());
        }
    }
    let quota = tables.quotas.change(company.0)?;
    quota.updated_at = time;
    match event {
        QuotaEvent::QuotaLimitSet(set) => quota.storage_limit_bytes = big(set.storage_limit_bytes),
        QuotaEvent::QuotaReserved(reserved) => {
            for item in &reserved.items {
                quota.storage_reserved_bytes += big(item.bytes_total);
                tables.reservations.add(reservation(company, item, reserved.until));
            }
        }
        QuotaEvent::QuotaRaised(raised) if tables.reservations.get(raised.upload_id.0).is_some() => {
            let reservation = tables.reservations.change(raised.upload_id.0)?;
            quota.storage_reserved_bytes += big(raised.bytes_total) - reservation.bytes_total;
            reservation.bytes_total = big(raised.bytes_total);
        }
        QuotaEvent::QuotaTransferred(transferred) => {
            for partial in &transferred.from {
                quota.storage_reserved_bytes -= settle(&mut tables.reservations, *partial)?.unwrap_or(0);
            }
            quota.storage_reserved_bytes += big(transferred.item.bytes_total);
            tables.reservations.add(reservation(company, &transferred.item, transferred.until));
        }
        QuotaEvent::QuotaSettled(settled) => {
            for item in &settled.items {
                let Some(held) = settle(&mut tables.reservations, item.upload_id)? else { continue };
                quota.storage_reserved_bytes -= held;
                if let Some(bytes) = item.bytes_used {
                    quota.storage_used_bytes += big(bytes);
                    quota.file_count += 1;
                }
            }
        }
        // A release is decided after reading the events of the files. So each file is released once.
        QuotaEvent::QuotaReleased(released) => {
            for item in &released.items {
                match settle(&mut tables.reservations, item.file_id)? {
                    Some(held) => quota.storage_reserved_bytes -= held,
                    None => {
                        quota.storage_used_bytes -= big(item.bytes);
                        quota.file_count -= 1;
                    }
                }
            }
            totals::released(tables, company.0, &released.items)?;
        }
        QuotaEvent::QuotaRecalculated(_) => quota.last_calculated_at = time,
        QuotaEvent::QuotaUserLimitSet(_) => {}
        // The reservation is already settled.
        QuotaEvent::QuotaRaised(_) => {}
    }
    Ok(())
}

fn reservation(company: CompanyId, item: &ReservedItem, until: Timestamp) -> QuotaReservationRow {
    QuotaReservationRow {
        upload_id: item.upload_id.0,
        company_id: company.0,
        upload_session_id: item.session_id.map(|id| id.0),
        bytes_total: big(item.bytes_total),
        reserved_until: time_of(until),
    }
}

/// Ends a reservation and returns the bytes that it held. Returns `None` if it was not open.
fn settle(reservations: &mut Rows<QuotaReservationRow>, upload: UploadId) -> Result<Option<i64>, Misfit> {
    let Some(held) = reservations.get(upload.0).map(|reservation| reservation.bytes_total) else { return Ok(None) };
    reservations.remove(upload.0)?;
    Ok(Some(held))
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
