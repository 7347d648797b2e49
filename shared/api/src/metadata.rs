//! Metadata of a file: a JSON object that is stored exactly as the client wrote it, so that numbers keep their digits.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

/// A JSON object as text.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Metadata(Box<RawValue>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::checked(Box::<RawValue>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Metadata {
    /// Parses JSON.
    ///
    /// # Errors
    /// If the text is not a JSON object.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        Self::checked(serde_json::from_str(text)?)
    }

    /// Creates metadata from named texts. Returns `None` if there are no texts.
    pub fn of(texts: &Map<String, Value>) -> Option<Self> {
        // The serialization of a map of values cannot fail.
        if texts.is_empty() { None } else { to_raw_value(texts).ok().map(Self) }
    }

    /// Returns the members of the object.
    pub fn members(&self) -> Map<String, Value> {
        serde_json::from_str(self.0.get()).unwrap_or_default()
    }

    /// Returns the text of the object.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Parses the object completely. [`RawValue`] alone accepts half a surrogate pair.
    fn checked(raw: Box<RawValue>) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<Map<String, Value>>(raw.get())?;
        Ok(Self(raw))
    }
}
