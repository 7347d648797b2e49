//! Tables of media types: aliases, the more general type of each type, and extensions. The tables are in `data/`.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The second table comes from Apache Tika, by `scripts/make-media-types`. The first one has entries that Tika lacks,
/// and takes precedence.
const TABLES: [&str; 2] = [include_str!("../../data/more-media-types.tsv"), include_str!("../../data/media-types.tsv")];

/// Maximum number of ancestors of a type. The longest chain in the tables has five.
const PARENTS_MAX: usize = 16;

#[derive(Default)]
struct Known {
    aliases: HashMap<&'static str, &'static str>,
    parents: HashMap<&'static str, &'static str>,
    extensions: HashMap<&'static str, &'static str>,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let mut known = Known::default();
    for line in TABLES.iter().flat_map(|table| rows(table)) {
        if let [kind, name, meaning] = line[..] {
            let table = match kind {
                "alias" => &mut known.aliases,
                "parent" => &mut known.parents,
                _ => &mut known.extensions,
            };
            table.entry(name).or_insert(meaning);
        }
    }
    known
});

/// Returns the rows of a table without comments.
pub(super) fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    table.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect())
}

/// Returns the canonical name of a type, which is `essence` itself if it is not an alias.
pub(super) fn canonical(essence: &str) -> &str {
    KNOWN.aliases.get(essence).copied().unwrap_or(essence)
}

/// Returns the types that `canonical` is a special case of, the nearest first.
pub(super) fn ancestors(canonical: &str) -> impl Iterator<Item = &'static str> {
    let parent = |name: &str| KNOWN.parents.get(name).copied().map(self::canonical);
    std::iter::successors(parent(canonical), move |name| parent(name)).take(PARENTS_MAX)
}

/// Returns the type for an extension, which must be in lower case.
pub(super) fn of_extension(extension: &str) -> Option<&'static str> {
    KNOWN.extensions.get(extension).copied()
}
