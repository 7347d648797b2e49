//! The fan-out: `GET /v1/progress`, the WebSocket protocol `waybill.v1`. Every event of the log goes to whoever watches
//! what it is about: transitions each for itself, progress as its newest value.

mod access;
mod clients;
mod connection;
mod guard;
mod hub;
mod live;
mod outbox;
mod protocol;
mod server;
mod snapshot;
mod subscriptions;
mod ticket;
mod timing;
mod wish;

pub use server::{Config, Server, StartError, api};
