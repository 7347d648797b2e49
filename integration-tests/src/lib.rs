//! A complete Waybill for one test, on its own servers. The roles run in the process of the test ([`Stack`]), or each
//! as a process that a test can kill ([`Cluster`]).

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot start Waybill panics with the reason")]

mod authority;
mod backing;
mod balancer;
mod client;
mod cluster;
mod command_line;
mod edge;
mod media_edge;
mod process;
mod redis;
mod stack;
mod store_front;

pub use authority::Authority;
pub use backing::{Backing, TOKEN_SECRET, authenticator, servers_in};
pub use balancer::Valve;
pub use client::{Answer, Client};
pub use cluster::{Cluster, Counts, Ways};
pub use command_line::CommandLine;
pub use media_edge::{MediaEdge, NginxCache};
pub use process::{Process, free_addr};
pub use redis::RedisServer;
pub use stack::{Options, Shape, Stack};
pub use store_front::{Fault, Request, StoreFront};
