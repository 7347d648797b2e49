//! What is stored for ever stays readable: golden bytes of every event, subjects, envelopes.

mod golden;
mod ranges;
mod samples;
mod subjects;
