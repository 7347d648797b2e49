//! Dangerous files, which are refused: programs, installers, scripts, and active content under a misleading type.

use super::data;
use std::collections::HashMap;
use std::sync::LazyLock;

const TABLE: &str = include_str!("../../data/dangerous-types.tsv");

/// Kind of danger when a user opens a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Danger {
    /// The file is a program.
    Executable,
    /// The file installs a program.
    Installer,
    /// A shell or an interpreter of the system runs the file.
    Script,
    /// The file claims to be an image, audio, video, font or PDF file, and is a page that a browser runs.
    Misleading,
}

impl Danger {
    /// Returns a clause for an error message that describes the file.
    pub fn what(self) -> &'static str {
        match self {
            Self::Executable => "it is a program",
            Self::Installer => "it installs a program",
            Self::Script => "it is a script that the system runs",
            Self::Misleading => "it is a web page under another type",
        }
    }
}

/// Kind of dangerous file, with all of its media types.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) danger: Danger,
    types: Vec<&'static str>,
}

impl Kind {
    /// Returns `true` if `canonical` is a type of this kind.
    pub(super) fn has_type(&self, canonical: &str) -> bool {
        self.types.iter().any(|known| data::canonical(known) == canonical)
    }
}

#[derive(Default)]
struct Kinds {
    kinds: Vec<Kind>,
    by_type: HashMap<&'static str, usize>,
    by_extension: HashMap<&'static str, usize>,
}

static KINDS: LazyLock<Kinds> = LazyLock::new(|| {
    let mut all = Kinds::default();
    for row in data::rows(TABLE) {
        if let [class, types, extensions] = row[..] {
            let danger = match class {
                "executable" => Danger::Executable,
                "installer" => Danger::Installer,
                _ => Danger::Script,
            };
            let (index, types) = (all.kinds.len(), types.split(' ').collect::<Vec<_>>());
            all.by_type.extend(types.iter().map(|name| (data::canonical(name), index)));
            all.by_extension.extend(extensions.split(' ').map(|extension| (extension, index)));
            all.kinds.push(Kind { danger, types });
        }
    }
    all
});

/// Returns the dangerous kind with this type.
pub(super) fn of_type(canonical: &str) -> Option<&'static Kind> {
    KINDS.by_type.get(canonical).map(|index| &KINDS.kinds[*index])
}

/// Returns the dangerous kind with this extension, which must be in lower case.
pub(super) fn of_extension(extension: &str) -> Option<&'static Kind> {
    KINDS.by_extension.get(extension).map(|index| &KINDS.kinds[*index])
}

/// Returns `true` if a browser runs scripts in files of this type.
pub(super) fn is_active(canonical: &str) -> bool {
    matches!(canonical, "text/html" | "application/xhtml+xml" | "image/svg+xml")
}

/// Returns `true` if users do not expect a web page in files of this type. Office documents are an exception: many
/// programs write web pages and name them `.xls` or `.doc`.
pub(super) fn hides_pages(canonical: &str) -> bool {
    let top_level = canonical.split('/').next().unwrap_or_default();
    let is_media = matches!(top_level, "image" | "audio" | "video" | "font");
    (is_media && !is_active(canonical)) || canonical == "application/pdf"
}
