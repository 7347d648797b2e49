//! Reads `Upload-Metadata` (tus 1.0, Creation): pairs of a key and a base64 value. Existing clients use different keys
//! for the same information.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use uuid::Uuid;
use waybill_api::Metadata as JsonObject;
use waybill_api::uploads::FileFacts;
use waybill_http_kit::Problem;
use waybill_schema::ErrorCode;

/// Maximum length of the header.
const MAX_BYTES: usize = 8 * 1_024;

/// Name of a file for which the client sends no name.
const UNNAMED: &str = "unnamed";

/// Pairs in the header.
#[derive(Debug, Default)]
pub(crate) struct Metadata(BTreeMap<String, Vec<u8>>);

impl Metadata {
    /// Parses the header.
    ///
    /// # Errors
    /// 400 `metadata_invalid`, 413 `metadata_too_large`.
    pub(crate) fn parse(header: &str) -> Result<Self, Problem> {
        let invalid = |what: &str| Problem::bad_request(ErrorCode::MetadataInvalid, format!("Upload-Metadata: {what}"));
        if header.len() > MAX_BYTES {
            return Err(Problem::new(413, ErrorCode::MetadataTooLarge, "Upload-Metadata has more than 8 KiB"));
        }
        let mut pairs = BTreeMap::new();
        for pair in header.split(',').map(str::trim) {
            if pair.is_empty() && header.trim().is_empty() {
                continue;
            }
            let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
            if key.is_empty() || !key.is_ascii() {
                return Err(invalid("a key is empty or not ASCII"));
            }
            let value = BASE64.decode(value.trim()).map_err(|_| invalid("a value is not base64"))?;
            if pairs.insert(key.to_owned(), value).is_some() {
                return Err(invalid("a key occurs twice"));
            }
        }
        Ok(Self(pairs))
    }

    fn text(&self, keys: &[&str]) -> Option<String> {
        let found = keys.iter().find_map(|key| self.0.get(*key))?;
        String::from_utf8(found.clone()).ok().filter(|text| !text.is_empty())
    }

    /// Returns the file name. A name that is not UTF-8 is an error.
    fn name(&self) -> Result<Option<String>, Problem> {
        let found = ["filename", "name"].iter().find_map(|key| self.0.get(*key));
        let invalid = |_| Problem::new(422, ErrorCode::NameInvalid, "the name in Upload-Metadata is not UTF-8");
        let name = found.map(|bytes| String::from_utf8(bytes.clone())).transpose().map_err(invalid)?;
        Ok(name.filter(|name| !name.is_empty()))
    }

    fn id(&self, key: &'static str) -> Result<Option<Uuid>, Problem> {
        let parse = |text: String| {
            Uuid::try_parse(&text).map_err(|_| {
                Problem::bad_request(ErrorCode::MetadataInvalid, format!("Upload-Metadata: {key} must be a UUID"))
            })
        };
        self.text(&[key]).map(parse).transpose()
    }

    /// Returns the description of the file. The pairs take precedence over `known`.
    ///
    /// # Errors
    /// 400 `metadata_invalid` if an id is not a UUID, 422 `name_invalid` if the name is not UTF-8.
    pub(crate) fn facts(&self, known: FileFacts) -> Result<FileFacts, Problem> {
        let mut others = Map::new();
        for (key, value) in &self.0 {
            // Values that are not text are not part of the file's metadata. They remain in the header, which later
            // responses repeat unchanged.
            let text = String::from_utf8(value.clone()).ok().filter(|text| !text.contains('\0'));
            if let Some(text) = text {
                others.insert(key.clone(), Value::String(text));
            }
        }
        Ok(FileFacts {
            name: self
                .name()?
                .or(Some(known.name).filter(|name| !name.is_empty()))
                .unwrap_or_else(|| UNNAMED.to_owned()),
            size_bytes: known.size_bytes,
            mime_type: self.text(&["filetype", "type", "mime_type"]).or(known.mime_type),
            content_type: known.content_type,
            sha256: self.text(&["sha256"]).or(known.sha256),
            session_id: self.id("session_id")?.or(known.session_id),
            chatroom_id: self.id("chatroom_id")?.or(known.chatroom_id),
            thread_id: self.id("thread_id")?.or(known.thread_id),
            metadata: JsonObject::of(&others),
            mode: known.mode,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::metadata::text_of;

    #[test]
    fn names_of_all_clients_are_understood() {
        let facts = |header: &str| Metadata::parse(header).unwrap().facts(FileFacts::default()).unwrap();
        let uppy =
            facts("name YS5wbmc=,type aW1hZ2UvcG5n,filename YS5wbmc=,filetype aW1hZ2UvcG5n,relativePath bnVsbA==");
        assert_eq!((uppy.name.as_str(), uppy.mime_type.as_deref()), ("a.png", Some("image/png")));
        assert!(text_of(&uppy.metadata.unwrap()).unwrap().contains(r#""relativePath":"null""#));
        let bare = facts("");
        assert_eq!((bare.name.as_str(), bare.mime_type), ("unnamed", None));
        assert_eq!(text_of(&facts("is_confidential").metadata.unwrap()).unwrap(), r#"{"is_confidential":""}"#);
    }

    #[test]
    fn what_is_no_metadata_is_refused() {
        for header in ["a !!!", "a YQ==,a YQ==", ",", "a YQ==,", "ä YQ=="] {
            assert_eq!(Metadata::parse(header).unwrap_err().code, ErrorCode::MetadataInvalid, "{header}");
        }
        assert_eq!(Metadata::parse(&"a".repeat(9_000)).unwrap_err().status, 413);
        let session = Metadata::parse("session_id YQ==").unwrap().facts(FileFacts::default());
        assert_eq!(session.unwrap_err().code, ErrorCode::MetadataInvalid);
    }
}
