//! Terms of files in `file.terms`: labels, and the values of declared metadata keys.
//!
//! A term contains the company, so that neither the cost nor the plan of a search depends on the files of other companies.

use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use waybill_schema::CompanyId;

/// Maximum number of declared keys. Each one adds an entry to an index for each file that has it.
const MAX_KEYS: usize = 16;
/// Maximum length of a key in characters.
const MAX_KEY_CHARS: usize = 64;
/// Maximum length of a value in characters. Longer ones are not found.
const MAX_VALUE_CHARS: usize = 100;
/// Maximum number of values of a key that are found.
const MAX_VALUES: usize = 20;

/// The metadata keys by which files are found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataKeys(Arc<[String]>);

/// The text is not a list of metadata keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("set up to 16 keys, separated by commas, of 1 to 64 letters, digits, `_`, `-` and `.`")]
pub struct MetadataKeysError;

impl FromStr for MetadataKeys {
    type Err = MetadataKeysError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_valid = |key: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            (1..=MAX_KEY_CHARS).contains(&key.len()) && key.chars().all(allowed)
        };
        let mut keys: Vec<String> = Vec::new();
        for key in text.split(',').map(str::trim).filter(|_| !text.trim().is_empty()) {
            if !is_valid(key) {
                return Err(MetadataKeysError);
            }
            if !keys.iter().any(|known| known == key) {
                keys.push(key.to_owned());
            }
        }
        // The terms of a file have the order of the keys, so it is always the same.
        keys.sort();
        if keys.len() > MAX_KEYS { Err(MetadataKeysError) } else { Ok(Self(keys.into())) }
    }
}

impl MetadataKeys {
    /// Returns `true` if files are found by the key.
    pub fn has(&self, key: &str) -> bool {
        self.0.iter().any(|known| known == key)
    }

    /// Returns the keys, separated by commas.
    pub fn list(&self) -> String {
        self.0.join(", ")
    }

    /// Returns the terms of a file, or `None` if it has none. `metadata` is its JSON text.
    pub fn terms_of(&self, company: CompanyId, labels: Option<&Value>, metadata: Option<&str>) -> Option<Value> {
        let labels = labels.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut terms: Vec<Value> =
            labels.iter().filter_map(Value::as_str).map(|label| label_term(company, label)).collect();
        if !self.0.is_empty()
            && let Some(Ok(members)) = metadata.map(serde_json::from_str::<BTreeMap<String, &RawValue>>)
        {
            for key in self.0.iter() {
                let values = members.get(key).map(|value| texts_of(value)).unwrap_or_default();
                terms.extend(values.iter().filter_map(|value| metadata_term(company, key, value)));
            }
        }
        (!terms.is_empty()).then_some(Value::Array(terms))
    }
}

/// Returns the texts by which a value is found: itself, or the first elements of an array.
fn texts_of(value: &RawValue) -> Vec<String> {
    match serde_json::from_str::<Vec<&RawValue>>(value.get()) {
        Ok(elements) => elements.into_iter().filter_map(text_of).take(MAX_VALUES).collect(),
        Err(_) => text_of(value).into_iter().collect(),
    }
}

/// Returns the text of a value, or `None` if it is not a text, a number or a truth value. Numbers are found as they were written.
fn text_of(value: &RawValue) -> Option<String> {
    match serde_json::from_str(value.get()).ok()? {
        Value::String(text) => Some(text),
        Value::Number(_) | Value::Bool(_) => Some(value.get().to_owned()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Returns the term of a label.
pub(crate) fn label_term(company: CompanyId, label: &str) -> Value {
    Value::String(format!("{company}:{label}"))
}

/// Returns the term of a value of a metadata key, or `None` if the value is too long.
pub(crate) fn metadata_term(company: CompanyId, key: &str, value: &str) -> Option<Value> {
    (value.chars().count() <= MAX_VALUE_CHARS).then(|| Value::String(format!("{company}={key}={value}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use uuid::Uuid;

    const COMPANY: CompanyId = CompanyId(Uuid::nil());

    #[test]
    fn keys_are_a_short_list_of_plain_names() {
        let keys: MetadataKeys = "project, case_no,project".parse().unwrap();
        assert_eq!(keys.list(), "case_no, project");
        assert!(keys.has("case_no") && !keys.has("case"));
        assert_eq!("".parse(), Ok(MetadataKeys::default()));
        let many: Vec<String> = (0..17).map(|number| format!("k{number}")).collect();
        for text in [",", "a,,b", "a b", "caf\u{e9}", &"x".repeat(65), &many.join(",")] {
            assert_eq!(text.parse::<MetadataKeys>(), Err(MetadataKeysError), "{text}");
        }
    }

    #[test]
    fn declared_values_and_labels_become_terms() {
        let keys: MetadataKeys = "project,case_no,tags".parse().unwrap();
        let metadata =
            r#"{"case_no":12345678901234567890123,"project":"\u00e9t\u00e9","other":"x","tags":["a",true,null,{}]}"#;
        let labels = json!(["signed"]);
        let of = |term: &str| format!("{COMPANY}{term}");
        let expected = [
            of(":signed"),
            of("=case_no=12345678901234567890123"),
            of("=project=\u{e9}t\u{e9}"),
            of("=tags=a"),
            of("=tags=true"),
        ];
        assert_eq!(keys.terms_of(COMPANY, Some(&labels), Some(metadata)), Some(json!(expected)));
        assert_eq!(MetadataKeys::default().terms_of(COMPANY, None, Some(metadata)), None);
        let long = json!({ "project": "x".repeat(101), "case_no": null }).to_string();
        for metadata in [Some(long.as_str()), Some("[1]"), Some("{"), None] {
            assert_eq!(keys.terms_of(COMPANY, Some(&json!([])), metadata), None, "{metadata:?}");
        }
    }
}
