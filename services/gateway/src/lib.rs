//! The gateway: HTTP for clients. Commands are decided on events and appended; bytes are streamed on to a worker;
//! queries are answered from the read models.

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

pub use rates::Rates;
pub use server::{Config, Routes, Server, StartError, Workers};
pub use workers::WorkerUrlError;
