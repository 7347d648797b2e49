//! Names that every common system can unpack, each once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The longest name in bytes, before a number is added to a repetition. Common file systems permit 255 bytes.
const NAME_MAX_BYTES: usize = 240;
/// The longest extension that stays when a name is cut, without its dot.
const EXTENSION_MAX_BYTES: usize = 16;
/// The name of a file whose name has no usable character.
const FALLBACK: &str = "file";
/// Device names of Windows. It also takes the digits `¹`, `²` and `³` for numbers of ports.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
const PORTS: [&str; 2] = ["COM", "LPT"];
const PORT_DIGITS: &str = "123456789¹²³";

/// Occurrences of a name.
struct Usage {
    /// `true` if the name has occurred.
    occurred: bool,
    /// The next number to try for a repetition.
    next_number: u64,
}

/// Makes names safe and unique, and returns them in the same order.
///
/// A safe name is the name of one file, not a path. It has no character that Windows does not permit, no control character, no mark
/// that changes the direction of text, no dot or space at its end, and at most 240 bytes. It is not the name of a device. Characters
/// that are not permitted become `_`.
///
/// Names are equal if `fold` gives the same text for them: it should at least remove differences in case. The first of equal names stays as it is, and each repetition gets a number, as in
/// `photo (2).jpg`: at most 15 bytes more. A number that would make the name equal to another one is left out. So safe names
/// that are all different stay as they are.
pub fn safe_names<'a>(names: impl IntoIterator<Item = &'a str>, fold: fn(&str) -> String) -> Vec<String> {
    let names: Vec<String> = names.into_iter().map(safe_name).collect();
    let mut usages: HashMap<String, Usage> =
        names.iter().map(|name| (fold(name), Usage { occurred: false, next_number: 2 })).collect();
    names.into_iter().map(|name| unique_name(name, &mut usages, fold)).collect()
}

/// Finds a name that has not occurred and that no later name has. A repetition continues with the number after that of the previous
/// one, so that many equal names take linear time.
fn unique_name(name: String, usages: &mut HashMap<String, Usage>, fold: fn(&str) -> String) -> String {
    let key = fold(&name);
    let mut number = match usages.get_mut(&key) {
        Some(usage) if usage.occurred => usage.next_number,
        Some(usage) => {
            usage.occurred = true;
            return name;
        }
        None => 2,
    };
    let (stem, extension) = split_extension(&name);
    loop {
        let candidate = format!("{stem} ({number}){extension}");
        let candidate_key = fold(&candidate);
        number += 1;
        if let Entry::Vacant(free) = usages.entry(candidate_key) {
            free.insert(Usage { occurred: true, next_number: 2 });
            usages.entry(key).and_modify(|usage| usage.next_number = number);
            return candidate;
        }
    }
}

fn safe_name(name: &str) -> String {
    let name: String = name.chars().map(|c| if is_permitted(c) { c } else { '_' }).collect();
    let name = shortened(without_end(&name));
    if is_device(&name) { shortened(&format!("_{name}")).into_owned() } else { name.into_owned() }
}

fn is_permitted(c: char) -> bool {
    let is_reserved = matches!(c, '<' | '>' | ':' | '"' | '/' | '\\' | '|' | '?' | '*');
    let is_control = matches!(c, '\0'..='\x1F' | '\x7F');
    // The property Bidi_Control of Unicode.
    let is_direction =
        matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    !(is_reserved || is_control || is_direction)
}

/// Removes dots and spaces at the end, which Windows does not keep. This also removes the names `.` and `..`.
fn without_end(name: &str) -> &str {
    name.trim_end_matches(['.', ' '])
}

/// Cuts a name that is too long, before its extension.
fn shortened(name: &str) -> Cow<'_, str> {
    if name.is_empty() {
        return Cow::Borrowed(FALLBACK);
    }
    if name.len() <= NAME_MAX_BYTES {
        return Cow::Borrowed(name);
    }
    let (stem, extension) = split_extension(name);
    let cut = stem.floor_char_boundary(NAME_MAX_BYTES.saturating_sub(extension.len()));
    let stem = stem.get(..cut).unwrap_or_default();
    if !extension.is_empty() {
        return Cow::Owned(format!("{stem}{extension}"));
    }
    match without_end(stem) {
        "" => Cow::Borrowed(FALLBACK),
        stem => Cow::Borrowed(stem),
    }
}

/// Splits a name before the dot of its extension. The extension is empty if it is too long or has a space, or if nothing else
/// would be left.
fn split_extension(name: &str) -> (&str, &str) {
    let at = name.rfind('.').unwrap_or(0);
    let (stem, extension) = name.split_at_checked(at).unwrap_or((name, ""));
    let is_extension = !stem.is_empty() && extension.len() <= 1 + EXTENSION_MAX_BYTES && !extension.contains(' ');
    if is_extension { (stem, extension) } else { (name, "") }
}

/// Returns whether Windows takes a name for a device. It ignores case, everything after the first dot, and spaces before that.
fn is_device(name: &str) -> bool {
    let base = name.split('.').next().unwrap_or(name).trim_end_matches(' ').to_uppercase();
    let mut ports = PORTS.iter().filter_map(|port| base.strip_prefix(port));
    DEVICES.contains(&base.as_str()) || ports.any(|digit| digit.chars().count() == 1 && PORT_DIGITS.contains(digit))
}
