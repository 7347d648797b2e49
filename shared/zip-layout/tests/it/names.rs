//! Safe names.

use crate::support::fixed_cases;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::HashSet;

const FORBIDDEN: &str =
    "<>:\"/\\|?*\x7F\u{61C}\u{200E}\u{200F}\u{202A}\u{202B}\u{202C}\u{202D}\u{202E}\u{2066}\u{2067}\u{2068}\u{2069}";

fn safe_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    waybill_zip_layout::safe_names(names, str::to_lowercase)
}

fn safe(name: &str) -> String {
    safe_names([name]).remove(0)
}

#[test]
fn names_that_windows_does_not_permit_are_changed() {
    for (name, expected) in [
        ("photo.jpg", "photo.jpg"),
        ("naïve 文書.pdf", "naïve 文書.pdf"),
        (".bashrc", ".bashrc"),
        ("a<b>c:d\"e/f\\g|h?i*j.txt", "a_b_c_d_e_f_g_h_i_j.txt"),
        ("tab\tnul\0del\x7F.txt", "tab_nul_del_.txt"),
        ("annexe\u{202E}gpj.exe", "annexe_gpj.exe"),
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("", "file"),
        (".", "file"),
        ("..", "file"),
        (". . ", "file"),
        (" ", "file"),
        ("name. . .", "name"),
        ("CON", "_CON"),
        ("con.txt", "_con.txt"),
        ("Nul.tar.gz", "_Nul.tar.gz"),
        ("aux .txt", "_aux .txt"),
        ("prn.", "_prn"),
        ("COM1", "_COM1"),
        ("lpt9.log", "_lpt9.log"),
        ("com¹", "_com¹"),
        ("CONIN$", "_CONIN$"),
        ("COM0", "COM0"),
        ("COM10", "COM10"),
        ("COM", "COM"),
        ("CONSOLE.txt", "CONSOLE.txt"),
        ("icon.con", "icon.con"),
    ] {
        assert_eq!(safe(name), expected, "{name:?}");
    }
}

#[test]
fn a_long_name_is_cut_before_its_extension() {
    let long = |end: &str| format!("{}{end}", "é".repeat(200));
    assert_eq!(safe(&"a".repeat(240)), "a".repeat(240));
    assert_eq!(safe(&"a".repeat(241)), "a".repeat(240));
    assert_eq!(safe(&long("")), "é".repeat(120));
    assert_eq!(safe(&long(".jpg")), format!("{}.jpg", "é".repeat(118)));
    assert_eq!(safe(&long(".jpeg")), format!("{}.jpeg", "é".repeat(117)));
    assert_eq!(safe(&long(".1234567890abcdef")), format!("{}.1234567890abcdef", "é".repeat(111)));
    assert_eq!(safe(&long(".1234567890abcdefg")), "é".repeat(120));
    assert_eq!(safe(&format!("{}. b{}", "a".repeat(239), "c".repeat(20))), "a".repeat(239));
    assert_eq!(safe(&format!("{}{}", ".".repeat(300), "b".repeat(20))), "file");
}

#[test]
fn a_cut_does_not_uncover_a_device() {
    let spaces = " ".repeat(300);
    assert_eq!(safe(&format!("con{spaces}cert")), "_con");
    let cut = safe(&format!("con{spaces}cert.txt"));
    assert_eq!((cut.len(), cut.starts_with("_con  "), cut.ends_with("  .txt")), (240, true, true));
}

#[test]
fn repetitions_get_the_next_free_number() {
    for (names, expected) in [
        (vec!["photo.jpg"; 3], vec!["photo.jpg", "photo (2).jpg", "photo (3).jpg"]),
        (vec!["a.txt", "a.txt", "a (2).txt"], vec!["a.txt", "a (3).txt", "a (2).txt"]),
        (vec!["a (2).txt", "a.txt", "A.TXT"], vec!["a (2).txt", "a.txt", "A (3).TXT"]),
        (vec!["a (2)", "a", "a", "a (2)"], vec!["a (2)", "a", "a (3)", "a (2) (2)"]),
        (vec!["ÉTÉ.txt", "été.txt"], vec!["ÉTÉ.txt", "été (2).txt"]),
        (vec![".bashrc", ".bashrc"], vec![".bashrc", ".bashrc (2)"]),
        (vec!["", ".", "file"], vec!["file", "file (2)", "file (3)"]),
        (vec!["a?b", "a*b", "a_b"], vec!["a_b", "a_b (2)", "a_b (3)"]),
        (vec!["con", "_con"], vec!["_con", "_con (2)"]),
        (vec!["x.tar.gz", "x.tar.gz"], vec!["x.tar.gz", "x.tar (2).gz"]),
        (vec!["Dr. No", "Dr. No"], vec!["Dr. No", "Dr. No (2)"]),
    ] {
        assert_eq!(safe_names(names.iter().copied()), expected, "{names:?}");
    }
}

#[test]
fn many_equal_names_take_linear_time() {
    // With quadratic time, each of these takes 2 thousand million steps.
    let equal = vec!["photo.jpg"; 65_536];
    let numbered: Vec<String> = (2..=65_536).map(|number| format!("photo ({number}).jpg")).collect();
    let both: Vec<&str> = numbered.iter().map(String::as_str).chain(equal.iter().copied()).collect();

    let safe = safe_names(equal.iter().copied());
    assert_eq!((safe[1].as_str(), safe[65_535].as_str()), ("photo (2).jpg", "photo (65536).jpg"));
    let safe = safe_names(both.iter().copied());
    assert_eq!(safe.iter().collect::<HashSet<_>>().len(), both.len());
    assert_eq!(safe[both.len() - 1], "photo (131071).jpg");
}

fn any_name() -> impl Strategy<Value = String> {
    let mixed = vec(prop_oneof![Just('.'), Just(' '), Just('a'), Just('A'), Just('Σ'), Just('é'), any::<char>()], 0..8);
    prop_oneof![
        4 => mixed.prop_map(String::from_iter),
        2 => "(a|A|b)( \\([23]\\))?( \\([23]\\))?(\\.txt|\\.TXT)?",
        1 => "(?i)(con|nul|aux|prn|com1|lpt9)[ .]{0,2}[a-z]?",
        1 => "\\PC{60,300}",
        1 => any::<String>(),
    ]
}

proptest! {
    #![proptest_config(fixed_cases(300))]

    #[test]
    fn names_are_safe_and_unique(names in vec(any_name(), 0..40)) {
        let safe = safe_names(names.iter().map(String::as_str));
        prop_assert_eq!(safe.len(), names.len());
        let different: HashSet<String> = safe.iter().map(|name| name.to_lowercase()).collect();
        prop_assert_eq!(different.len(), names.len());
        for name in &safe {
            prop_assert!(!name.is_empty() && name.len() <= 255, "{:?}", name);
            prop_assert!(!name.ends_with(['.', ' ']), "{:?}", name);
            prop_assert!(!name.contains(|c: char| c < ' ' || FORBIDDEN.contains(c)), "{:?}", name);
            let base = name.split('.').next().unwrap().trim_end().to_uppercase();
            prop_assert!(!["CON", "NUL", "AUX", "PRN", "COM1", "LPT9"].contains(&base.as_str()), "{:?}", name);
        }
    }

    #[test]
    fn one_name_has_at_most_240_bytes(name in any_name()) {
        prop_assert!(safe(&name).len() <= 240);
    }

    #[test]
    fn safe_unique_names_stay(names in vec(any_name(), 0..40)) {
        let mut seen = HashSet::new();
        let unique: Vec<String> = names.iter().map(|name| safe(name)).filter(|name| seen.insert(name.to_lowercase())).collect();
        prop_assert_eq!(safe_names(unique.iter().map(String::as_str)), unique);
    }

    #[test]
    fn the_order_of_names_stays(names in vec("[a-c]", 0..20)) {
        let safe = safe_names(names.iter().map(String::as_str));
        for (name, safe) in names.iter().zip(&safe) {
            prop_assert!(safe.starts_with(name.as_str()));
        }
    }
}
