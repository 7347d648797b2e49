//! File names, metadata and media types from clients. Text that a check accepts must have the properties on which later
//! components rely: the database, the answers to clients, and the file systems of users.
//!
//! The input is a text, which is checked as each of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;
use waybill_domain::media_type::{self, Claim, MAX_TYPE_BYTES, TypePolicy};
use waybill_domain::{Refusal, metadata, name};

fuzz_target!(|text: &str| {
    check_name(text);
    check_metadata(text);
    check_media_type(text);
});

fn check_name(text: &str) {
    let folded = name::fold(text);
    assert_eq!(name::fold(&format!("\u{200E}{text}")), folded, "an invisible mark changes the folded name");
    if name::check(text).is_err() {
        return;
    }
    assert!(!text.trim().is_empty() && text != "." && text != "..");
    assert!(text.encode_utf16().count() <= name::MAX_NAME_UNITS);
    assert!(!text.contains(['/', '\\']) && !text.contains(char::is_control));
    let lower = text.to_lowercase();
    assert!(!["%2f", "%5c", "%00"].iter().any(|encoded| lower.contains(encoded)));
}

fn check_metadata(text: &str) {
    let checked = metadata::check(text);
    let Ok(shape) = serde_json::from_str::<Shape>(text) else { return };
    let is_storable = shape.depth <= metadata::MAX_DEPTH && !shape.has_nul;
    match checked {
        Ok(()) => assert!(is_storable && text.len() <= metadata::MAX_BYTES),
        Err(Refusal::MetadataTooLarge) => assert!(text.len() > metadata::MAX_BYTES),
        // A zero can be a number that is too small for a double.
        Err(Refusal::MetadataInvalid { .. }) => assert!(!is_storable || shape.has_zero),
        Err(other) => panic!("unexpected refusal: {other:?}"),
    }
}

fn check_media_type(text: &str) {
    let accepted = TypePolicy::default().check(Claim { name: text, mime_type: "text/plain" }).is_ok();
    assert_eq!(accepted, TypePolicy::default().check_name(text).is_ok());
    let Ok(Some(declared)) = media_type::declared(text) else { return };
    assert!(declared.len() <= MAX_TYPE_BYTES);
    assert!(declared.is_ascii() && !declared.contains(|c: char| c.is_ascii_control()));
    assert_eq!(media_type::declared(declared), Ok(Some(declared)), "a stored type is read again");
    // A company can allow every type that a client can declare, by the name of the type.
    let essence = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    assert!(media_type::is_pattern(&essence), "{essence} cannot be in an allow-list");
    let policy = TypePolicy::new([essence]);
    assert_eq!(policy.check(Claim { name: "a", mime_type: declared }), Ok(()));
}

/// What `metadata::check` looks for, as a parser finds it.
#[derive(Debug, Default)]
struct Shape {
    depth: usize,
    has_nul: bool,
    has_zero: bool,
}

impl Shape {
    fn add(&mut self, inner: &Self) {
        self.depth = self.depth.max(inner.depth + 1);
        self.has_nul |= inner.has_nul;
        self.has_zero |= inner.has_zero;
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(Shape::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::default())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Shape, E> {
        Ok(Shape { has_zero: value == 0.0, ..Shape::default() })
    }

    fn visit_str<E>(self, text: &str) -> Result<Shape, E> {
        Ok(Shape { has_nul: text.contains('\0'), ..Shape::default() })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        let mut shape = Shape { depth: 1, ..Shape::default() };
        while let Some(item) = items.next_element::<Shape>()? {
            shape.add(&item);
        }
        Ok(shape)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Shape, A::Error> {
        let mut shape = Shape { depth: 1, ..Shape::default() };
        while let Some((key, value)) = members.next_entry::<String, Shape>()? {
            shape.has_nul |= key.contains('\0');
            shape.add(&value);
        }
        Ok(shape)
    }
}
