//! Storage tiers of objects.

use serde::{Deserialize, Serialize};

/// Storage tier of the object of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StorageTier {
    /// The bucket to which uploads go.
    #[default]
    Hot,
    /// The bucket for files that are rarely read. They can be read at once.
    Cold,
    /// A storage class of that bucket whose objects must be restored before they can be read.
    Archive,
}

impl StorageTier {
    /// All tiers.
    pub const ALL: [Self; 3] = [Self::Hot, Self::Cold, Self::Archive];

    /// Returns the name in the API and in the tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Cold => "cold",
            Self::Archive => "archive",
        }
    }

    /// Returns the tier with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.as_str() == name)
    }
}
