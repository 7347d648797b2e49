//! One spelling for the ids in recorded paths, so that auditors find all records about an id.

use uuid::Uuid;

/// Returns the path with every UUID in lower case with hyphens. Routes accept other spellings too, also with encoded
/// characters.
pub(crate) fn canonical(path: &str) -> String {
    path.split_inclusive(['/', ':'])
        .map(|piece| {
            let (segment, end) = match piece.strip_suffix(['/', ':']) {
                Some(segment) => (segment, &piece[segment.len()..]),
                None => (piece, ""),
            };
            let id = Uuid::try_parse(&decoded(segment)).ok();
            id.map_or_else(|| piece.to_owned(), |id| format!("{}{end}", id.hyphenated()))
        })
        .collect()
}

/// Decodes `%XX` of ASCII characters. Other encoded characters cannot belong to a UUID and stay as they are.
fn decoded(segment: &str) -> String {
    let mut pieces = segment.split('%');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(u8::is_ascii);
        match digits {
            Some(byte) => {
                text.push(char::from(byte));
                text.push_str(&piece[2..]);
            }
            None => {
                text.push('%');
                text.push_str(piece);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn every_spelling_of_an_id_becomes_the_same() {
        let id = "01a2234d-6a50-7674-ad7e-4b450d23ad19";
        for spelling in [
            id.to_owned(),
            id.to_uppercase(),
            id.replace('-', ""),
            id.replace('-', "%2d"),
            format!("{{{id}}}"),
            format!("%7B{id}%7d"),
        ] {
            assert_eq!(canonical(&format!("/v1/files/{spelling}/content")), format!("/v1/files/{id}/content"));
        }
        assert_eq!(canonical(&format!("chatroom:{}", id.to_uppercase())), format!("chatroom:{id}"));
        for other in ["/v1/files", "/", "", "/v1/files/%zz%", "/d/…", "/v1/files/é%C3"] {
            assert_eq!(canonical(other), other);
        }
    }
}
