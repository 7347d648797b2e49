//! Media types, and the rules which files a company accepts.
//!
//! The declared type of a file counts, unless its content or its name shows that it is dangerous: a file that a system
//! would run is refused under any name. All other files are accepted, because people send each other files of all
//! kinds. A company can restrict the types with an allow-list. An alias (`application/x-zip-compressed`) counts as its
//! canonical type.

mod danger;
mod data;

pub use danger::Danger;

use crate::Refusal;
use danger::Kind;

/// Maximum length of a media type in bytes. It is the width of the column in the database.
pub const MAX_TYPE_BYTES: usize = 100;
/// Type of files of unknown type.
pub const ANY: &str = "application/octet-stream";
/// Default allow-list: every type that is not dangerous.
pub const DEFAULT_ALLOWED: &[&str] = &["*/*"];

/// Allow-list of types. An entry is a complete type, or a prefix that ends in `*`. A dangerous type is accepted only if
/// an entry names it completely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypePolicy {
    allowed: Vec<String>,
}

impl Default for TypePolicy {
    fn default() -> Self {
        Self::new(DEFAULT_ALLOWED.iter().copied())
    }
}

/// Description of a file by the client.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The name.
    pub name: &'a str,
    /// The type. It is empty if the client declares no type and the name indicates none.
    pub mime_type: &'a str,
}

impl TypePolicy {
    /// Creates a policy that accepts only `allowed`.
    pub fn new<S: AsRef<str>>(allowed: impl IntoIterator<Item = S>) -> Self {
        Self { allowed: allowed.into_iter().map(|entry| entry.as_ref().trim().to_ascii_lowercase()).collect() }
    }

    /// Returns the entries.
    pub fn allowed(&self) -> &[String] {
        &self.allowed
    }

    /// Returns a policy that accepts what both policies accept. A dangerous type must be named by both.
    #[must_use]
    pub fn narrowed(&self, other: &Self) -> Self {
        let entries = other.allowed.iter().filter(|entry| self.covers(entry));
        let own = self.allowed.iter().filter(|entry| other.covers(entry) && !other.allowed.contains(entry));
        Self { allowed: entries.chain(own).cloned().collect() }
    }

    /// Returns `true` if every type that the entry stands for is accepted.
    fn covers(&self, entry: &str) -> bool {
        match entry.strip_suffix('*') {
            Some(prefix) => self.allowed.iter().any(|known| match known.strip_suffix('*') {
                Some(known) => known == "*/" || prefix.starts_with(known),
                None => false,
            }),
            None => danger::of_type(data::canonical(entry)).map_or_else(|| self.has(entry), |kind| self.names(kind)),
        }
    }

    /// Checks before the upload whether the described file is accepted.
    ///
    /// # Errors
    /// [`Refusal::TypeRefused`] if not.
    pub fn check(&self, claim: Claim<'_>) -> Result<(), Refusal> {
        let essence = essence(claim.mime_type);
        self.check_danger(&essence)?;
        self.check_name(claim.name)?;
        // Without a declared type, the content decides later.
        if claim.mime_type.is_empty() || self.has(&essence) { Ok(()) } else { Err(refused(claim.mime_type, None)) }
    }

    /// Checks whether the extension of the name is accepted, because systems decide by it how to open a file.
    ///
    /// # Errors
    /// [`Refusal::TypeRefused`] if not.
    pub fn check_name(&self, name: &str) -> Result<(), Refusal> {
        let extension = extension(name);
        match danger::of_extension(&extension).filter(|kind| !self.names(kind)) {
            Some(kind) => Err(refused(&format!(".{extension}"), Some(kind.danger))),
            None => Ok(()),
        }
    }

    /// Checks after the upload whether a file is accepted whose content was recognised as `sniffed`.
    ///
    /// # Errors
    /// [`Refusal::TypeRefused`] if not.
    pub fn check_content(&self, claim: Claim<'_>, sniffed: Option<&str>) -> Result<(), Refusal> {
        let found = essence(sniffed.unwrap_or(ANY));
        self.check_danger(&found)?;
        let claimed = claimed(claim);
        if danger::is_active(data::canonical(&found)) && danger::hides_pages(data::canonical(&claimed)) {
            return Err(refused(&found, Some(Danger::Misleading)));
        }
        let is_said = !claim.mime_type.is_empty();
        if self.has(&found) || (is_said && (sniffed.is_none() || may_carry(&found, &claimed))) {
            return Ok(());
        }
        Err(refused(&found, None))
    }

    fn check_danger(&self, essence: &str) -> Result<(), Refusal> {
        match danger::of_type(data::canonical(essence)).filter(|kind| !self.names(kind)) {
            Some(kind) => Err(refused(essence, Some(kind.danger))),
            None => Ok(()),
        }
    }

    /// Returns `true` if an entry is a complete type of this dangerous kind.
    fn names(&self, kind: &Kind) -> bool {
        self.allowed.iter().any(|entry| kind.has_type(data::canonical(entry)))
    }

    /// Returns `true` if the list contains this type, under any of its names, or a more general type.
    fn has(&self, essence: &str) -> bool {
        let canonical = data::canonical(essence);
        if danger::of_type(canonical).is_some_and(|kind| self.names(kind)) {
            return true;
        }
        self.allowed.iter().any(|entry| match entry.strip_suffix('*') {
            Some(prefix) => prefix == "*/" || essence.starts_with(prefix) || canonical.starts_with(prefix),
            None => {
                let entry = data::canonical(entry);
                entry == canonical || data::ancestors(canonical).any(|ancestor| ancestor == entry)
            }
        })
    }
}

/// Returns the type in lower case and without parameters (RFC 9110 §8.3.1), for comparisons.
pub(crate) fn essence(mime_type: &str) -> String {
    mime_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Returns the part of a name after its last dot, in lower case. Trailing dots and spaces are ignored, because some
/// systems drop them.
fn extension(name: &str) -> String {
    let name = name.trim_end_matches(['.', ' ']);
    name.rsplit_once('.').map(|(_, extension)| extension.to_lowercase()).unwrap_or_default()
}

/// Returns the type that a file claims to have. If the client declared no specific type, the name decides.
fn claimed(claim: Claim<'_>) -> String {
    let essence = essence(claim.mime_type);
    match of_name(claim.name) {
        Some(by_name) if essence.is_empty() || essence == ANY => by_name.to_owned(),
        _ => essence,
    }
}

/// Containers for other types, which programs often declare as something else.
const CARRIERS: &[&str] = &[
    "application/zip",
    "application/xml",
    "application/gzip",
    "application/x-ole-storage",
    "application/x-cfb",
    "application/rtf",
    "text/html",
    "text/plain",
    ANY,
];

/// Returns `true` if files that are declared as `claimed` are often recognised as `found`. This is true for containers
/// of the type, and for images, audio and video, because their containers serve several types.
fn may_carry(found: &str, claimed: &str) -> bool {
    let is_media = |essence: &str| ["image/", "audio/", "video/"].iter().any(|kind| essence.starts_with(kind));
    let (found, claimed) = (data::canonical(found), data::canonical(claimed));
    CARRIERS.contains(&found)
        || data::ancestors(claimed).any(|ancestor| ancestor == found)
        || (is_media(found) && is_media(claimed))
}

/// Returns the type that the extension of a name indicates.
pub fn of_name(name: &str) -> Option<&'static str> {
    data::of_extension(&extension(name))
}

/// Returns the declared type as it is stored. The parameters are removed if the type would otherwise be too long.
/// Returns `None` if the text is not a media type.
///
/// # Errors
/// [`Refusal::TypeRefused`] if the text contains characters that are not allowed in a header.
pub fn declared(mime_type: &str) -> Result<Option<&str>, Refusal> {
    if !mime_type.is_ascii() || mime_type.contains(|c: char| c.is_ascii_control()) {
        return Err(refused(mime_type, None));
    }
    let (whole, bare) = (mime_type.trim(), mime_type.split(';').next().unwrap_or_default().trim());
    let fitting = [whole, bare].into_iter().find(|text| text.len() <= MAX_TYPE_BYTES);
    Ok(fitting.filter(|_| is_type(&bare.to_ascii_lowercase())))
}

/// Returns `true` if an allow-list can contain this entry: a type in lower case, or a prefix of one with `*` at the
/// end.
pub fn is_pattern(entry: &str) -> bool {
    let whole = match entry.strip_suffix('*') {
        Some("*/") => "x/x".to_owned(),
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

fn refused(mime_type: &str, danger: Option<Danger>) -> Refusal {
    Refusal::TypeRefused { mime_type: shown(mime_type), danger }
}

/// Returns the type for an error message: with limited length and without control characters.
fn shown(mime_type: &str) -> String {
    mime_type.chars().take(MAX_TYPE_BYTES).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}
