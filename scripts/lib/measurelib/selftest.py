"""Tests of the parsers on difficult code. `scripts/measure --self-test` runs them."""

import copy
import re
import unittest

from . import items, limits, measures, modules, patterns, tree
from .tokens import IDENT, Source


def idents(text):
    return [token.text for token in Source(text).tokens if token.kind == IDENT]


class Tokens(unittest.TestCase):
    def test_strings_and_comments_contain_no_code(self):
        for text in (
            '"match { // not a comment"', 'r"a\\"', 'r#"a "quoted" match"#', 'br##"x"# y"##', 'c"x"', 'b"\\""',
            "/* a /* nested */ match */", "// match\n", "/// match\n", "'\"'", "'\\''", "'{'", "b'\\x00'",
            "'\\u{1F600}'",
        ):
            self.assertEqual(idents(text + " end"), ["end"], text)

    def test_lifetimes_are_no_characters(self):
        self.assertEqual(idents("fn f<'a, 'b: 'a>(x: &'a str) -> char { 'a' }"), ["fn", "f", "x", "str", "char"])

    def test_raw_identifiers_are_no_keywords(self):
        self.assertEqual(idents("r#match r#fn"), ["r#match", "r#fn"])

    def test_only_lines_without_code_are_comment_lines(self):
        source = Source("//! a\nlet b = 1; // c\n/* d\n\n e */\nlet f = \"\n// g\n\";\n")
        self.assertEqual(source.comments_without_code(), {1, 3, 4, 5})


class Functions(unittest.TestCase):
    def parameters(self, text):
        source = Source(text)
        return [(function.name, len(function.parameters),
                 sum(items.is_tuple_parameter(source, *each) for each in function.parameters))
                for function in items.functions(source)]

    def test_parameters_are_counted_and_tuples_are_found(self):
        for text, count, tuples in (
            ("fn f() {}", 0, 0),
            ("fn f(&self, a: u8,) {}", 2, 0),
            ("fn f<T: Fn(A, B) -> C, const N: usize>(a: T, b: [u8; N]) -> (A, B) where T: Send { }", 2, 0),
            ("fn f(a: HashMap<K, Vec<(A, B)>>, b: u8);", 2, 0),
            ("fn f(a: (A, B), (c, d): (C, D), Pair(e, g): Pair) {}", 3, 2),
            ("fn f(a: &'a mut (A, B), (b, c): Key, &(d, e): &Pair) {}", 3, 3),
            ("fn f(a: (), b: (A), c: &(dyn A + Send), d: (A,)) {}", 4, 0),
            ("fn f(a: impl Fn((A, B)) -> C, b: Option<(A, B)>, c: [(A, B); 2], d: fn(A, B)) {}", 4, 0),
            ("fn f(#[expect(unused, reason = \"(a, b)\")] a: A, /* b: (B, C), */ c: C) {}", 2, 0),
        ):
            self.assertEqual(self.parameters(text), [("f", count, tuples)], text)

    def test_types_of_functions_and_closures_are_no_functions(self):
        self.assertEqual(self.parameters("const F: fn(A, B) = |a: (A, B)| a; struct S { f: fn((A, B)) }"), [])

    def test_lines_are_from_the_signature_to_the_end_of_the_body(self):
        source = Source("trait T {\n    fn a(\n        &self,\n    ) -> u8\n    where\n        Self: X<{ 1 }>;\n"
                        "    /// b\n    pub fn b() -> [u8; 2] {\n        fn c() {}\n        [0; 2]\n    }\n}\n")
        self.assertEqual([(each.name, each.lines) for each in items.functions(source)][1:], [("b", 4), ("c", 1)])

    def test_functions_of_macros_are_found(self):
        self.assertEqual(self.parameters("macro_rules! m { ($n:ident) => { fn $n(a: A) {} fn f(b: B) {} } }"),
                         [("n", 1, 0), ("f", 1, 0)])


class TestParts(unittest.TestCase):
    def code(self, text):
        source = Source(text)
        parts = items.test_parts(source)
        return " ".join(token.text for at, token in enumerate(source.tokens) if at not in parts)

    def test_items_for_tests_are_left_out(self):
        for text in (
            "#[cfg(test)] mod tests { use super::*; fn a() { } }", "#[cfg(test)] mod tests;",
            "#[cfg(test)] use a::{b, c};",
            "#[cfg(all(test, unix))] #[expect(x)] pub(crate) fn a<T, U>(t: T, u: U) -> [u8; 2] { }",
            "#[tokio::test(flavor = \"multi_thread\")] async fn a() { }", "#[test] fn a() { }",
            "#[cfg(test)] pub(crate) use a::{self, b};", "#[cfg(test)] pub struct A(pub u8, pub (B, C));",
            "#[cfg(test)] const A: [u8; 2] = [0, 1];",
        ):
            self.assertEqual(self.code(text + " fn b ( ) { }"), "fn b ( ) { }", text)
        self.assertEqual(self.code("#![cfg(test)] fn a() {}"), "")
        self.assertEqual(self.code("S { #[cfg(test)] a: 1, b: 2 }"), "S { b : 2 }")
        self.assertEqual(self.code("struct S { #[cfg(test)] pub(crate) a: u8, b: u8 }"), "struct S { b : u8 }")

    def test_other_items_are_kept(self):
        for text in ("#[cfg(any(test, feature = \"a\"))] fn a() {}", "#[cfg(not(test))] fn a() {}",
                     "#[cfg_attr(test, derive(A))] struct B;", "#[doc = \"#[cfg(test)]\"] fn a() {}"):
            self.assertIn(" a" if " a()" in text else "B", self.code(text))

    def test_lines_contain_the_comment_above(self):
        source = Source("fn a() {}\n\n/// b\n#[test]\nfn b() {\n\n}\n")
        self.assertEqual(items.test_lines(source, items.test_parts(source)), {3, 4, 5, 6, 7})


class Matches(unittest.TestCase):
    WITH = (
        "match e { Event::Upload(x) => a, _ => b }",
        "match e { Event::Upload(x) if x.is_a() => a, other => b }",
        "match (s, e) { (_, FileEvent::FilePurged(_)) => a, (_, _) => b }",
        "match (s, e) { (A, UploadEvent::B(x)) => { f(x) } (event, _) => Err(event) }",
        "match e { Event::Upload(UploadEvent::A(_)) => a, Event::Upload(_) | Event::File(_) => b }",
        "match e { Some(QuotaEvent::A { .. }) => a, Some(_) | None => b }",
        "match r { Ok(Recorded { event: Event::A(x), .. }) => a, Ok(Recorded { .. }) => b, Err(_) => c }",
        "match r { Ok(Recorded { event: Event::A(x), seq }) => a, Ok(Recorded { event, seq }) => b, Err(_) => c }",
        "match f(|| { match x { _ => 1 } }) { &Event::A(ref x) => if a { b } else { c }, _ => d }",
        "match e { schema::Event::A(_) => g::<HashMap<A, B>>(), all @ _ => |a, b| c }",
        "use s::UploadEvent as E; fn f() { match e { E::A(_) => a, _ => b } }",
        "use s::UploadEvent::{A, B}; fn f() { match e { A(_) => a, _ => b } }",
        "impl<T> Fold<T> for ShareEvent { fn f(&self) { match self { Self::A(_) => a, _ => b } } }",
        "match match x { A => e, B => f } { Event::A(_) => a, _ => b }",
        "match e { // Event::B(_) => \"_ => x\"\n Event::A(_) => if a { b } else { c } _ => d }",
        "match e { | Event::A(_) | Event::B(_) => a, #[cfg(unix)] _ => b, }",
    )
    WITHOUT = (
        "match e { Event::A(_) => a, Event::B(_) => b }",
        "match e { Event::A(_) => match x { C => c, _ => d }, Event::B(_) => b }",
        "match k { K::A => Event::A(x), _ => Event::B(y) }",
        "match (e, s) { (Event::A(_), S::B) => a, (Event::A(_) | Event::B(_), _) => b }",
        "match e { Event::A(_) => a, _ if x => b, Event::B(_) => c }",
        "match k { \"Event::A\" => a, _ => b }",
        "match k { Line::Event(_) => a, _ => b }",
        "match k { OtherEvent::A(_) => a, _ => b }",
        "matches!(e, Event::A(_) | _)",
        "let Event::A(a) = e else { return };",
        "if let Event::A(a) = e { a } else { b }",
        "impl Other { fn f(&self) { match self { Self::Event(_) => a, _ => b } } }",
        "macro_rules! m { () => { match self { $($(Self::$g($e::$n(_)) => a,)*)* } } }",
        "match e { Some(Event::A(_) | Event::B(_)) => a, None => b }",
        "self.r#match(Event::A(x), |_| b)",
    )

    def test_matches_with_a_wildcard_are_found(self):
        for text in self.WITH:
            self.assertEqual(len(patterns.wildcard_matches(Source(text))), 1, text)

    def test_other_matches_are_not_found(self):
        for text in self.WITHOUT:
            self.assertEqual(patterns.wildcard_matches(Source(text)), [], text)

    def test_all_enums_of_events_are_known(self):
        text = (tree.REPOSITORY / "schema/src/events/mod.rs").read_text()
        groups = re.findall(r"^    \w+\((\w+Event)\),$", text, re.MULTILINE)
        self.assertEqual({*groups, "Event"}, patterns.EVENTS, "complete EVENTS in measurelib/patterns.py")


class Imports(unittest.TestCase):
    def edges(self, with_tests=False, **files):
        texts = {"src/" + name.replace("__", "/") + ".rs": text for name, text in files.items()}
        sources = {name: Source(text) for name, text in texts.items()}
        tests = {name: items.test_parts(source) for name, source in sources.items()}
        crate = modules.Crate("src/lib.rs", sources, tests)
        self.assertEqual(set(crate.files), set(sources))
        return {(start[4:-3], end[4:-3]): set(names) for (start, end), names in crate.imports(with_tests).items()}

    def test_a_declaration_is_no_import(self):
        self.assertEqual(self.edges(lib="mod a; pub mod b;", a="", b=""), {})

    def test_a_thing_of_the_parent_is_an_import(self):
        self.assertEqual(self.edges(lib="mod a; struct X;", a="use super::X;"), {("a", "lib"): {"X"}})
        self.assertEqual(self.edges(lib="mod a;", a="mod b; fn f() {}", a__b="fn g() { super::f() }"),
                         {("a/b", "a"): {"f"}})

    def test_re_exports_are_followed(self):
        files = {"lib": "mod a; mod c;", "a__mod": "mod b; pub(crate) use b::{X as Y, self};", "a__b": "pub struct X;"}
        self.assertEqual(self.edges(**files, c="use crate::a::Y;"), {("c", "a/b"): {"X"}})
        self.assertEqual(self.edges(**files, c="use crate::{a::{self, b}}; fn f(x: a::Y, z: b::X) {}"),
                         {("c", "a/b"): {"X"}})

    def test_a_re_export_counts_if_the_parent_uses_it(self):
        self.assertEqual(self.edges(lib="mod a; pub use a::X;", a="pub struct X;"), {})
        self.assertEqual(self.edges(lib="mod a; pub use a::X; fn f(x: X) {}", a="pub struct X;"), {("lib", "a"): {"X"}})
        self.assertEqual(self.edges(lib="mod a; use a::X;", a="pub struct X;"), {("lib", "a"): {"X"}})

    def test_globs_give_the_names_that_are_used(self):
        files = {"lib": "mod a; mod b; mod c;", "a": "use crate::c::Z; pub struct X; struct Y;", "c": "pub struct Z;"}
        self.assertEqual(self.edges(**files, b="use crate::a::*; fn f(x: X, z: Z) {}"),
                         {("b", "a"): {"X"}, ("a", "c"): {"Z"}})
        self.assertEqual(self.edges(lib="mod a; mod b; pub use a::*;", a="pub struct X;", b="use crate::X;"),
                         {("b", "a"): {"X"}})

    def test_a_module_and_a_function_may_have_the_same_name(self):
        files = {"lib": "mod a; mod c;", "a__mod": "mod b; pub use b::b;", "a__b": "pub fn b() {} pub fn x() {}"}
        self.assertEqual(self.edges(**files, c="use crate::a::b; fn f() { b() }"), {("c", "a/b"): {"b"}})
        self.assertEqual(self.edges(**files, c="fn f() { crate::a::b::x() }"), {("c", "a/b"): {"x"}})

    def test_names_of_macros_belong_to_their_module(self):
        files = {"lib": "mod a; mod b; pub use a::*;", "a": "id! { /// a\n X, Y }", "b": "use crate::X;"}
        self.assertEqual(self.edges(**files), {("b", "a"): {"X"}})

    def test_paths_in_attributes_and_macros_are_imports(self):
        self.assertEqual(self.edges(lib="mod a; mod b;", a="#[serde(with = \"crate::b::x\")] struct A;", b="fn x() {}"),
                         {("a", "b"): {"x"}})
        self.assertEqual(self.edges(lib="mod b; routes! { b::x }", b="fn x() {}"), {("lib", "b"): {"x"}})

    def test_these_are_no_imports(self):
        for text in ("pub(in crate::b) fn f() {}", "// use crate::b::x;\n", "const A: &str = \"crate::b::x\";",
                     "use ::b::x;", "use std::b::x;", "use crate::a::f; fn f() {}", "/// [`crate::b::x`]\nfn f() {}"):
            self.assertEqual(self.edges(lib="mod a; mod b;", a=text, b="pub fn x() {}"), {}, text)

    def test_imports_of_tests_are_left_out(self):
        files = {"lib": "mod a; mod b;", "b": "pub fn x() {}",
                 "a": "#[cfg(test)] mod tests; #[cfg(test)] use crate::b::x; #[test] fn f() { crate::b::x() }",
                 "a__tests": "use crate::b::x;"}
        self.assertEqual(self.edges(**files), {})
        self.assertEqual(set(self.edges(with_tests=True, **files)), {("a", "b"), ("a/tests", "b")})

    def test_inline_modules_and_path_attributes_are_resolved(self):
        self.assertEqual(
            self.edges(lib="mod a { pub(crate) mod b; use super::S; } #[path = \"other.rs\"] mod c; struct S;",
                       a__b="use super::super::c::X;", other="pub struct X; use crate::S;"),
            {("a/b", "other"): {"X"}, ("other", "lib"): {"S"}})

    def test_cycles_and_their_cuts_are_found(self):
        edges = {("a", "b"): {"x": 1}, ("b", "c"): {"x": 1, "y": 1}, ("c", "a"): {"x": 1, "y": 1}, ("c", "d"): {"x": 1},
                 ("d", "e"): {"x": 1}, ("e", "d"): {"x": 1, "y": 1}}
        self.assertEqual(modules.cycles(edges), [["a", "b", "c"], ["d", "e"]])
        self.assertEqual(modules.cuts(["a", "b", "c"], edges), [("a", "b")])
        self.assertEqual(modules.cuts(["d", "e"], edges), [("d", "e")])

    def test_roots_of_crates_are_found(self):
        names = ["a/src/lib.rs", "a/src/main.rs", "a/src/b.rs", "a/tests/it/main.rs", "a/tests/it/c.rs", "a/tests/d.rs",
                 "f/t/e.rs", "src/lib.rs"]
        found = modules.roots(names, {"a/Cargo.toml": "", "f/Cargo.toml": "[[bin]]\npath = \"t/e.rs\"\n"})
        self.assertEqual(found, ["a/src/lib.rs", "a/src/main.rs", "a/tests/d.rs", "a/tests/it/main.rs", "f/t/e.rs"])


class Limits(unittest.TestCase):
    def found(self, cycle=("a", "b"), lines=450, tuples=2):
        group = measures.Group(file_lines={"a": lines, "b": 400})
        if cycle:
            imports = [{"from": cycle[0], "to": end, "names": {"X": 1}, "cut": False} for end in cycle[1:]]
            group.cycles.append({"files": list(cycle), "imports": imports})
        group.tuple_parameters += [{"file": "a", "line": 1, "function": "f", "parameter": "a: (A, B)"}] * tuples
        return measures.Measures(group, measures.Group(), [])

    def test_the_baseline_allows_exactly_the_exceptions(self):
        baseline = limits.exceptions(self.found().sources)
        self.assertEqual(limits.check(self.found(), baseline), ([], []))
        for change in ({"cycle": ("a", "b", "c")}, {"lines": 451}, {"tuples": 3}):
            faults, ended = limits.check(self.found(**change), baseline)
            self.assertEqual((len(faults), ended), (1, []), change)
            self.assertEqual(limits.shrunk(self.found(**change), baseline), baseline, change)

    def test_exceptions_that_have_ended_must_be_removed(self):
        baseline = limits.exceptions(self.found().sources)
        for change in ({"cycle": ()}, {"lines": 400}, {"tuples": 1}, {"tuples": 0}):
            faults, ended = limits.check(self.found(**change), baseline)
            self.assertEqual((faults, len(ended)), ([], 1), change)
            shrunk = limits.shrunk(self.found(**change), copy.deepcopy(baseline))
            self.assertEqual(limits.check(self.found(**change), shrunk), ([], []), change)

    def test_percentiles_are_values(self):
        self.assertEqual(measures.quantiles(range(1, 11), (50, 90, 99)), {"median": 5, "p90": 9, "p99": 10, "max": 10})


if __name__ == "__main__":
    unittest.main()
