//! Reads Uppy's description of a file into [`FileFacts`].

use serde_json::{Map, Value};
use uuid::Uuid;
use waybill_api::Metadata;
use waybill_api::uploads::FileFacts;
use waybill_http_kit::Problem;
use waybill_schema::ErrorCode;

const UUID_LENGTH: usize = 36;

/// Description of a file by Uppy.
#[derive(Default)]
pub(crate) struct Described {
    pub(crate) name: Option<String>,
    pub(crate) mime_type: Option<String>,
    /// All members of Uppy's `meta`.
    pub(crate) meta: Map<String, Value>,
    /// The same metadata as the client sent it, if it came as JSON.
    pub(crate) sent: Option<Metadata>,
}

impl Described {
    fn text(&self, key: &str) -> Option<String> {
        let value = self.meta.get(key)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (!text.is_empty() && text != "null" && text != "undefined").then_some(text)
    }

    fn id(&self, key: &str) -> Result<Option<Uuid>, Problem> {
        let invalid = |_| Problem::bad_request(ErrorCode::MetadataInvalid, format!("{key} must be a UUID"));
        self.text(key).map(|text| Uuid::try_parse(&text).map_err(invalid)).transpose()
    }

    /// Returns the size in bytes if the page put it into the metadata. Uppy itself does not send the size.
    pub(crate) fn size_bytes(&self) -> Option<u64> {
        self.text("size")?.parse().ok()
    }

    /// Returns the facts of the file. If the size is unknown, it is set to `max_bytes`.
    pub(crate) fn facts(&self, max_bytes: u64) -> Result<FileFacts, Problem> {
        let described = |value: &Option<String>| value.clone().filter(|text| !text.is_empty() && text != "undefined");
        let sent = self.sent.clone().filter(|_| !self.meta.is_empty());
        Ok(FileFacts {
            name: described(&self.name).or_else(|| self.text("name")).unwrap_or_else(|| "unnamed".to_owned()),
            size_bytes: self.size_bytes().unwrap_or(max_bytes),
            mime_type: described(&self.mime_type).or_else(|| self.text("type")),
            sha256: self.text("sha256"),
            session_id: self.id("session_id")?,
            chatroom_id: self.id("chatroom_id")?,
            thread_id: self.id("thread_id")?,
            metadata: sent.or_else(|| Metadata::of(&self.meta)),
            ..FileFacts::default()
        })
    }
}

/// Returns the file name in the key that the client proposes. Uppy proposes `{uuid}-{name}`.
pub(crate) fn name_in(key: &str) -> Option<String> {
    let last = key.rsplit('/').next()?;
    let behind_id = last.get(..UUID_LENGTH).filter(|id| Uuid::try_parse(id).is_ok()).and(last.get(UUID_LENGTH..));
    let name = behind_id.and_then(|rest| rest.strip_prefix('-')).unwrap_or(last);
    (Uuid::try_parse(last).is_err() && waybill_domain::name::check(name).is_ok()).then(|| name.to_owned())
}
