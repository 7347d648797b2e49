//! The fan-out serves `GET /v1/progress`, the WebSocket protocol `waybill.v1`. It sends each event of the log to the
//! connections that watch one of the event's topics. Each transition is sent; of progress, only the newest value is
//! sent.

mod access;
mod actix_socket;
mod admission;
mod clients;
mod concealed;
mod connection;
mod fanout;
mod guard;
mod handshake;
mod hub;
mod live;
mod outbox;
mod server;
mod settings;
mod snapshot;
mod socket;
mod subscriptions;
mod taken;
mod ticket;
mod timing;
mod wish;

pub use server::{Config, Server, StartError, api};
pub use settings::FanoutSettings;
