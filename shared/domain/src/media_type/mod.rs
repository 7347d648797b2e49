//! MIME types: which a company accepts. Declared ones are checked when an upload starts, what the bytes look like
//! before the file is verified.

use crate::Refusal;

/// The longest MIME type, in bytes: the width of its column.
pub const MAX_TYPE_BYTES: usize = 100;

/// What is accepted where a company says nothing else: what people send each other, and unknown bytes. What is not
/// on it is above all what a double click would run.
pub const DEFAULT_ALLOWED: &[&str] = &[
    "image/*",
    "video/*",
    "audio/*",
    "font/*",
    "text/*",
    "message/rfc822",
    "application/pdf",
    "application/rtf",
    "application/json",
    "application/xml",
    "application/zip",
    "application/gzip",
    "application/zstd",
    "application/x-tar",
    "application/x-bzip2",
    "application/x-xz",
    "application/x-7z-compressed",
    "application/vnd.rar",
    "application/x-rar-compressed",
    "application/epub+zip",
    "application/postscript",
    "application/msword",
    "application/vnd.ms-excel",
    "application/vnd.ms-powerpoint",
    "application/vnd.ms-outlook",
    "application/vnd.openxmlformats-officedocument.*",
    "application/vnd.oasis.opendocument.*",
    "application/vnd.sqlite3",
    "application/octet-stream",
];

/// An allow-list. An entry is a whole type, or ends in `*` and then stands for all types that begin so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypePolicy {
    allowed: Vec<String>,
}

impl Default for TypePolicy {
    fn default() -> Self {
        Self::new(DEFAULT_ALLOWED.iter().copied())
    }
}

impl TypePolicy {
    /// A policy that accepts `allowed` and nothing else.
    pub fn new<S: AsRef<str>>(allowed: impl IntoIterator<Item = S>) -> Self {
        Self { allowed: allowed.into_iter().map(|entry| entry.as_ref().trim().to_ascii_lowercase()).collect() }
    }

    /// The entries.
    pub fn allowed(&self) -> &[String] {
        &self.allowed
    }

    /// Whether a file of this type is accepted. Parameters (`; charset=utf-8`) do not matter.
    ///
    /// # Errors
    /// [`Refusal::TypeRefused`] for a type off the list, and for text that is no type (RFC 9110 §8.3.1).
    pub fn check(&self, mime_type: &str) -> Result<(), Refusal> {
        let essence = mime_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let allowed = mime_type.len() <= MAX_TYPE_BYTES
            && mime_type.is_ascii()
            && !mime_type.contains(|c: char| c.is_ascii_control())
            && is_type(&essence)
            && self.allowed.iter().any(|entry| matches(entry, &essence));
        if allowed { Ok(()) } else { Err(Refusal::TypeRefused { mime_type: shown(mime_type) }) }
    }
}

/// What a system runs whatever its name is; a list accepts it by its whole type alone.
const PROGRAMS: &[&str] = &["text/x-shellscript"];

fn matches(entry: &str, essence: &str) -> bool {
    match entry.strip_suffix('*') {
        Some(prefix) => essence.starts_with(prefix) && !PROGRAMS.contains(&essence),
        None => entry == essence,
    }
}

/// Whether this is an entry that an allow-list may have: a type in lower case, or the beginning of one and `*`.
pub fn is_pattern(entry: &str) -> bool {
    let whole = match entry.strip_suffix('*') {
        Some(prefix) if prefix.ends_with('/') => format!("{prefix}x"),
        Some(prefix) => prefix.to_owned(),
        None => entry.to_owned(),
    };
    entry.len() <= MAX_TYPE_BYTES && !entry.bytes().any(|b| b.is_ascii_uppercase()) && is_type(&whole)
}

fn is_type(essence: &str) -> bool {
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    essence.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

/// The type as an error may repeat it: bounded, and without control characters.
fn shown(mime_type: &str) -> String {
    mime_type.chars().take(MAX_TYPE_BYTES).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}
