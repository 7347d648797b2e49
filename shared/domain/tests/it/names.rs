//! Names and types that clients may give.

use waybill_domain::media_type::TypePolicy;
use waybill_domain::{Refusal, name};

#[test]
fn names_that_people_use_are_accepted() {
    for name in
        ["a", "report.pdf", "Übersicht 2026 (1).xlsx", "写真.jpg", "👨‍👩‍👧.png", "a..b", "100%.txt", &"x".repeat(255)]
    {
        assert_eq!(name::check(name), Ok(()), "{name}");
    }
}

#[test]
fn names_that_could_do_harm_are_refused() {
    let long = "x".repeat(256);
    let wide = "ü".repeat(128);
    for name in [
        "",
        "   ",
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
        "a\u{202E}fdp.exe",
        "a\u{2066}b",
        "a\u{200B}b",
        "\u{FEFF}a",
        &long,
        &wide,
    ] {
        assert!(matches!(name::check(name), Err(Refusal::NameInvalid { .. })), "{name:?}");
    }
}

#[test]
fn types_are_checked_against_the_list_without_their_parameters() {
    let policy = TypePolicy::default();
    for accepted in
        ["image/png", "IMAGE/PNG", "text/plain; charset=utf-8", "application/pdf", "application/octet-stream"]
    {
        assert_eq!(policy.check(accepted), Ok(()), "{accepted}");
    }
    let long = format!("image/{}", "x".repeat(100));
    for refused in [
        "application/x-msdownload",
        "application/x-executable",
        "",
        "image",
        "image/",
        "/png",
        "image/png/x",
        "ima ge/png",
        "image/png\r\nX: y",
        &long,
    ] {
        assert!(matches!(policy.check(refused), Err(Refusal::TypeRefused { .. })), "{refused:?}");
    }
    let images = TypePolicy::new(["image/*"]);
    assert!(images.check("image/webp").is_ok());
    assert!(images.check("text/plain").is_err());
}
