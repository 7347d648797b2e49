//! Orders of lists of files.

use super::File;
use crate::statement::Bind;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Number of characters of a folded name by which files are sorted. Names that begin with the same characters are sorted by id.
/// The indexes `idx_file_company_name` and `idx_file_own_name` contain as many characters.
const NAME_CHARS: usize = 128;

/// Attribute by which a list of files is sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SortBy {
    /// Time at which the upload started.
    #[default]
    CreatedAt,
    /// Name without differences in case, in the order of its code points.
    Name,
    /// Size in bytes.
    Size,
}

/// Order of a list of files. The default is from newest to oldest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Attribute.
    pub by: SortBy,
    /// `true` for the lowest value first.
    pub is_ascending: bool,
}

/// Value of the attribute of a file by which a list is sorted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SortValue {
    /// See [`SortBy::CreatedAt`].
    CreatedAt(DateTime<Utc>),
    /// See [`SortBy::Name`].
    Name(String),
    /// See [`SortBy::Size`].
    Size(i64),
}

/// The key of the file after which a page of a list begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListKey {
    /// Value by which the list is sorted.
    pub value: SortValue,
    /// Id.
    pub id: Uuid,
}

impl Order {
    /// Returns the key of a file in a list of this order.
    pub fn key_of(self, file: &File) -> ListKey {
        let value = match self.by {
            SortBy::CreatedAt => SortValue::CreatedAt(file.created_at),
            SortBy::Name => SortValue::Name(file.search_name.chars().take(NAME_CHARS).collect()),
            SortBy::Size => SortValue::Size(file.size_bytes),
        };
        ListKey { value, id: file.id }
    }

    /// Returns the expression by which rows of `file` are sorted before their id.
    fn column(self) -> String {
        match self.by {
            SortBy::CreatedAt => "file.created_at".to_owned(),
            SortBy::Name => format!("\"left\"(file.search_name, {NAME_CHARS}) COLLATE \"C\""),
            SortBy::Size => "file.size_bytes".to_owned(),
        }
    }

    /// Returns the end of a statement that sorts rows of `file`.
    pub(super) fn clause(self) -> String {
        let (column, direction) = (self.column(), if self.is_ascending { "ASC" } else { "DESC" });
        format!(" ORDER BY {column} {direction}, file.id {direction}")
    }

    /// Returns the condition for the rows of `file` after a key.
    pub(super) fn after(self, key: ListKey) -> (String, [(&'static str, Bind); 2]) {
        let (column, operator) = (self.column(), if self.is_ascending { ">" } else { "<" });
        let value = match key.value {
            SortValue::CreatedAt(time) => Bind::Time(time),
            SortValue::Name(name) => Bind::Text(name),
            SortValue::Size(size) => Bind::BigInt(size),
        };
        let condition = format!("({column}, file.id) {operator} (:after, :after_id)");
        (condition, [("after", value), ("after_id", Bind::Uuid(key.id))])
    }
}
