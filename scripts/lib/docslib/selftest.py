"""Tests of the parsers and comparisons. `scripts/check-docs --self-test` runs them."""

import unittest

from . import blocks, markdown, outside, shown

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


class Blocks(unittest.TestCase):
    def test_hidden_commands_and_replacements_keep_the_order_of_the_page(self):
        page = """<!-- test: A=1 -->
<!-- test with: nats://… => $NATS; b => c -->
```sh
# A comment
echo nats://… \\
  b   # a remark
# {"id":"…"}
for x in 1 2; do
  echo
done
```
"""
        hidden, block = blocks.blocks(page)
        self.assertEqual([(command.text.strip(), command.line) for command in blocks.commands(hidden)], [("A=1", 1)])
        self.assertEqual(block.instead, {"nats://…": "$NATS", "b": "c"})
        first, second = blocks.commands(block)
        self.assertEqual((first.line, first.shown, second.line), (5, '{"id":"…"}\n', 8))

    def test_a_block_is_run_or_marked(self):
        self.assertEqual(blocks.blocks("<!-- not run: needs Docker -->\n\n```sh\nx\n```")[0].not_run, "needs Docker")
        self.assertEqual(blocks.blocks("1. Step\n\n   <!-- run by a::b -->\n   ```js\n   x\n   ```")[0].run_by, "a::b")
        for page in ("```yaml\na: 1\n```", "```\nx\n```", "<!-- not run: -->\n```sh\nx\n```",
                     "<!-- not run: why -->\nText\n", "<!-- test with: a => b -->\n```sh\nx\n```"):
            with self.assertRaises(blocks.Fault, msg=page):
                blocks.blocks(page)


class Shown(unittest.TestCase):
    def test_ids_are_patterns_and_all_other_members_are_equal(self):
        self.assertIsNone(shown.difference('{"id":"…","n":[1]}\n', '{"n":[1],"id":"8"}\n'))
        self.assertIsNone(shown.difference("at … s\n", "at 3 s\n\n"))
        for want, have in (('{"id":"…"}', '{"id":1}'), ('{"n":1}', '{"n":2}'), ('{"n":1}', '{"n":1,"m":1}'), ("a", "a\nb")):
            self.assertIsNotNone(shown.difference(want, have), (want, have))
