"""Checks the documentation for `scripts/check-docs`, and runs its commands for `scripts/test-docs`.

    markdown  the headings and links of a Markdown file
    links     the links between files of the repository
    book      builds the book with mdBook, and checks its links
    outside   preprocessor of the book: shows links that leave the book as text
    blocks    the code blocks of a page, and the comments that tell how they are tested
    pages     runs the commands of a page, with the functions of prelude.sh
    shown     compares outputs with those that a page shows
    selftest  tests of the parsers and comparisons

Uses only Python 3.9 and its standard library.
"""
