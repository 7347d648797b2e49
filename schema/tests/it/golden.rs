//! Stored bytes must never change. If a test fails here, the code is wrong and not the golden file: a new shape needs a
//! new version. `WAYBILL_WRITE_GOLDEN=1` writes missing files and never overwrites a file.

use crate::samples;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use waybill_schema::Event;
use waybill_schema::events::EventError;

fn path(name: &str) -> PathBuf {
    // cargo test runs in the directory of the package. A path from compile time could belong to another checkout that
    // uses the same target directory.
    PathBuf::from("golden").join(format!("{name}.hex"))
}

/// Returns the golden bytes of an event in hexadecimal digits. Writes a missing file if it may.
fn golden(name: &str, event: &Event) -> String {
    // Tests run at the same time, and a file must be whole when it is read.
    static WRITING: Mutex<()> = Mutex::new(());
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let path = path(name);
    if !path.exists() && std::env::var_os("WAYBILL_WRITE_GOLDEN").is_some() {
        let bytes = event.encode().unwrap_or_else(|e| panic!("{name} cannot be encoded: {e}"));
        let written = std::fs::write(&path, format!("{}\n", hex::encode(bytes)));
        written.unwrap_or_else(|e| panic!("{name} has no golden bytes and they cannot be written: {e}"));
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{name} has no golden bytes"));
    golden.trim().to_owned()
}

#[test]
fn stored_bytes_are_those_in_git() {
    for (name, event) in samples::all() {
        let golden = golden(name, &event);
        assert_eq!(hex::encode(event.encode().unwrap()), golden, "the encoding of {name} has changed");
    }
}

#[test]
fn stored_bytes_are_still_read() {
    for (name, event) in samples::all() {
        let golden = hex::decode(golden(name, &event)).unwrap();
        assert_eq!(Event::decode(event.event_type(), event.version(), &golden), Ok(event), "{name}");
    }
}

#[test]
fn earlier_versions_are_read_as_the_newest() {
    for (name, version, event) in samples::earlier() {
        let golden = hex::decode(std::fs::read_to_string(path(name)).unwrap().trim()).unwrap();
        assert_eq!(Event::decode(event.event_type(), version, &golden), Ok(event), "{name}");
    }
}

#[test]
fn every_version_has_golden_bytes() {
    let newest = samples::all();
    let earlier = samples::earlier();
    let sampled: BTreeSet<(&str, u16)> = newest
        .iter()
        .map(|(_, event)| (event.event_type(), event.version()))
        .chain(earlier.iter().map(|(_, version, event)| (event.event_type(), *version)))
        .collect();
    let known: BTreeSet<(&str, u16)> = Event::catalogue().collect();
    assert_eq!(sampled, known);
}

#[test]
fn what_is_not_an_event_is_told_apart() {
    let unknown = Event::decode("UploadStarted", 99, &[]);
    assert!(matches!(unknown, Err(EventError::Unknown { version: 99, .. })));
    for (name, event) in samples::all() {
        let mut longer = event.encode().unwrap();
        longer.push(0);
        let decoded = Event::decode(event.event_type(), event.version(), &longer);
        assert!(matches!(decoded, Err(EventError::Corrupt { .. })), "{name} with one extra byte");
    }
}
