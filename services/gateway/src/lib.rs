//! The gateway: the HTTP API for clients. It decides commands and appends their events to the log, streams bytes to a
//! worker, and answers queries from the read model.
//!
//! It has three layers: `routes` reads requests and builds responses, `application` does the work for all
//! protocols, and `http` contains what both need to speak HTTP. A layer uses only the layers below it.

mod admission;
mod application;
mod http;
mod metrics;
mod routes;
mod server;
mod settings;
mod workers;

pub use application::media::keys::{MediaKey, MediaKeys};
pub use routes::openapi;
pub use server::{Config, HostListener, Routes, Server, StartError, Workers};
pub use settings::{GatewaySecrets, GatewaySettings};
pub use workers::WorkerUrlError;
