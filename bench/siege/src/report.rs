//! The result of a run.

use serde::Serialize;
use std::collections::BTreeMap;

/// Times and statuses of all answers.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    /// Milliseconds of each answer to a tenant, by kind of request.
    pub(crate) ms: BTreeMap<&'static str, Vec<f64>>,
    /// Answers to tenants with another status than expected: the number of each text.
    pub(crate) failures: BTreeMap<String, u64>,
    /// Number of answers to the attacks, by attack and status. Status 0 stands for no answer.
    pub(crate) attacks: BTreeMap<&'static str, BTreeMap<u16, u64>>,
}
