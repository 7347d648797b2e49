//! Media types: which files a company accepts.
//!
//! The declared type of a file counts, unless its content or its name shows that it is dangerous: a file that a system
//! would run is refused under any name. All other files are accepted, because people send each other files of all kinds. A
//! company may list the types that it accepts. Aliases (`application/x-zip-compressed`) count as the type they stand for.

mod danger;
mod data;

pub use danger::Danger;

use crate::Refusal;
use danger::Kind;

/// The longest media type, in bytes: the width of its column.
pub const MAX_TYPE_BYTES: usize = 100;
/// The type of a file of which nothing is known.
pub const ANY: &str = "application/octet-stream";
/// The list of a company that sets none: everything that is not dangerous.
pub const DEFAULT_ALLOWED: &[&str] = &["*/*"];

/// An allow-list. An entry is a whole type, or ends in `*` and then stands for all types that begin so. A dangerous type
/// is accepted by its whole name alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypePolicy {
    allowed: Vec<String>,
}

impl Default for TypePolicy {
    fn default() -> Self {
        Self::new(DEFAULT_ALLOWED.iter().copied())
    }
}

/// The client's description of a file.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The name.
    pub name: &'a str,
    /// The type; empty if the client declares none and the name tells none.
    pub mime_type: &'a str,
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

    /// Returns whether a file may come that is said to be this; before its bytes.
    ///
    /// # Errors
    /// [`Refusal::TypeRefused`].
    pub fn check(&self, claim: Claim<'_>) -> Result<(), Refusal> {
        let essence = essence(claim.mime_type);
        self.check_danger(&essence)?;
        self.check_name(claim.name)?;
        // Of what nobody has said a type the content tells it.
        if claim.mime_type.is_empty() || self.has(&essence) { Ok(()) } else { Err(refused(claim.mime_type, None)) }
    }

    /// Returns whether a file may be called this: systems go by the extension.
    ///
    /// # Errors
    /// [`Refusal::TypeRefused`].
    pub fn check_name(&self, name: &str) -> Result<(), Refusal> {
        let extension = extension(name);
        match danger::of_extension(&extension).filter(|kind| !self.names(kind)) {
            Some(kind) => Err(refused(&format!(".{extension}"), Some(kind.danger))),
            None => Ok(()),
        }
    }

    /// Returns whether a file may stay whose content was recognised as `sniffed`.
    ///
    /// # Errors
    /// [`Refusal::TypeRefused`].
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

    /// Returns whether the list names this dangerous kind.
    fn names(&self, kind: &Kind) -> bool {
        self.allowed.iter().any(|entry| kind.has_type(data::canonical(entry)))
    }

    /// Returns whether the list has this type, by any of its names, or one that it is a special case of.
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

/// The type as it is compared: in lower case, without parameters (RFC 9110 §8.3.1).
fn essence(mime_type: &str) -> String {
    mime_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Returns what comes behind the last dot of a name, in lower case. Systems forget dots and spaces at the end.
fn extension(name: &str) -> String {
    let name = name.trim_end_matches(['.', ' ']);
    name.rsplit_once('.').map(|(_, extension)| extension.to_lowercase()).unwrap_or_default()
}

/// Returns what a file claims to be: where its type says nothing, its name may.
fn claimed(claim: Claim<'_>) -> String {
    let essence = essence(claim.mime_type);
    match of_name(claim.name) {
        Some(by_name) if essence.is_empty() || essence == ANY => by_name.to_owned(),
        _ => essence,
    }
}

/// Types that carry other types, and that programs often declare as something else.
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

/// Returns whether files of the type `claimed` are often found to be `found`: its containers, and pictures, sounds and
/// films, whose containers serve several types.
fn may_carry(found: &str, claimed: &str) -> bool {
    let is_media = |essence: &str| ["image/", "audio/", "video/"].iter().any(|kind| essence.starts_with(kind));
    let (found, claimed) = (data::canonical(found), data::canonical(claimed));
    CARRIERS.contains(&found)
        || data::ancestors(claimed).any(|ancestor| ancestor == found)
        || (is_media(found) && is_media(claimed))
}

/// The type that a file's name tells.
pub fn of_name(name: &str) -> Option<&'static str> {
    data::of_extension(&extension(name))
}

/// A type as it is kept: what a client declares, if it is a type; without its parameters where it would be too long.
/// `None` where it says nothing.
///
/// # Errors
/// [`Refusal::TypeRefused`] for text that no header may have.
pub fn declared(mime_type: &str) -> Result<Option<&str>, Refusal> {
    if !mime_type.is_ascii() || mime_type.contains(|c: char| c.is_ascii_control()) {
        return Err(refused(mime_type, None));
    }
    let (whole, bare) = (mime_type.trim(), mime_type.split(';').next().unwrap_or_default().trim());
    let fitting = [whole, bare].into_iter().find(|text| text.len() <= MAX_TYPE_BYTES);
    Ok(fitting.filter(|_| is_type(&bare.to_ascii_lowercase())))
}

/// Returns whether this is an entry that an allow-list may have: a type in lower case, or the beginning of one and `*`.
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

/// The type as an error may repeat it: bounded, and without control characters.
fn shown(mime_type: &str) -> String {
    mime_type.chars().take(MAX_TYPE_BYTES).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}
