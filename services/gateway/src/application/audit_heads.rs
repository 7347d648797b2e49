//! Signed heads of the audit in the object store. Each is an object of its own, which Waybill never changes or deletes. If
//! the bucket has Object Lock, nobody can.

use crate::application::gateway::Gateway;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use waybill_api::audit::SignedHead;
use waybill_object_store::StoreError;
use waybill_schema::{CompanyId, Timestamp, names};

/// Maximum size of a stored head in bytes. A head has at most 64 hashes.
const HEAD_MAX: u64 = 16 * 1_024;

/// Number of heads that are searched for one from which the tree can grow.
const RECENT: usize = 8;

/// Number of heads that are read at a time.
const AT_ONCE: usize = 16;

/// Returns the newest head of a company that is signed with a key of this installation, among the newest [`RECENT`].
pub(crate) async fn newest(gateway: &Gateway, company: CompanyId) -> Result<Option<SignedHead>, StoreError> {
    for key in gateway.store.list(&names::audit_heads_prefix(company)).await?.into_iter().take(RECENT) {
        match read(gateway, &key).await? {
            Some(found) if gateway.head_key.has_signed(&found) && found.head.company_id == company => {
                return Ok(Some(found));
            }
            _ => tracing::warn!(key, "an audit head in the object store is not signed with a known key"),
        }
    }
    Ok(None)
}

/// Heads of a company that are listed together.
pub(crate) struct Page {
    pub(crate) heads: Vec<SignedHead>,
    /// Key after which the next page begins.
    pub(crate) last: String,
}

/// Returns the key of the newest head of a company.
pub(crate) async fn newest_key(gateway: &Gateway, company: CompanyId) -> Result<Option<String>, StoreError> {
    Ok(gateway.store.list(&names::audit_heads_prefix(company)).await?.into_iter().next())
}

/// Returns the next heads of a company after a key, the newest first, or `None` if there are no more. Leaves out heads
/// before the key `from`. Does not check the signatures.
pub(crate) async fn page(
    gateway: &Gateway,
    company: CompanyId,
    from: &str,
    after: Option<&str>,
) -> Result<Option<Page>, StoreError> {
    let keys = gateway.store.list_after(&names::audit_heads_prefix(company), after).await?;
    let Some(last) = keys.last().cloned() else { return Ok(None) };
    let wanted = keys.iter().filter(|key| key.as_str() >= from);
    let found = stream::iter(wanted).map(|key| read(gateway, key)).buffered(AT_ONCE);
    let heads = found.try_filter_map(async |head| Ok(head)).try_collect().await?;
    Ok(Some(Page { heads, last }))
}

/// Stores a head that was signed at `time`, locked until `until` in seconds since 1970.
pub(crate) async fn store(
    gateway: &Gateway,
    head: &SignedHead,
    time: Timestamp,
    until: Option<i64>,
) -> Result<(), StoreError> {
    let key = names::audit_head_key(head.head.company_id, time);
    let Ok(mut bytes) = serde_json::to_vec(head) else { return Ok(()) };
    // Joined objects are a file with one head per line.
    bytes.push(b'\n');
    gateway.store.put_locked(&key, bytes.into(), until).await
}

/// Reads a head. Returns `None` if the object is not a head.
async fn read(gateway: &Gateway, key: &str) -> Result<Option<SignedHead>, StoreError> {
    let bytes = gateway.store.get(key, 0, Some(HEAD_MAX)).await?.collect().await?;
    let head = serde_json::from_slice(&bytes).ok();
    if head.is_none() {
        tracing::warn!(key, "an object under the prefix of audit heads is not a head");
    }
    Ok(head)
}
