//! A whole Waybill for one test, on servers of its own: its roles in this process ([`Stack`]), or each as a process
//! that can be killed ([`Cluster`]).

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot get its Waybill ends with the reason")]

mod backing;
mod balancer;
mod client;
mod cluster;
mod command_line;
mod process;
mod stack;
mod store_front;

pub use backing::{Backing, servers_in};
pub use balancer::Valve;
pub use client::{Answer, Client};
pub use cluster::{Cluster, Counts, Ways};
pub use command_line::CommandLine;
pub use process::{Process, free_addr};
pub use stack::{Options, Shape, Stack};
pub use store_front::{Fault, Request, StoreFront};
