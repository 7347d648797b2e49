//! The rows of one company and the keys of the rows that a batch touches, by table.

use super::rows::Rows;
use std::collections::BTreeSet;
use waybill_read_model::rows::Key;
use waybill_read_model::with_tables;

macro_rules! tables {
    ($($name:ident: $row:ty,)*) => {
        /// Rows of one company that a batch touches.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Tables {
            $(pub(crate) $name: Rows<$row>,)*
        }

        impl Tables {
            /// Returns the number of rows in memory, including the ids of removed rows.
            pub(super) fn len(&self) -> usize {
                [$(self.$name.len(),)*].iter().sum()
            }

            /// Marks all changes as written.
            pub(super) fn written(&mut self) {
                $(self.$name.written();)*
            }
        }

        /// Keys of the rows that events touch.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Touched {
            $(pub(crate) $name: BTreeSet<Key>,)*
        }
    };
}

with_tables!(tables);
