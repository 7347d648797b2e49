//! Files that are refused for what they do: programs, installers, scripts, and active content under a misleading type.

use super::data;
use std::collections::HashMap;
use std::sync::LazyLock;

const TABLE: &str = include_str!("../../data/dangerous-types.tsv");

/// What opening a file would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Danger {
    /// It runs.
    Executable,
    /// It installs something that runs.
    Installer,
    /// A shell or an interpreter of the system runs it.
    Script,
    /// It claims to be a picture, a sound, a film or a PDF, and is a page that a browser would run.
    Misleading,
}

impl Danger {
    /// Returns what it is, for a sentence.
    pub fn what(self) -> &'static str {
        match self {
            Self::Executable => "it is a program",
            Self::Installer => "it installs a program",
            Self::Script => "it is a script that the system runs",
            Self::Misleading => "it is a web page under another type",
        }
    }
}

/// One kind of dangerous file: all types and extensions that it has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) danger: Danger,
    types: Vec<&'static str>,
}

impl Kind {
    /// Returns whether this type means the kind.
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

/// The dangerous kind that a type means.
pub(super) fn of_type(canonical: &str) -> Option<&'static Kind> {
    KINDS.by_type.get(canonical).map(|index| &KINDS.kinds[*index])
}

/// The dangerous kind that an extension means, which is in lower case.
pub(super) fn of_extension(extension: &str) -> Option<&'static Kind> {
    KINDS.by_extension.get(extension).map(|index| &KINDS.kinds[*index])
}

/// Returns whether a browser runs what is in such a file.
pub(super) fn is_active(canonical: &str) -> bool {
    matches!(canonical, "text/html" | "application/xhtml+xml" | "image/svg+xml")
}

/// Returns whether nobody expects a page in such a file. Tables and letters are different: many programs write pages and
/// call them `.xls` or `.doc`.
pub(super) fn hides_pages(canonical: &str) -> bool {
    let top_level = canonical.split('/').next().unwrap_or_default();
    let is_media = matches!(top_level, "image" | "audio" | "video" | "font");
    (is_media && !is_active(canonical)) || canonical == "application/pdf"
}
