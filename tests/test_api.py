"""The page of the public names is what the docstrings say."""

import dataclasses

import write_api

import nst_tf


def test_the_page_is_what_the_docstrings_say():
    text = write_api.PAGE.read_text(encoding="utf-8")
    assert text == write_api.page(), "run scripts/write_api.py"


def test_every_public_name_and_option_has_its_place():
    text = write_api.page()
    for name in nst_tf.__all__:
        assert f"\n## {name}\n" in text
    for field in dataclasses.fields(nst_tf.Options):
        assert text.count(f"\n| `{field.name}` |") == 1


def test_everything_public_has_a_docstring():
    blocks = write_api.page().split("\n## ")[1:]
    blocks = [part for block in blocks for part in block.split("\n### ")]
    for block in blocks:
        name, _, rest = block.partition("\n")
        *_, about = rest.rpartition("```\n")
        assert len(about.strip()) > 10, f"{name} says nothing"


def test_docstrings_become_markdown():
    def example(one, *, two=2, **rest):
        """Does it.

        More of it.

        Args:
          one: a thing,
            over two lines.
          **rest: others.

        Returns:
          What came of it,
          and more.
        """

    assert write_api.entry("example", example, "##") == (
        "## example\n\n```python\nexample(one, *, two=2, **rest)\n```\n\n"
        "Does it.\n\nMore of it.\n\n**Args**\n\n"
        "- `one`: a thing,\n  over two lines.\n- `**rest`: others.\n\n"
        "**Returns**\n\nWhat came of it,\nand more.\n"
    )
