//! The error of rebuilds, comparisons and swaps.

use crate::apply::ProjectError;
use waybill_event_log::ReadError;
use waybill_read_model::{ReadModelError, SchemaName};

/// Reason why a rebuild failed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Folding failed.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// PostgreSQL failed.
    #[error(transparent)]
    ReadModel(#[from] ReadModelError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A projector is folding into the schema.
    #[error("a projector folds partition {partition} of schema {schema}; stop it or wait until its lease ends")]
    Leased {
        /// The schema.
        schema: SchemaName,
        /// The partition.
        partition: u32,
    },
    /// The checkpoint has the epoch of another stream.
    #[error("partition {partition} of schema {schema} was built from another stream; drop the schema first")]
    OtherStream {
        /// The schema.
        schema: SchemaName,
        /// The partition.
        partition: u32,
    },
    /// The name of the live schema is too long to append `_next` or `_old`.
    #[error("the name of schema {0} is too long for a swap: it may have at most 58 characters")]
    LongName(SchemaName),
    /// A schema that does not come from a swap has the name that the old tables would get.
    #[error("schema {0} exists and does not come from a swap; rename it, or drop it if it is not needed")]
    Taken(SchemaName),
    /// Dropping the old tables would also drop objects that Waybill did not create.
    #[error(
        "schema {schema} cannot be replaced because of: {}; drop the views and create them again after the swap, and \
         run the swap as the owner of the schema",
        strangers.join(", ")
    )]
    Strangers {
        /// The schema.
        schema: SchemaName,
        /// The views, and the owner of the schema if it is another role.
        strangers: Vec<String>,
    },
    /// The live tables and the new tables have different migrations.
    #[error(
        "schema {schema} has other migrations than the new tables; run the swap with the version of Waybill that serves"
    )]
    Migrated {
        /// The schema.
        schema: SchemaName,
    },
    /// The tables were always in use.
    #[error("the tables of schema {schema} were always in use; nothing was swapped, try again")]
    Busy {
        /// The schema.
        schema: SchemaName,
    },
}

impl From<diesel::result::Error> for ReplayError {
    fn from(error: diesel::result::Error) -> Self {
        ReadModelError::from(error).into()
    }
}
