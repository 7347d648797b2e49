//! Detects text files, and among them files that a shell or a browser would run (WHATWG MIME Sniffing §7.1).

/// Number of bytes at the beginning of a file that decide if it is text (§5.2).
const RESOURCE_HEADER_BYTES: usize = 1_445;

/// Interpreters whose scripts count as programs. Scripts for other interpreters are source code, which people send each
/// other.
const SHELLS: &[&str] = &["sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "csh", "tcsh", "fish", "pwsh", "busybox"];

/// Tags that begin a page (§7.1).
const TAGS: &[&str] = &[
    "<!doctype html",
    "<html",
    "<head",
    "<script",
    "<iframe",
    "<h1",
    "<div",
    "<font",
    "<table",
    "<a",
    "<style",
    "<title",
    "<b",
    "<body",
    "<br",
    "<p",
];

/// Returns the media type of a file that begins with `head`, or `None` if it is not text.
pub(super) fn kind(head: &[u8]) -> Option<&'static str> {
    let header = &head[..head.len().min(RESOURCE_HEADER_BYTES)];
    if header.is_empty() || !is_text(header) {
        return None;
    }
    let text = String::from_utf8_lossy(header);
    let text = text.trim_start_matches('\u{FEFF}');
    if is_shell_script(text) {
        return Some("text/x-shellscript");
    }
    let begin = text.trim_start_matches(['\t', '\n', '\x0C', '\r', ' ']);
    match markup(begin) {
        Some(found) => Some(found),
        None if begin.starts_with("{\\rtf") => Some("application/rtf"),
        // The first bytes are ASCII, the following bytes are not.
        None if begin.starts_with("%PDF-") => Some("application/pdf"),
        None if begin.starts_with("%!PS-Adobe-") => Some("application/postscript"),
        None => Some("text/plain"),
    }
}

/// Returns `true` if there is a byte order mark of UTF-16, or if no byte is a binary data byte (§7.2).
fn is_text(header: &[u8]) -> bool {
    let is_binary = |byte: &u8| matches!(byte, 0..=8 | 0x0B | 0x0E..=0x1A | 0x1C..=0x1F);
    header.starts_with(&[0xFE, 0xFF]) || header.starts_with(&[0xFF, 0xFE]) || !header.iter().any(is_binary)
}

/// Returns `true` if the first line names a shell (`#!/bin/sh`, `#!/usr/bin/env -S bash`).
fn is_shell_script(text: &str) -> bool {
    let Some(line) = text.strip_prefix("#!").and_then(|rest| rest.lines().next()) else { return false };
    let mut words = line.split_ascii_whitespace();
    let Some(program) = words.next().filter(|program| program.starts_with('/')) else { return false };
    let named = match base(program) {
        "env" => words.find(|word| !word.starts_with('-') && !word.contains('=')).map(base),
        program => Some(program),
    };
    named.is_some_and(|named| SHELLS.contains(&named))
}

fn base(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

/// Detects HTML by its first tag, and SVG by its first element.
fn markup(begin: &str) -> Option<&'static str> {
    let lower = begin.to_ascii_lowercase();
    let ends_tag = |rest: &str| rest.starts_with(['\t', '\n', '\x0C', '\r', ' ', '>', '/']);
    if TAGS.iter().any(|tag| lower.strip_prefix(tag).is_some_and(ends_tag)) {
        return Some("text/html");
    }
    let mut rest = lower.as_str();
    loop {
        rest = rest.trim_start();
        let skipped = if rest.starts_with("<?") {
            rest.split_once("?>")
        } else if rest.starts_with("<!--") {
            rest.split_once("-->")
        } else if rest.starts_with("<!doctype svg") {
            rest.split_once('>')
        } else {
            None
        };
        match skipped {
            Some((_, behind)) => rest = behind,
            None => break,
        }
    }
    if rest.strip_prefix("<svg").is_some_and(ends_tag) {
        return Some("image/svg+xml");
    }
    if TAGS.iter().take(2).any(|tag| rest.starts_with(tag)) {
        return Some("text/html");
    }
    lower.starts_with("<?xml").then_some("application/xml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_of_shells_are_known_and_source_code_is_not_taken_for_them() {
        for script in [
            "#!/bin/sh\necho",
            "#! /bin/bash -e\r\n",
            "\u{FEFF}#!/bin/sh\n",
            "#!/usr/bin/env bash",
            "#!/usr/bin/env -S zsh -f",
            "#!/usr/bin/env A=b dash",
        ] {
            assert_eq!(kind(script.as_bytes()), Some("text/x-shellscript"), "{script}");
        }
        for text in [
            "#!/usr/bin/env python3\n",
            "#!/usr/bin/node\n",
            "#! a title",
            "#!sh",
            "#!",
            "# /bin/sh",
            "MZ",
            "PK",
            "\u{2028}",
        ] {
            assert_eq!(kind(text.as_bytes()), Some("text/plain"), "{text}");
        }
    }

    #[test]
    fn pages_are_known_by_their_first_tag() {
        for page in ["<!DOCTYPE html>\n<p>", "  <html lang=de>", "<script>1</script>", "<?xml version='1.0'?><html/>"] {
            assert_eq!(kind(page.as_bytes()), Some("text/html"), "{page}");
        }
        for svg in ["<svg xmlns='a'>", "<?xml version='1.0'?><!-- a --><!DOCTYPE svg PUBLIC 'x'>\n<svg/>"] {
            assert_eq!(kind(svg.as_bytes()), Some("image/svg+xml"), "{svg}");
        }
        assert_eq!(kind(b"<?xml version='1.0'?><a/>"), Some("application/xml"));
        assert_eq!(kind(b"<abc>"), Some("text/plain"));
    }

    #[test]
    fn binary_files_are_no_text() {
        for binary in [&b"a\0b"[..], &[1, 2, 3], b""] {
            assert_eq!(kind(binary), None, "{binary:x?}");
        }
    }
}
