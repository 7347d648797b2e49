//! Which events the log accepts.
//!
//! The streams say in their metadata which types and versions of events every process understands. A process that does not
//! understand all of them does not start. One that could write others, because it is newer than the rest, is refused: it
//! gets ahead of no reader. An operator accepts its events after all processes were upgraded.

use super::context;
use super::provision::{ProvisionError, metadata, server};
use async_nats::jetstream::{self, response::Response};
use futures_util::future::BoxFuture;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use waybill_schema::{Event, Partitions, names};

/// Where a stream says which events it accepts: `UploadStarted.2,FileDeleted.1`, and so on.
const EVENTS_KEY: &str = "waybill.events";

/// How long an answer counts before the stream is asked again about an event that it did not accept.
const ASK_AGAIN: Duration = Duration::from_secs(1);

type Kinds = BTreeSet<(String, u16)>;

/// Returns what this build can read.
fn known() -> Kinds {
    Event::CATALOGUE.iter().map(|(name, version)| ((*name).to_owned(), *version)).collect()
}

/// Returns what this build writes: the newest version of each type.
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

/// Keeps the last answer of each partition's stream to the question which events it accepts.
#[derive(Clone, Debug, Default)]
pub(super) struct Vocabulary(Arc<Mutex<BTreeMap<u32, Answer>>>);

#[derive(Debug)]
struct Answer {
    /// `None` if the stream does not say.
    accepted: Option<Kinds>,
    at: Instant,
}

impl Answer {
    fn accepts(&self, (name, version): (&str, u16)) -> bool {
        let is_it = |kind: &(String, u16)| kind.0 == name && kind.1 == version;
        self.accepted.as_ref().is_none_or(|accepted| accepted.iter().any(is_it))
    }
}

impl Vocabulary {
    /// Asks all streams, and checks that this build can read what they accept.
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

    /// Returns whether the stream has never answered. The append itself then finds why; otherwise the stream did not accept the
    /// event when it answered last.
    pub(super) fn is_unasked(&self, partition: u32) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&partition)
    }

    /// Returns whether the log accepts an event. Asks the stream again if it did not by the last answer.
    pub(super) async fn accepts(&self, context: &jetstream::Context, partition: u32, event: &Event) -> bool {
        let wanted = (event.event_type(), event.version());
        {
            let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(answer) = answers.get(&partition) {
                let is_accepted = answer.accepts(wanted);
                if is_accepted || answer.at.elapsed() < ASK_AGAIN {
                    return is_accepted;
                }
            }
        }
        match accepted(context, partition).await {
            Ok(accepted) => {
                let answer = Answer { accepted, at: Instant::now() };
                let is_accepted = answer.accepts(wanted);
                self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, answer);
                is_accepted
            }
            Err(_) => self.is_unasked(partition),
        }
    }
}

/// Returns what a partition's stream accepts; `None` if it does not say.
async fn accepted(context: &jetstream::Context, partition: u32) -> Result<Option<Kinds>, ProvisionError> {
    Ok(metadata(context, partition, EVENTS_KEY).await?.map(|text| from_text(&text)))
}

/// Checks that this build can read all events that the streams accept.
///
/// # Errors
/// [`ProvisionError::TooOld`] if it cannot; [`ProvisionError::Server`] if the server does not answer.
pub fn check_vocabulary(
    client: &async_nats::Client,
    partitions: Partitions,
) -> BoxFuture<'_, Result<(), ProvisionError>> {
    Box::pin(async move { Vocabulary::checked(&context(client.clone()), partitions).await.map(drop) })
}

/// Has the streams accept the events that this build writes. Without `new` only streams that do not say what they accept
/// change. Returns those events that are not accepted then.
///
/// # Errors
/// [`ProvisionError::Server`].
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
