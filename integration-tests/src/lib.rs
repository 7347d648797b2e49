//! A whole Waybill for one test: all roles in this process, on servers of its own.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot get its Waybill ends with the reason")]

mod client;
mod stack;

pub use client::{Answer, Client};
pub use stack::{Options, Stack};
