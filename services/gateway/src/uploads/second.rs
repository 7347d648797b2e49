//! Of two objects with the bytes of one file, the log names one; the other one is deleted.

use waybill_domain::upload::{Phase, State};
use waybill_repository::{Done, ExecuteError};

/// Whether the file has another object than the one with this key: it has what the log names, also where this command
/// led to no event.
pub(super) fn is_second(done: &Result<Done, ExecuteError>, state: &State, storage_key: &str) -> bool {
    let is_decided = matches!(done, Ok(_) | Err(ExecuteError::Refused(_)));
    is_decided && !matches!(&state.phase, Phase::Verified { storage_key: key, .. } if key == storage_key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use waybill_domain::Refusal;
    use waybill_event_log::AppendError;
    use waybill_schema::{Position, Sha256Digest};

    #[test]
    fn an_object_that_the_log_names_is_not_deleted() {
        let verified = Phase::Verified { sha256: Sha256Digest([1; 32]), storage_key: "ours".to_owned() };
        let state = State { phase: verified, ..State::default() };
        let nothing = Done { event: None, position: Position { partition: 0, seq: 7 } };
        assert!(!is_second(&Ok(nothing.clone()), &state, "ours"), "it was recorded by an attempt before");
        assert!(is_second(&Ok(nothing), &state, "another"));
        let taken = || Err(Refusal::IdTaken { what: "upload" }.into());
        assert!(is_second(&taken(), &state, "another"));
        assert!(!is_second(&taken(), &state, "ours"));
        let unknown = Err(AppendError::Unknown(String::new()).into());
        assert!(!is_second(&unknown, &State::default(), "ours"), "it may be in the log");
    }
}
