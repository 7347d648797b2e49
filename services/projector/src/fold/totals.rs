//! Folds `file_total`: the space that the files of a company occupy according to the events of the files. The sweep
//! compares it with the quota, which is folded from other events.

use super::convert::big;
use super::misfit::Misfit;
use super::tables::Tables;
use chrono::{DateTime, Utc};
use uuid::Uuid;
use waybill_read_model::rows::{FileRow, FileTotalRow};
use waybill_schema::events::ReleasedItem;

/// Folds one event about a file with `fold`, and updates the totals of the company.
pub(super) fn follow(
    tables: &mut Tables,
    company: Uuid,
    file: Uuid,
    fold: impl FnOnce(&mut Tables) -> Result<(), Misfit>,
) -> Result<(), Misfit> {
    let before = Place::of(tables.files.get(file));
    fold(tables)?;
    let after = Place::of(tables.files.get(file));
    if before == after {
        return Ok(());
    }
    let total = total_of(tables, company)?;
    before.count(total, -1);
    after.count(total, 1);
    if let Place::Releasing { purged_at, .. } = after {
        total.last_purged_at = Some(purged_at);
    }
    Ok(())
}

/// Subtracts purged files whose space was released from the quota.
pub(super) fn released(tables: &mut Tables, company: Uuid, items: &[ReleasedItem]) -> Result<(), Misfit> {
    let total = total_of(tables, company)?;
    for item in items {
        total.releasing_bytes -= big(item.bytes);
        total.releasing_count -= 1;
    }
    Ok(())
}

/// The totals in which a file counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The file is not verified, or does not exist.
    Nowhere,
    /// The file counts in `file_bytes`.
    Kept { bytes: i64 },
    /// The file is purged, but its space is not released yet.
    Releasing { bytes: i64, purged_at: DateTime<Utc> },
}

impl Place {
    fn of(file: Option<&FileRow>) -> Self {
        match file {
            Some(file) if file.is_processed => match file.purged_at {
                None => Self::Kept { bytes: file.size_bytes },
                Some(purged_at) => Self::Releasing { bytes: file.size_bytes, purged_at },
            },
            _ => Self::Nowhere,
        }
    }

    fn count(self, total: &mut FileTotalRow, times: i64) {
        match self {
            Self::Nowhere => {}
            Self::Kept { bytes } => {
                total.file_bytes += times * bytes;
                total.file_count += times;
            }
            Self::Releasing { bytes, .. } => {
                total.releasing_bytes += times * bytes;
                total.releasing_count += times;
            }
        }
    }
}

fn total_of(tables: &mut Tables, company: Uuid) -> Result<&mut FileTotalRow, Misfit> {
    tables.totals.add(FileTotalRow {
        company_id: company,
        file_bytes: 0,
        file_count: 0,
        releasing_bytes: 0,
        releasing_count: 0,
        last_purged_at: None,
    });
    tables.totals.change(company)
}
