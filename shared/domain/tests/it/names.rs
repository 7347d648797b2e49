//! Tests of file names, media types and metadata from clients.

use proptest::prelude::*;
use waybill_domain::media_type::{self, Claim, Danger, TypePolicy};
use waybill_domain::{Refusal, metadata, name};

#[test]
fn names_that_people_use_are_accepted() {
    for name in [
        "a",
        "report.pdf",
        "Übersicht 2026 (1).xlsx",
        "写真.jpg",
        "👨‍👩‍👧.png",
        "a..b",
        "100%.txt",
        // A18: invisible marks that keyboards and office programs insert into names.
        "תמונה\u{200F} 1.jpg",
        "\u{200E}IMG_1.jpg",
        "ឯកសារ\u{200B}ថ្មី.pdf",
        "عقد\u{061C}.docx",
        "\u{FEFF}a.txt",
        "From \u{2068}دانا\u{2069}.jpg",
        "a\u{FFFD}b.txt",
        &"x".repeat(255),
        &"漢".repeat(255),
    ] {
        assert_eq!(name::check(name), Ok(()), "{name}");
    }
}

#[test]
fn names_that_could_do_harm_are_refused() {
    let long = "x".repeat(256);
    let wide = "😀".repeat(128);
    for name in [
        "",
        "   ",
        "\u{200E}",
        ".",
        "..",
        "../etc/passwd",
        "a/b",
        "a\\b",
        "/abs",
        "C:\\x",
        "a%2fb",
        "a%2Fb",
        "a%5cb",
        "a%00b",
        "a\0b",
        "a\nb",
        "a\u{7f}b",
        "a\u{2028}b",
        "a\u{202E}fdp.exe",
        "a\u{202A}b",
        // The text after the dot can be shown before it.
        "evil\u{2067}jpg\u{200F}.exe\u{2069}",
        &long,
        &wide,
    ] {
        assert!(matches!(name::check(name), Err(Refusal::NameInvalid { .. })), "{name:?}");
    }
}

#[test]
fn a_name_is_found_whatever_its_case_script_and_composition() {
    for (name, searched) in [
        ("Übersicht.pdf", "übersicht"),
        ("U\u{308}bersicht.pdf", "ÜBERSICHT"),
        ("Отчёт.docx", "ОТЧЁТ"),
        ("ÅRSREGNSKAP.xlsx", "årsregnskap"),
        ("İstanbul.txt", "istanbul"),
        ("ISTANBUL.txt", "ıstanbul"),
        ("ΟΔΟΣ.txt", "οδος"),
        ("ΟΔΟΣ.txt", "οδοσ"),
        ("Straße.txt", "STRASSE"),
        ("ﬁle.txt", "FILE"),
        ("ＦＵＬＬ.txt", "full"),
        ("תמונה\u{200F} 1.jpg", "תמונה 1"),
    ] {
        assert!(name::fold(name).contains(&name::fold(searched)), "{name} {searched} {}", name::fold(name));
    }
}

/// Upper and lower case are not the inverse of each other: `ẞ` has the lower case `ß`, whose upper case is `SS`.
#[test]
fn a_letter_is_folded_in_one_step() {
    for letter in '\u{0}'..=char::MAX {
        for text in [format!("{letter}"), format!("a{letter}b"), format!("Σ{letter}")] {
            let folded = name::fold(&text);
            assert_eq!(name::fold(&folded), folded, "{letter:?} U+{:04X}", u32::from(letter));
        }
    }
    assert_eq!(name::fold("STRAẞE"), name::fold("Straße"));
}

proptest! {
    #[test]
    fn folding_twice_changes_nothing_more(text in "\\PC{0,40}") {
        let folded = name::fold(&text);
        prop_assert_eq!(name::fold(&folded), folded);
    }

    /// Names that contain only ASCII use a faster path, which must give the same result.
    #[test]
    fn folding_does_not_depend_on_what_comes_behind(text in "[ -~]{0,40}") {
        prop_assert_eq!(name::fold(&format!("{text}\u{436}")), format!("{}\u{436}", name::fold(&text)));
    }

    #[test]
    fn every_double_can_be_kept(number in any::<f64>().prop_filter("a number", |number| number.is_finite())) {
        prop_assert_eq!(metadata::check(&format!("{{\"a\":{number:e}}}")), Ok(()));
    }
}

fn claim<'a>(name: &'a str, mime_type: &'a str) -> Claim<'a> {
    Claim { name, mime_type }
}

#[test]
fn everything_but_what_is_dangerous_is_accepted() {
    let policy = TypePolicy::default();
    for (name, accepted) in [
        ("a.zip", "application/x-zip-compressed"),
        ("a.gz", "application/x-gzip"),
        ("a", "IMAGE/PNG"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.doc", "application/msword"),
        ("a.js", "text/javascript"),
        ("a.foo", "application/x-something"),
        ("a", ""),
    ] {
        assert_eq!(policy.check(claim(name, accepted)), Ok(()), "{accepted}");
    }
    for (name, mime_type, danger) in [
        ("a", "application/x-msdownload", Danger::Executable),
        ("a", "application/x-executable", Danger::Executable),
        ("setup.EXE", "application/octet-stream", Danger::Executable),
        ("invoice.pdf.lnk", "application/pdf", Danger::Executable),
        ("a.bat. ", "text/plain", Danger::Script),
        ("a", "application/x-sh", Danger::Script),
        ("a.apk", "application/zip", Danger::Installer),
    ] {
        let refused = policy.check(claim(name, mime_type));
        assert!(matches!(refused, Err(Refusal::TypeRefused { danger: Some(found), .. }) if found == danger), "{name}");
    }
}

#[test]
fn content_decides_whether_a_file_is_dangerous_and_nothing_else() {
    let policy = TypePolicy::default();
    for (name, declared, found) in [
        ("a.doc", "application/msword", Some("application/vnd.ms-excel")),
        ("a.png", "image/png", Some("application/pdf")),
        ("a.png", "image/png", None),
        ("a.xls", "application/vnd.ms-excel", Some("text/html")),
        ("a.png", "text/html", Some("text/html")),
        ("a.svg", "image/svg+xml", Some("image/svg+xml")),
        ("a.txt", "text/plain", Some("text/html")),
    ] {
        assert_eq!(policy.check_content(claim(name, declared), found), Ok(()), "{name} {declared} {found:?}");
    }
    for (name, declared, found) in [
        ("a.jpg", "image/jpeg", "application/vnd.microsoft.portable-executable"),
        ("a.doc", "application/msword", "application/x-msi"),
        ("a.txt", "text/plain", "text/x-shellscript"),
        ("a.zip", "application/zip", "application/java-archive"),
        ("photo.jpg", "image/jpeg", "text/html"),
        ("photo.jpg", "application/octet-stream", "text/html"),
        ("invoice.pdf", "application/pdf", "text/html"),
        ("photo.png", "image/png", "image/svg+xml"),
    ] {
        let refused = policy.check_content(claim(name, declared), Some(found));
        assert!(matches!(refused, Err(Refusal::TypeRefused { danger: Some(_), .. })), "{name} {declared} {found}");
    }
}

#[test]
fn a_list_accepts_the_names_and_special_cases_of_what_is_on_it() {
    let zip = TypePolicy::new(["application/zip", "image/*"]);
    for accepted in ["application/zip", "application/x-zip-compressed", "image/webp", "image/heic"] {
        assert_eq!(zip.check(claim("a", accepted)), Ok(()), "{accepted}");
    }
    for refused in ["text/plain", "application/pdf", "application/octet-stream"] {
        assert!(matches!(zip.check(claim("a", refused)), Err(Refusal::TypeRefused { danger: None, .. })), "{refused}");
    }
    let text = TypePolicy::new(["text/*"]);
    let pdf = text.check_content(claim("a.txt", "text/plain"), Some("application/pdf"));
    assert!(matches!(pdf, Err(Refusal::TypeRefused { danger: None, .. })));
    assert_eq!(text.check_content(claim("a.txt", "text/plain"), None), Ok(()));
    assert!(
        text.check_content(claim("a", ""), Some("image/png")).is_err(),
        "the content decides if no type was declared"
    );
}

#[test]
fn a_dangerous_type_is_accepted_by_its_own_name_alone() {
    let everything = TypePolicy::new(["*/*", "application/*", "application/octet-stream"]);
    assert!(everything.check(claim("a.exe", "application/octet-stream")).is_err());
    let programs = TypePolicy::new(["application/x-msdownload", "application/octet-stream"]);
    assert_eq!(programs.check(claim("a.exe", "application/octet-stream")), Ok(()));
    let found = Some("application/vnd.microsoft.portable-executable");
    assert_eq!(programs.check_content(claim("a.exe", "application/octet-stream"), found), Ok(()));
    assert!(programs.check(claim("a.apk", "application/octet-stream")).is_err());
}

#[test]
fn text_that_is_no_type_counts_as_none_and_what_no_header_may_have_is_refused() {
    let long = format!("image/{}", "x".repeat(100));
    for text in ["", "image", "image/", "/png", "image/png/x", "ima ge/png", "weird", &long] {
        assert_eq!(media_type::declared(text), Ok(None), "{text}");
    }
    let wordy = format!("text/plain; a={}", "x".repeat(100));
    assert_eq!(media_type::declared(&wordy), Ok(Some("text/plain")));
    assert_eq!(media_type::declared(" text/plain; charset=utf-8 "), Ok(Some("text/plain; charset=utf-8")));
    for text in ["image/png\r\nX: y", "bild/größe"] {
        assert!(matches!(media_type::declared(text), Err(Refusal::TypeRefused { .. })), "{text:?}");
    }
}

#[test]
fn a_name_tells_a_type() {
    for (name, mime_type) in [
        ("a.png", "image/png"),
        ("A.PDF", "application/pdf"),
        ("a.tar.gz", "application/gzip"),
        ("a.md", "text/markdown"),
    ] {
        assert_eq!(media_type::of_name(name), Some(mime_type), "{name}");
    }
    assert_eq!(media_type::of_name("README"), None);
}

#[test]
fn numbers_that_no_double_holds_are_refused() {
    for json in [r#"{"a":1e400}"#, r#"{"a":-1e-400}"#, r#"{"a":[1,{"b":9e999}]}"#] {
        assert!(matches!(metadata::check(json), Err(Refusal::MetadataInvalid { .. })), "{json}");
    }
    for json in [r#"{"a":"1e400"}"#, r#"{"a":0e-400}"#, r#"{"1e400":"\\\"9e999"}"#, r#"{"a":12345678901234567890123}"#]
    {
        assert_eq!(metadata::check(json), Ok(()), "{json}");
    }
}
