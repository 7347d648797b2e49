//! What is known of media types: their aliases, of which other type each is a special case, and which extension means
//! which. The tables are in `data/`.

use std::collections::HashMap;
use std::sync::LazyLock;

/// From Apache Tika's list, by `scripts/make-media-types`; what it lacks comes first.
const TABLES: [&str; 2] = [include_str!("../../data/more-media-types.tsv"), include_str!("../../data/media-types.tsv")];

/// How far up the parents of a type are followed; the longest chain of the list has five.
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

/// The rows of a table, without its comments.
pub(super) fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    table.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect())
}

/// The name by which a type is known; `essence` itself where it is no alias.
pub(super) fn canonical(essence: &str) -> &str {
    KNOWN.aliases.get(essence).copied().unwrap_or(essence)
}

/// The types that `canonical` is a special case of, the nearest first.
pub(super) fn ancestors(canonical: &str) -> impl Iterator<Item = &'static str> {
    let parent = |name: &str| KNOWN.parents.get(name).copied().map(self::canonical);
    std::iter::successors(parent(canonical), move |name| parent(name)).take(PARENTS_MAX)
}

/// The type that an extension means, which is in lower case.
pub(super) fn of_extension(extension: &str) -> Option<&'static str> {
    KNOWN.extensions.get(extension).copied()
}
