//! Pages of the candidates of the sweep, and the shares in which processes search for them.

use super::{Planning, load_planned};
use crate::ReadModelError;
use crate::statement::{Bind, Statement};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel_async::AsyncPgConnection;
use std::num::NonZeroU32;
use uuid::Uuid;
use waybill_schema::{CompanyId, UploadId, UploadStatus};

/// Place of a candidate in the order of its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The time by which candidates are ordered.
    pub time: DateTime<Utc>,
    /// Id.
    pub id: Uuid,
}

/// One of several equal shares of all candidates. The hash of a candidate's id determines its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Index of the share, from 0.
    pub rank: u32,
    /// Number of shares.
    pub of: NonZeroU32,
}

impl Default for Share {
    fn default() -> Self {
        Self { rank: 0, of: NonZeroU32::MIN }
    }
}

impl Share {
    /// Returns `true` if the item with this number belongs to this share.
    pub fn has(self, number: u64) -> bool {
        number % u64::from(self.of.get()) == u64::from(self.rank)
    }

    /// Returns the SQL condition on the column `id` for this share. It uses a hash, because host products choose the
    /// ids of companies and these need not be random.
    pub(super) fn condition(self, id: &str) -> (String, Vec<Named>) {
        if self.of == NonZeroU32::MIN {
            return (String::new(), Vec::new());
        }
        let text = format!("AND (uuid_hash({id}) & 2147483647) % :shares = :share");
        let signed = |number: u32| Bind::Integer(i32::try_from(number).unwrap_or(i32::MAX));
        (text, vec![("shares", signed(self.of.get())), ("share", signed(self.rank))])
    }
}

/// Selects a batch of candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Only candidates after this place.
    pub after: Place,
    /// Maximum number of candidates.
    pub limit: i64,
    /// Only candidates of this share.
    pub share: Share,
}

impl Page {
    /// Returns the values of `:after_time`, `:after_id` and `:limit`.
    pub(super) fn binds(self) -> [Named; 3] {
        [
            ("after_time", Bind::Time(self.after.time)),
            ("after_id", Bind::Uuid(self.after.id)),
            ("limit", Bind::BigInt(self.limit)),
        ]
    }
}

/// A candidate of the sweep: an upload or a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// The company.
    pub company_id: CompanyId,
    /// Id of the upload or file.
    pub upload_id: UploadId,
    /// Place among the candidates.
    pub place: Place,
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = diesel::sql_types::Uuid)]
    company_id: Uuid,
    #[diesel(sql_type = diesel::sql_types::Uuid)]
    id: Uuid,
    #[diesel(sql_type = diesel::sql_types::Timestamptz)]
    time: DateTime<Utc>,
}

fn overdue(Found { company_id, id, time }: Found) -> Overdue {
    Overdue { company_id: CompanyId(company_id), upload_id: UploadId(id), place: Place { time, id } }
}

/// Rows that are candidates.
pub(super) struct Candidates {
    /// Table with the columns `company_id` and [`Candidates::id`].
    pub(super) table: &'static str,
    /// Column with the id.
    pub(super) id: &'static str,
    /// Indexed column by which the candidates are ordered.
    pub(super) time: &'static str,
    /// SQL condition on the table `t`.
    pub(super) condition: String,
}

/// Returns the statuses as a list of SQL literals. The partial indexes for the sweep need literals, because PostgreSQL
/// cannot know at planning time that a parameter fits their condition.
pub(super) fn literals(statuses: &[UploadStatus]) -> String {
    statuses.iter().map(|status| format!("'{}'", status.as_str())).collect::<Vec<_>>().join(", ")
}

/// A value of a statement with its name.
pub(super) type Named = (&'static str, Bind);

/// Returns a page of candidates. `binds` are the values of the names in their condition.
pub(super) async fn find(
    connection: &mut AsyncPgConnection,
    operation: &'static str,
    candidates: Candidates,
    binds: Vec<Named>,
    page: Page,
) -> Result<Vec<Overdue>, ReadModelError> {
    let Candidates { table, id, time, condition } = candidates;
    let (ours, share) = page.share.condition(&format!("t.{id}"));
    let text = format!(
        "SELECT t.company_id, t.{id} AS id, t.{time} AS time FROM {table} t \
         WHERE {condition} {ours} AND (t.{time}, t.{id}) > (:after_time, :after_id) ORDER BY t.{time}, t.{id} LIMIT :limit"
    );
    let statement = Statement::new(&text, binds.into_iter().chain(share).chain(page.binds()));
    let found: Vec<Found> = load_planned(connection, statement, Planning::ForValues, None, operation).await?;
    Ok(found.into_iter().map(overdue).collect())
}
