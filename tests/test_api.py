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
    _, *blocks = write_api.page().split("\n## ")
    for block in blocks:
        name, about, *items = block.strip().split("\n\n")
        if about.startswith(f"`{name}("):
            about = items.pop(0)
        assert len(about) > 10, f"{name} says nothing"
        for line in "\n".join(items).splitlines():
            if line.startswith(f"- `{name}."):
                _, _, about = line.partition("`: ")
                assert len(about) > 10, f"{line} says nothing"


def test_docstrings_become_markdown():
    def example(one, *, two=2, three=3, **rest):
        """Does it.

        More of it.

        Args:
          one: a thing,
            over two lines.
          two: numbers.
          three: numbers.
          **rest: others.

        Returns:
          What came of it,
          and more.

        Raises:
          ValueError: none.
        """

    arguments = (
        "- `one`: a thing, over two lines.\n"
        "- `two`, `three`: numbers.\n"
        "- `**rest`: others.\n"
        "- Returns: What came of it, and more.\n"
        "- Raises `ValueError`: none.\n"
    )
    called = "example(one, *, two=2, three=3, **rest)"
    assert write_api.entry("example", example) == (
        f"## example\n\n`{called}`\n\nDoes it.\n\nMore of it.\n\n{arguments}"
    )
    lines = write_api.members("owner", {"example": example})
    inside = "".join(f"  {line}\n" for line in arguments.splitlines())
    assert "\n".join(lines) + "\n" == (
        f"- `owner.{called}`: Does it. More of it.\n{inside}"
    )
