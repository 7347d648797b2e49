"""Tests of the parsers. `scripts/check-docs --self-test` runs them."""

import unittest

from . import markdown, outside

_TEXT = """\
# Set up `scripts/up`

[one](a.md) and [two,
on two lines](b.md#part) with `[code](no.md)`, <!-- [comment](no.md) -->
![image](c.png "title") and <a href="d.md">html</a>

```sh
[fence](no.md)
# No heading
```

1. In a list:

   ```sh
   # No heading
   ```

## Set up scripts/up

<a id="mark"></a>

### What's *new*, [in](x.md) v1.0?

[three]: e.md
"""


class Markdown(unittest.TestCase):
    def test_links_have_their_lines(self):
        self.assertEqual(
            [tuple(link) for link in markdown.links(_TEXT)],
            [("a.md", 3), ("b.md#part", 3), ("c.png", 5), ("d.md", 5), ("x.md", 22), ("e.md", 24)])

    def test_anchors_are_those_of_github(self):
        self.assertEqual(markdown.anchors(_TEXT),
                         {"set-up-scriptsup", "set-up-scriptsup-1", "mark", "whats-new-in-v10"})


class Outside(unittest.TestCase):
    def test_only_links_that_leave_the_book_become_text(self):
        pages = {"how-to/tls.md", "proxies.md", "how-to/upgrade.md"}
        cases = {
            "[changelog](../../CHANGELOG.md)": "changelog (`CHANGELOG.md`)",
            "[bench/README.md](../../bench/README.md#method)": "bench/README.md",
            "[proxies](../proxies.md#nginx)": "[proxies](../proxies.md#nginx)",
            "[summary](../SUMMARY.md)": "summary (`docs/SUMMARY.md`)",
            "[site](https://example.com/a.md)": "[site](https://example.com/a.md)",
            "[here](#part)": "[here](#part)",
        }
        for content, expected in cases.items():
            self.assertEqual(outside.shown(content, "how-to/upgrade.md", pages), expected)
