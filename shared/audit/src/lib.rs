//! Evidence for auditors: a Merkle tree over the events of a company, and records of denied requests and of reads.

mod canonical;
pub mod denials;
mod flood;
pub mod leaf;
pub mod reads;
pub mod tree;
