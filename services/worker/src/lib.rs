//! The worker. It writes bytes from gateways to the object store (the data plane) and reacts to events: it completes
//! objects, verifies their digests, settles reservations and deletes objects that are no longer needed.
//!
//! Workers share only NATS, PostgreSQL and the object store. A worker can rebuild everything that another worker keeps
//! in memory about an upload from the log and from the `midstates` bucket.

mod contents;
mod data_plane;
mod deletions;
mod file_hash;
mod hashing;
mod keys;
mod leftovers;
mod links;
mod metrics;
pub mod parked;
mod reactions;
mod rooms;
mod server;
mod settings;
mod sniff;
mod space;
mod sweep;

pub use server::{Config, Server, StartError};
pub use settings::WorkerSettings;

use std::sync::Arc;
use waybill_access::Policies;
use waybill_cache::Cache;
use waybill_event_log::{Bucket, EventLog, Signals};
use waybill_object_store::{ObjectStore, ReadAhead};
use waybill_read_model::Database;
use waybill_repository::{Context, Repository};
use waybill_schema::{Actor, Causation, Position, WorkerId};
use waybill_service_kit::now;
use waybill_service_kit::places::Places;

/// Connections, caches and limits that all parts of a worker use.
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    pub(crate) nats: async_nats::Client,
    /// Signals of newer requests for an upload.
    pub(crate) signals: Arc<dyn Signals>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) midstates: Bucket,
    pub(crate) repository: Arc<Repository>,
    pub(crate) space: space::Space,
    pub(crate) contents: contents::Contents,
    pub(crate) leftovers: Bucket,
    pub(crate) deletions: deletions::Deletions,
    pub(crate) parked: Bucket,
    pub(crate) failures: reactions::Failures,
    pub(crate) database: Database,
    pub(crate) policies: Policies,
    pub(crate) settings: WorkerSettings,
    pub(crate) uploads: data_plane::Uploads,
    pub(crate) budget: data_plane::Budget,
    pub(crate) pace: data_plane::Pace,
    pub(crate) read_ahead: ReadAhead,
    pub(crate) awaited: reactions::Awaited,
    /// Places for reactions that read or write large objects.
    pub(crate) long: Arc<Places>,
    /// Events whose reactions found no such place.
    pub(crate) waiting: Cache<Position, ()>,
}

impl Worker {
    /// Returns the context of an event that this worker appends now because of `causation`.
    pub(crate) fn context(&self, causation: Causation) -> Context {
        Context { actor: Actor::Worker(self.id), causation, address: None, clock: now }
    }
}
