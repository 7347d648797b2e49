"""Measures the Rust sources for `scripts/measure`: sizes, import cycles, and matches on events with a wildcard.

    tokens    splits a source into tokens without comments, so that no measure reads strings or comments as code
    items     functions, their parameters, and the parts of a file that are only compiled for tests
    patterns  match expressions and their patterns
    modules   the modules of each crate, and the imports between files
    tree      the files of the checkout or of a commit
    measures  all measures of a tree
    journeys  the files to open or to change for a purpose
    report    the table and the lists
    limits    the limits and the baseline of today's exceptions
    selftest  tests of these parsers on difficult code

Uses only Python 3.9 and its standard library. The parsers know as much of Rust as code needs that `cargo fmt` has
formatted.
"""
