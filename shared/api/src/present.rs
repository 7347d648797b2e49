//! Members of a request that can be missing, `null` or a value.

use serde::{Deserialize, Deserializer};

/// Deserializes a member that is present, even if it is `null`. With `#[serde(default)]`, `None` means that the member
/// is missing, and `Some(None)` that it is `null`.
pub(crate) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}
