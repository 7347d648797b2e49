//! Writes rows, and distinguishes rows that PostgreSQL always rejects from temporary failures.
//!
//! Diesel hides most SQLSTATEs. A transaction that failed for an unknown reason runs once more with statements that
//! report the SQLSTATE.

use diesel::result::{DatabaseErrorKind, Error};
use diesel_async::AsyncPgConnection;
use waybill_read_model::ReadModelError;
use waybill_read_model::rows::Write;

/// Reason why a batch was not applied as a whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// An event does not fit, or PostgreSQL rejected the rows that result from it.
    #[error("{0}")]
    Event(String),
    /// A failure that may not occur again.
    #[error(transparent)]
    ReadModel(ReadModelError),
}

impl From<ReadModelError> for Refused {
    fn from(error: ReadModelError) -> Self {
        match error {
            ReadModelError::Query { source, .. } if is_refusal(&source) => Self::Event(source.to_string()),
            // Another attempt does not make the row readable.
            ReadModelError::Row { .. } => Self::Event(error.to_string()),
            error => Self::ReadModel(error),
        }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        ReadModelError::from(error).into()
    }
}

/// Returns `true` if the rows violate a constraint (SQLSTATE class 23).
pub(crate) fn is_refusal(error: &Error) -> bool {
    use DatabaseErrorKind as Kind;
    matches!(
        error,
        Error::DatabaseError(
            Kind::CheckViolation
                | Kind::ExclusionViolation
                | Kind::ForeignKeyViolation
                | Kind::NotNullViolation
                | Kind::RestrictViolation
                | Kind::UniqueViolation,
            _
        )
    )
}

/// Returns `true` if PostgreSQL rejected a statement for an unknown reason. The caller then runs the transaction once
/// more with statements that report the SQLSTATE.
pub(crate) fn is_unclear<T>(done: &Result<T, Refused>) -> bool {
    let Err(Refused::ReadModel(ReadModelError::Query { source, .. })) = done else { return false };
    matches!(source, Error::DatabaseError(DatabaseErrorKind::Unknown, _))
}

/// Writes rows. If `is_to_tell`, the statements report their SQLSTATE, and an error in the rows themselves becomes
/// [`Refused::Event`].
pub(crate) async fn write(connection: &mut AsyncPgConnection, rows: &[Write], is_to_tell: bool) -> Result<(), Refused> {
    for row in rows {
        if is_to_tell {
            row.execute_telling(connection).await?.map_err(Refused::Event)?;
        } else {
            row.execute(connection).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(kind: DatabaseErrorKind) -> Result<(), Refused> {
        Err(Error::DatabaseError(kind, Box::new("a test".to_owned())).into())
    }

    #[test]
    fn constraint_violations_are_errors_of_the_event_and_unknown_errors_are_unclear() {
        use DatabaseErrorKind as Kind;
        for kind in [Kind::CheckViolation, Kind::ExclusionViolation, Kind::NotNullViolation, Kind::UniqueViolation] {
            assert!(matches!(failed(kind), Err(Refused::Event(_))), "{kind:?}");
        }
        // For example, a number is out of range.
        assert!(is_unclear(&failed(Kind::Unknown)));
        assert!(!is_unclear(&Err::<(), _>(Refused::Event("22003".to_owned()))));
    }

    #[test]
    fn temporary_database_errors_are_not_errors_of_the_event() {
        use DatabaseErrorKind as Kind;
        for kind in [Kind::SerializationFailure, Kind::ClosedConnection, Kind::ReadOnlyTransaction] {
            let failed = failed(kind);
            assert!(!is_unclear(&failed) && matches!(failed, Err(Refused::ReadModel(_))), "{kind:?}");
        }
    }
}
