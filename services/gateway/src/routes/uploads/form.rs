//! Reads a file from a form (`multipart/form-data`, RFC 7578), as browsers and `curl -F` send it. The form must contain
//! exactly one file, which is streamed. Fields before the file can describe it like the query; all other fields become
//! metadata.

use crate::application::uploads::description::parse_sha256;
use crate::http::request_body::content_length;
use crate::routes::uploads::incoming::Sender;
use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::HttpResponse;
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use futures_util::StreamExt;
use serde_json::{Map, Value};
use uuid::Uuid;
use waybill_api::Metadata;
use waybill_api::uploads::{FileFacts, FileQuery, Mode};
use waybill_data_plane::refused;
use waybill_domain::Refusal;
use waybill_http_kit::Problem;
use waybill_schema::ErrorCode;

/// Maximum size of a field's value.
const FIELD_MAX_BYTES: usize = 8 * 1_024;

/// Maximum number of fields before the file, and again after it.
const FIELDS_MAX: usize = 64;

/// Maximum size of everything in a form except the file.
const ENVELOPE_MAX_BYTES: u64 = 1_024 * 1_024;

/// Names of fields that describe the file.
const KNOWN: [&str; 10] = [
    "name",
    "filename",
    "type",
    "filetype",
    "mime_type",
    "sha256",
    "session_id",
    "chatroom_id",
    "thread_id",
    "metadata",
];

/// Stores the file of a form.
pub(crate) async fn take(sender: Sender, query: FileQuery, body: Payload) -> Result<HttpResponse, Problem> {
    let limit_bytes = sender.most_bytes().await?;
    let envelope_bytes = content_length(&sender.request);
    if let Some(size_bytes) = envelope_bytes.filter(|bytes| *bytes > limit_bytes.saturating_add(ENVELOPE_MAX_BYTES)) {
        return Err(refused(Refusal::FileTooLarge { size_bytes, limit_bytes }));
    }
    let most_bytes = envelope_bytes.unwrap_or(limit_bytes).min(limit_bytes);
    let mut form = Multipart::new(sender.request.headers(), body);
    let mut fields = Fields::default();
    while let Some(field) = form.next().await {
        let mut field = field.map_err(|error| unreadable(&error))?;
        match file_name(&field) {
            None => fields.read(&mut field).await?,
            Some(name) => {
                let content_type = field.content_type().map(ToString::to_string);
                let facts = fields.facts(query, name, content_type, most_bytes)?;
                let incoming = sender.receive(&facts).await?;
                let payload = Payload::Stream { payload: field.map(|bytes| bytes.map_err(broken)).boxed_local() };
                return incoming.take_growing(payload, async move || nothing_more(form).await).await;
            }
        }
    }
    Err(invalid("the form contains no file"))
}

/// Returns the name of the file; `None` for a field without a file, and if the user chose no file.
fn file_name(field: &Field) -> Option<String> {
    let disposition = field.content_disposition()?;
    let extended = disposition.get_filename_ext().map(|name| String::from_utf8_lossy(&name.value).into_owned());
    // Browsers escape only these three characters (HTML, "multipart form data").
    let plain = || Some(disposition.get_filename()?.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n"));
    extended.or_else(plain).filter(|name| !name.is_empty())
}

/// Fields of a form.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    async fn read(&mut self, field: &mut Field) -> Result<(), Problem> {
        let name = field.name().unwrap_or_default().to_owned();
        let too_long = |_| invalid("a field has more than 8 KiB");
        let bytes = field.bytes(FIELD_MAX_BYTES).await.map_err(too_long)?.map_err(|error| unreadable(&error))?;
        let text = String::from_utf8(bytes.to_vec()).map_err(|_| invalid("a field is not UTF-8"))?;
        if self.0.len() >= FIELDS_MAX {
            return Err(invalid("the form has more than 64 fields"));
        }
        self.0.insert(name, Value::String(text));
        Ok(())
    }

    /// Returns the value of the first of these fields that the form contains; `None` if that value is empty, `null` or
    /// `undefined`, which pages send for a missing value.
    fn text(&self, names: &[&str]) -> Option<String> {
        let found = names.iter().find_map(|name| self.0.get(*name)?.as_str())?;
        (!matches!(found, "" | "null" | "undefined")).then(|| found.to_owned())
    }

    fn id(&self, name: &str) -> Result<Option<Uuid>, Problem> {
        let parse = |text: String| Uuid::try_parse(&text).map_err(|_| invalid("an id in the form is not a UUID"));
        self.text(&[name]).map(parse).transpose()
    }

    /// Returns the description of the file. The query takes precedence over the fields, and the fields over the headers
    /// of the file's part.
    fn facts(
        &self,
        query: FileQuery,
        name: String,
        content_type: Option<String>,
        size_bytes: u64,
    ) -> Result<FileFacts, Problem> {
        let sha256 = query.sha256.or_else(|| self.text(&["sha256"]));
        let metadata = match query.metadata.or_else(|| self.text(&["metadata"])) {
            Some(text) => Some(Metadata::parse(&text).map_err(|_| invalid("metadata must be a JSON object"))?),
            None => self.others(),
        };
        Ok(FileFacts {
            name: query.name.unwrap_or(name),
            size_bytes,
            mime_type: query.mime_type.or_else(|| self.text(&["mime_type", "type", "filetype"])),
            content_type,
            sha256: sha256.as_deref().map(parse_sha256).transpose()?.map(|digest| digest.to_string()),
            session_id: query.session_id.or(self.id("session_id")?),
            chatroom_id: query.chatroom_id.or(self.id("chatroom_id")?),
            thread_id: query.thread_id.or(self.id("thread_id")?),
            metadata,
            mode: Mode::Gateway,
        })
    }

    fn others(&self) -> Option<Metadata> {
        let others = self.0.iter().filter(|(name, _)| !KNOWN.contains(&name.as_str()));
        Metadata::of(&others.map(|(name, value)| (name.clone(), value.clone())).collect())
    }
}

/// Reads the rest of the form. Refuses a second file, and fields that describe the file, because they came too late.
async fn nothing_more(mut form: Multipart) -> Result<(), Problem> {
    let mut fields = Fields::default();
    while let Some(field) = form.next().await {
        let mut field = field.map_err(|error| unreadable(&error))?;
        if file_name(&field).is_some() {
            return Err(invalid("the form contains more than one file; send each file in a separate request"));
        }
        if field.name().is_some_and(|name| KNOWN.contains(&name)) {
            return Err(invalid("a field that describes the file comes after it; put such fields before the file"));
        }
        fields.read(&mut field).await?;
    }
    Ok(())
}

fn invalid(detail: &str) -> Problem {
    Problem::bad_request(ErrorCode::FormInvalid, detail)
}

fn unreadable(error: &MultipartError) -> Problem {
    match error {
        MultipartError::Payload(_) | MultipartError::Incomplete => {
            Problem::bad_request(ErrorCode::BodyIncomplete, "the form ended early; send it again")
        }
        error => Problem::bad_request(ErrorCode::FormInvalid, format!("the form cannot be read: {error}")),
    }
}

/// Converts an error of the form to an error of the file's body.
fn broken(error: MultipartError) -> PayloadError {
    match error {
        MultipartError::Payload(error) => error,
        _ => PayloadError::Incomplete(None),
    }
}
