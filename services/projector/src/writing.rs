//! Writing rows, and telling what Postgres will never take from what it cannot take now.
//!
//! The library hides most SQLSTATEs. A transaction that failed for an unknown reason is run once more with statements that
//! tell theirs.

use diesel::result::{DatabaseErrorKind, Error};
use diesel_async::AsyncPgConnection;
use waybill_read_model::ReadModelError;
use waybill_read_model::rows::Write;

/// Why a batch was not applied as a whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// An event does not fit, or the tables refuse what it led to.
    #[error("{0}")]
    Event(String),
    /// It may go through the next time.
    #[error(transparent)]
    ReadModel(ReadModelError),
}

impl From<ReadModelError> for Refused {
    fn from(error: ReadModelError) -> Self {
        match error {
            ReadModelError::Query { source, .. } if is_refusal(&source) => Self::Event(source.to_string()),
            // A row that cannot be read does not become readable.
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

/// Whether the tables refuse the rows, rather than Postgres being away: SQLSTATE class 23.
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

/// Whether Postgres refused a statement for a reason that is not known: the transaction is then run once more, with writes that
/// tell.
pub(crate) fn is_unclear<T>(done: &Result<T, Refused>) -> bool {
    let Err(Refused::ReadModel(ReadModelError::Query { source, .. })) = done else { return false };
    matches!(source, Error::DatabaseError(DatabaseErrorKind::Unknown, _))
}

/// Writes rows. Where the writes are to tell, what is wrong with the rows themselves is [`Refused::Event`].
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
    fn what_is_wrong_with_the_rows_is_no_reason_to_try_for_ever() {
        use DatabaseErrorKind as Kind;
        for kind in [Kind::CheckViolation, Kind::ExclusionViolation, Kind::NotNullViolation, Kind::UniqueViolation] {
            assert!(matches!(failed(kind), Err(Refused::Event(_))), "{kind:?}");
        }
        // A number out of range, say.
        assert!(is_unclear(&failed(Kind::Unknown)));
        assert!(!is_unclear(&Err::<(), _>(Refused::Event("22003".to_owned()))));
    }

    #[test]
    fn what_passes_is_tried_again() {
        use DatabaseErrorKind as Kind;
        for kind in [Kind::SerializationFailure, Kind::ClosedConnection, Kind::ReadOnlyTransaction] {
            let failed = failed(kind);
            assert!(!is_unclear(&failed) && matches!(failed, Err(Refused::ReadModel(_))), "{kind:?}");
        }
    }
}
