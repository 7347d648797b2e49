//! Creates the streams, buckets and consumers that `nats/` defines.

use super::context;
use super::error::{ProvisionError, invalid, server};
use super::metadata::check_partitions;
use super::vocabulary::accept_events;
use async_nats::jetstream::{self, ErrorCode, response::Response};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use waybill_schema::{Partitions, names};

const EVENT_STREAM: &str = include_str!("../../../../nats/streams/EVT.json");
const RECORD_STREAMS: [&str; 2] =
    [include_str!("../../../../nats/streams/AUD.json"), include_str!("../../../../nats/streams/ACC.json")];
const BUCKETS: [&str; 6] = [
    include_str!("../../../../nats/streams/KV_midstates.json"),
    include_str!("../../../../nats/streams/KV_idempotency.json"),
    include_str!("../../../../nats/streams/KV_snapshots.json"),
    include_str!("../../../../nats/streams/KV_tickets.json"),
    include_str!("../../../../nats/streams/KV_leftovers.json"),
    include_str!("../../../../nats/streams/KV_parked.json"),
];
const REACTIONS: &str = include_str!("../../../../nats/consumers/reactions.json");

/// Prefix of the names of the streams of buckets.
const BUCKET_STREAM: &str = "KV_";
/// Prefixes of the names of the streams that settings give a size.
const GROWING: [&str; 3] = [BUCKET_STREAM, "AUD-", "ACC-"];

/// Oldest version of nats-server with all features that Waybill uses.
const OLDEST_SERVER: (u64, u64) = (2, 14);

/// Number and size of the streams and buckets to create.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Number of partitions.
    pub partitions: Partitions,
    /// Number of replicas: 1 for one server, 3 for a cluster.
    pub replicas: usize,
    /// Maximum size in bytes of the bucket of idempotency keys.
    pub idempotency_bytes: u64,
    /// Maximum size in bytes of the records of refusals, and of the records of reads, of all partitions together.
    pub record_bytes: u64,
}

/// Smallest size in bytes of the records of a partition.
const LEAST_RECORD_BYTES: u64 = 64 << 20;

impl Layout {
    /// Returns the layout for one server, for tests and development.
    pub fn single(partitions: Partitions) -> Self {
        Self { partitions, replicas: 1, idempotency_bytes: 1 << 30, record_bytes: 1 << 30 }
    }
}

/// Creates all missing streams, buckets and consumers. Existing streams of events are not changed. Existing buckets and
/// streams of records grow to the requested size (they never shrink), and markers of deletions in buckets expire.
///
/// # Errors
/// [`ProvisionError`] if the server cannot be set up.
pub fn provision(client: &async_nats::Client, layout: Layout) -> BoxFuture<'_, Result<(), ProvisionError>> {
    Box::pin(async move {
        let partitions = layout.partitions;
        check_version(&client.server_info().version)?;
        let context = context(client.clone());
        check_partitions(&context, partitions).await?;
        for definition in definitions(layout) {
            create_stream(&context, definition).await?;
        }
        for partition in partitions.all() {
            create_reactions(&context, partition).await?;
        }
        accept_events(client, partitions, false).await.map(drop)
    })
}

/// Returns the definitions of all streams from `nats/streams`: first the buckets, then the records about
/// requests, then the events.
pub(super) fn definitions(layout: Layout) -> impl Iterator<Item = String> {
    let Layout { partitions, replicas, idempotency_bytes, record_bytes } = layout;
    let record_bytes = (record_bytes / u64::from(partitions.count())).max(LEAST_RECORD_BYTES).to_string();
    let buckets =
        BUCKETS.into_iter().map(move |bucket| bucket.replace("{idempotency_bytes}", &idempotency_bytes.to_string()));
    let events = partitions.all().map(move |partition| {
        let definition = EVENT_STREAM.replace("{p}", &partition.to_string());
        definition.replace("{partitions}", &partitions.count().to_string())
    });
    let records = partitions.all().flat_map(move |partition| {
        let bytes = record_bytes.clone();
        RECORD_STREAMS.map(|stream| stream.replace("{p}", &partition.to_string()).replace("{record_bytes}", &bytes))
    });
    buckets.chain(records).chain(events).map(move |definition| definition.replace("{replicas}", &replicas.to_string()))
}

fn check_version(version: &str) -> Result<(), ProvisionError> {
    if is_new_enough(version) { Ok(()) } else { Err(ProvisionError::ServerTooOld { found: version.to_owned() }) }
}

pub(super) fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u64>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= OLDEST_SERVER
}

async fn create_stream(context: &jetstream::Context, definition: String) -> Result<(), ProvisionError> {
    let config: Value = serde_json::from_str(&definition).map_err(|error| invalid("a stream", error))?;
    let name = config["name"].as_str().unwrap_or_default().to_owned();
    let answer: Response<Value> =
        context.request(format!("STREAM.CREATE.{name}"), &config).await.map_err(|error| server(&name, error))?;
    match answer {
        Response::Ok(_) => Ok(()),
        // The stream exists with other settings. An operator may have changed them, so that they are kept.
        Response::Err { error } if error.error_code() == ErrorCode::STREAM_NAME_EXIST => {
            if GROWING.iter().any(|prefix| name.starts_with(prefix)) {
                improve(context, &name, &config).await
            } else {
                Ok(())
            }
        }
        Response::Err { error } if error.error_code() == ErrorCode::STORAGE_RESOURCES_EXCEEDED => {
            let bytes = config["max_bytes"].as_i64().unwrap_or_default();
            Err(server(
                &name,
                format!("{error}: this stream reserves {bytes} bytes; free disk space, or raise max_file_store"),
            ))
        }
        Response::Err { error } => Err(server(&name, error)),
    }
}

/// Raises the maximum size of an existing stream if necessary, and lets markers of deletions in a bucket expire.
async fn improve(context: &jetstream::Context, name: &str, wanted: &Value) -> Result<(), ProvisionError> {
    let request = |subject: &str| format!("STREAM.{subject}.{name}");
    let info: Response<Value> =
        context.request(request("INFO"), &json!({})).await.map_err(|error| server(name, error))?;
    let mut config = match info {
        Response::Ok(mut info) => info["config"].take(),
        Response::Err { error } => return Err(server(name, error)),
    };
    let before = config.clone();
    if name.starts_with(BUCKET_STREAM) {
        config["allow_msg_ttl"] = Value::Bool(true);
    }
    // A stream without a limit is always large enough.
    let found_bytes = config["max_bytes"].as_i64().filter(|bytes| *bytes > 0);
    if found_bytes.is_some_and(|found| wanted["max_bytes"].as_i64().is_some_and(|wanted| wanted > found)) {
        config["max_bytes"] = wanted["max_bytes"].clone();
    }
    if config == before {
        return Ok(());
    }
    let answer: Response<Value> =
        context.request(request("UPDATE"), &config).await.map_err(|error| server(name, error))?;
    match answer {
        Response::Ok(_) => Ok(()),
        Response::Err { error } => Err(server(name, error)),
    }
}

async fn create_reactions(context: &jetstream::Context, partition: u32) -> Result<(), ProvisionError> {
    let stream = names::event_stream(partition);
    let config: Value = serde_json::from_str(REACTIONS).map_err(|error| invalid("a consumer", error))?;
    let request = json!({ "stream_name": stream, "config": config, "action": "" });
    let subject = format!("CONSUMER.CREATE.{stream}.{}", names::REACTIONS_DURABLE);
    let answer: Response<Value> = context.request(subject, &request).await.map_err(|error| server(&stream, error))?;
    match answer {
        Response::Ok(_) => Ok(()),
        Response::Err { error } => Err(server(&format!("the reactions of {stream}"), error)),
    }
}
