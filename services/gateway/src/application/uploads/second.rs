//! Two requests can each store an object with the bytes of the same file. The log names one of them; the other is
//! deleted.

use waybill_domain::upload::{Phase, State};
use waybill_repository::{Done, ExecuteError};

/// Returns `true` if the log does not name the object with this key, so that the object can be deleted. The command may
/// have led to no event: an earlier attempt may have recorded the object. If it is unknown whether the event was
/// appended, the object is kept.
pub(crate) fn is_second(done: &Result<Done, ExecuteError>, state: &State, storage_key: &str) -> bool {
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
        assert!(!is_second(&Ok(nothing.clone()), &state, "ours"), "an earlier attempt recorded it");
        assert!(is_second(&Ok(nothing), &state, "another"));
        let taken = || Err(Refusal::IdTaken { what: "upload" }.into());
        assert!(is_second(&taken(), &state, "another"));
        assert!(!is_second(&taken(), &state, "ours"));
        let unknown = Err(AppendError::Unknown(String::new()).into());
        assert!(!is_second(&unknown, &State::default(), "ours"), "the event may be in the log");
    }
}
