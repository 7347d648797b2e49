//! Tests that stored data stays readable: golden bytes of every event, subjects and envelopes.

mod golden;
mod ranges;
mod samples;
mod statuses;
mod subjects;
