//! Metadata of the streams of events.

use super::error::{ProvisionError, server};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::{self, ErrorCode};
use waybill_schema::{Partitions, names};

/// Key in the metadata of a stream with the number of partitions.
const PARTITIONS_KEY: &str = "waybill.partitions";

/// Returns the number of partitions of the existing streams, or `None` if there are no streams yet.
pub(super) async fn found_partitions(context: &jetstream::Context) -> Result<Option<u32>, ProvisionError> {
    Ok(metadata(context, 0, PARTITIONS_KEY).await?.and_then(|count| count.parse().ok()))
}

/// Checks the number of partitions in the metadata of the streams. With another number, events would be searched in the
/// wrong streams.
pub(super) async fn check_partitions(
    context: &jetstream::Context,
    partitions: Partitions,
) -> Result<(), ProvisionError> {
    match found_partitions(context).await? {
        Some(found) if found != partitions.count() => {
            Err(ProvisionError::Partitions { found, wanted: partitions.count() })
        }
        _ => Ok(()),
    }
}

/// Returns the value of a key in the metadata of the stream of a partition. Returns `None` if the stream or the key
/// does not exist.
pub(super) async fn metadata(
    context: &jetstream::Context,
    partition: u32,
    key: &str,
) -> Result<Option<String>, ProvisionError> {
    let name = names::event_stream(partition);
    match context.get_stream(&name).await {
        Ok(stream) => Ok(stream.cached_info().config.metadata.get(key).cloned()),
        Err(error) if matches!(error.kind(), GetStreamErrorKind::JetStream(ref e) if e.error_code() == ErrorCode::STREAM_NOT_FOUND) => {
            Ok(None)
        }
        Err(error) => Err(server(&name, error)),
    }
}
