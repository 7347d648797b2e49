//! Types and versions of events that the log accepts.
//!
//! The metadata of the streams lists the types and versions that all processes understand. A process that does not
//! understand all of them does not start. A newer process cannot append other events, because older processes could not
//! read them. An operator enables the new events after all processes were upgraded.

use super::context;
use super::error::{ProvisionError, server};
use super::metadata::metadata;
use async_nats::jetstream::{self, response::Response};
use futures_util::future::BoxFuture;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use waybill_schema::{Event, Partitions, names};

/// Key in the metadata of a stream with the accepted events, for example `UploadStarted.2,FileDeleted.1`.
const EVENTS_KEY: &str = "waybill.events";

/// Minimum time between two requests to a stream about events that it did not accept.
const ASK_AGAIN: Duration = Duration::from_secs(1);

type Kinds = BTreeSet<(String, u16)>;

/// Returns the events that this build can read.
fn known() -> Kinds {
    Event::catalogue().map(|(name, version)| (name.to_owned(), version)).collect()
}

/// Returns the events that this build writes: the newest version of each type.
fn written() -> Kinds {
    let mut newest: BTreeMap<String, u16> = BTreeMap::new();
    for (name, version) in known() {
        let of = newest.entry(name).or_default();
        *of = version.max(*of);
    }
    newest.into_iter().collect()
}

fn to_text(kinds: &Kinds) -> String {
    let texts: Vec<String> = kinds.iter().map(|(name, version)| format!("{name}.{version}")).collect();
    texts.join(",")
}

fn from_text(text: &str) -> Kinds {
    let kind = |text: &str| {
        let (name, version) = text.split_once('.')?;
        Some((name.to_owned(), version.parse().ok()?))
    };
    text.split(',').filter_map(kind).collect()
}

/// Remembers the accepted events from the last answer of each stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Vocabulary(Arc<Mutex<BTreeMap<u32, Answer>>>);

#[derive(Debug)]
struct Answer {
    /// Accepted events. `None` if the metadata of the stream does not list any; the stream then accepts all events.
    accepted: Option<Kinds>,
    at: Instant,
}

/// Version of an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version {
    pub(super) event_type: &'static str,
    pub(super) version: u16,
}

impl Answer {
    fn accepts(&self, event: Version) -> bool {
        let is_it = |kind: &(String, u16)| kind.0 == event.event_type && kind.1 == event.version;
        self.accepted.as_ref().is_none_or(|accepted| accepted.iter().any(is_it))
    }
}

impl Vocabulary {
    /// Reads the accepted events of all streams, and checks that this build can read them.
    pub(super) async fn checked(context: &jetstream::Context, partitions: Partitions) -> Result<Self, ProvisionError> {
        let known = known();
        let mut answers = BTreeMap::new();
        for partition in partitions.all() {
            let accepted = accepted(context, partition).await?;
            let unknown: Kinds = accepted.iter().flatten().filter(|kind| !known.contains(*kind)).cloned().collect();
            if !unknown.is_empty() {
                return Err(ProvisionError::TooOld { events: to_text(&unknown) });
            }
            answers.insert(partition, Answer { accepted, at: Instant::now() });
        }
        Ok(Self(Arc::new(Mutex::new(answers))))
    }

    /// Returns `true` if the stream has never answered. The append itself then fails with the reason. `false` means
    /// that the last answer of the stream did not accept the event.
    pub(super) fn is_unasked(&self, partition: u32) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&partition)
    }

    /// Returns `true` if the log accepts an event. If the last answer of the stream does not contain the event, the
    /// stream is asked again.
    pub(super) async fn accepts(&self, context: &jetstream::Context, partition: u32, event: Version) -> bool {
        {
            let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(answer) = answers.get(&partition) {
                let is_accepted = answer.accepts(event);
                if is_accepted || answer.at.elapsed() < ASK_AGAIN {
                    return is_accepted;
                }
            }
        }
        match accepted(context, partition).await {
            Ok(accepted) => {
                let answer = Answer { accepted, at: Instant::now() };
                let is_accepted = answer.accepts(event);
                self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, answer);
                is_accepted
            }
            Err(_) => self.is_unasked(partition),
        }
    }
}

/// Returns the events that the stream of a partition accepts, or `None` if its metadata does not list any.
async fn accepted(context: &jetstream::Context, partition: u32) -> Result<Option<Kinds>, ProvisionError> {
    Ok(metadata(context, partition, EVENTS_KEY).await?.map(|text| from_text(&text)))
}

/// Checks that this build can read all events that the streams accept.
///
/// # Errors
/// [`ProvisionError::TooOld`] if it cannot read them, [`ProvisionError::Server`] if the server does not answer.
pub fn check_vocabulary(
    client: &async_nats::Client,
    partitions: Partitions,
) -> BoxFuture<'_, Result<(), ProvisionError>> {
    Box::pin(async move { Vocabulary::checked(&context(client.clone()), partitions).await.map(drop) })
}

/// Lets the streams accept the events that this build writes. If `new` is `false`, only streams whose metadata does not
/// list any events are changed. Returns the events that are still not accepted.
///
/// # Errors
/// [`ProvisionError::Server`] if the server refuses the change or does not answer.
pub fn accept_events(
    client: &async_nats::Client,
    partitions: Partitions,
    new: bool,
) -> BoxFuture<'_, Result<Vec<String>, ProvisionError>> {
    Box::pin(async move {
        let context = context(client.clone());
        let mut missing = BTreeSet::new();
        for partition in partitions.all() {
            let before = accepted(&context, partition).await?;
            let lacking: Kinds = written().difference(before.as_ref().unwrap_or(&Kinds::new())).cloned().collect();
            if lacking.is_empty() {
                continue;
            }
            if new || before.is_none() {
                let all: Kinds = before.unwrap_or_default().union(&lacking).cloned().collect();
                set_accepted(&context, partition, &all).await?;
            } else {
                missing.extend(lacking.into_iter().map(|(name, version)| format!("{name}.{version}")));
            }
        }
        Ok(missing.into_iter().collect())
    })
}

async fn set_accepted(context: &jetstream::Context, partition: u32, kinds: &Kinds) -> Result<(), ProvisionError> {
    let name = names::event_stream(partition);
    let failed = |error: &dyn std::fmt::Display| server(&name, error);
    let answer: Response<Value> =
        context.request(format!("STREAM.INFO.{name}"), &serde_json::json!({})).await.map_err(|error| failed(&error))?;
    let mut config = match answer {
        Response::Ok(mut info) => info["config"].take(),
        Response::Err { error } => return Err(failed(&error)),
    };
    config["metadata"][EVENTS_KEY] = Value::String(to_text(kinds));
    let answer: Response<Value> =
        context.request(format!("STREAM.UPDATE.{name}"), &config).await.map_err(|error| failed(&error))?;
    match answer {
        Response::Ok(_) => Ok(()),
        Response::Err { error } => Err(failed(&error)),
    }
}
