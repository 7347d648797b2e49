//! The gateway: the HTTP API for clients. It decides commands and appends their events to the log, streams bytes to a
//! worker, and answers queries from the read model.

mod admission;
mod api;
mod associations;
mod audit;
mod audit_export;
mod content;
mod cursor;
mod digest;
mod direct;
mod directory;
mod files;
mod gateway;
mod growing;
mod idempotency;
mod json;
mod key_budget;
mod metadata;
mod position;
mod problems;
mod quota;
mod rates;
mod registration;
mod reserve;
mod resumable;
mod server;
mod sessions;
mod tokens;
mod trail;
mod turns;
mod uploads;
mod wait;
mod workers;

pub use api::openapi;
pub use rates::Rates;
pub use server::{Config, Routes, Server, StartError, Workers};
pub use workers::WorkerUrlError;
