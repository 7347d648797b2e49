"""Checks the documentation for `scripts/check-docs`.

    markdown  the headings and links of a Markdown file
    links     the links between files of the repository
    book      builds the book with mdBook, and checks its links
    outside   preprocessor of the book: shows links that leave the book as text
    selftest  tests of these parsers

Uses only Python 3.9 and its standard library.
"""
