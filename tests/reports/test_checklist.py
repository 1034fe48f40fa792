"""Checklists: every item once, nothing made up, and a model's text stays text."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lrmil.models.card import ModelCard
from lrmil.reports.checklist import MAX_TEXT, TO_COMPLETE, TO_FILL, Checklist, checklist, escaped
from lrmil.reports.claim import CLAIM
from lrmil.reports.tripod_ai import TRIPOD_AI
from lrmil.tasks.classification import Classification

FIGURES = {"auroc": 0.912, "auroc_ci": [0.85, 0.97], "balanced_accuracy": 0.84, "n_slides": 40, "n_cases": 31}
TRAINING = {"slides": 120, "cases": 98, "date": "2026-01-02", "version": "0.1.0", "settings": {"encoder": "resnet50"}}
CARD = ModelCard(
    Classification(("no", "yes")),
    2.0,
    256,
    dict(TRAINING),
    {"lr_student": FIGURES, "hr_teacher": FIGURES},
    "MIT",
    "ab" * 32,
)
BARE = replace(CARD, training={}, metrics={}, license="")
LISTS = pytest.mark.parametrize("of", [TRIPOD_AI, CLAIM], ids=["tripod-ai", "claim"])
MARKDOWN = MarkdownIt("commonmark").enable("table")

HOSTILE = (
    "| x | y |\n# Title\n<script>alert(1)</script> ![i](http://e.x/a.png) [l](javascript:a) **bold** `code` "
    "<!-- c --> &lt;b&gt; \\| ~~s~~ https://e.x www.e.x\r\n\u2028- [ ] y\u202e\x1b[31m\x00"
)


def cells(text: str) -> list[list[str]]:
    """The cells of every row as a Markdown reader shows them."""
    rows: list[list[str]] = []
    for token in MARKDOWN.parse(text):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows and token.map is not None and token.level > 2:
            rows[-1].append("".join(child.content for child in token.children or []))
    return [row for row in rows if row[0] != "item"]


@LISTS
def test_every_item_is_one_row(of: Checklist) -> None:
    numbers = [item.number for items in of.sections.values() for item in items]
    assert [row[0] for row in cells(checklist(CARD, of))] == numbers == [row[0] for row in cells(checklist(BARE, of))]
    assert all(len(row) == 4 for row in cells(checklist(CARD, of)))


@LISTS
def test_what_is_not_known_is_marked(of: Checklist) -> None:
    known = {row[0]: row for row in cells(checklist(CARD, of))}
    for number, _, said, still_open in cells(checklist(BARE, of)):
        mark = (TO_COMPLETE if said else TO_FILL).strip("*")
        assert still_open.startswith(mark) and "0.912" not in said and "Trained on" not in said
        assert len(known[number][2]) >= len(said)
    assert "0.912" in checklist(CARD, of) and "120 slides of 98 cases" in checklist(CARD, of)


@LISTS
def test_only_facts_of_the_card_are_stated(of: Checklist) -> None:
    """Every number beside an item is one that the card has."""
    numbers = {number for row in cells(checklist(CARD, of)) for number in re.findall(r"\d+(?:\.\d+)?", row[2])}
    stated = "0.912 0.850 0.970 0.840 40 31 120 98 2 256 95 0.1 0 2026 01 02 50 " + "ab" * 32
    assert numbers <= {*stated.split()}


@LISTS
def test_a_models_text_cannot_be_markup(of: Checklist) -> None:
    training = dict.fromkeys(TRAINING, HOSTILE) | {
        "settings": {"encoder": HOSTILE, "teacher": HOSTILE, "mil": {"head": HOSTILE}},
        "settings_sha256": HOSTILE,
    }
    figures = {
        "auroc": HOSTILE,
        "auroc_ci": [HOSTILE],
        "n_slides": HOSTILE,
        "auroc_by_fold": {HOSTILE: 1},
        "confusion": HOSTILE,
    }
    card = replace(
        CARD,
        task=Classification(("no", HOSTILE)),
        training=training,
        metrics={"lr_student": figures, "calibration": {"after": HOSTILE}, "student_minus": HOSTILE, "stage1": HOSTILE},
        license=HOSTILE,
        terms={"teacher": HOSTILE},
        sha256=HOSTILE,
    )
    text = checklist(card, of)
    tokens = [inner for token in MARKDOWN.parse(text) for inner in [token, *(token.children or [])]]
    kinds = {token.type for token in tokens}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "code_inline", "fence", "bullet_list_open"}
    assert len([one for one in tokens if one.type == "heading_open"]) == 1 + len(of.sections)
    assert [row[0] for row in cells(text)] == [row[0] for row in cells(checklist(CARD, of))]
    assert all(len(row) == 4 for row in cells(text)) and "<script" not in text and "\x1b" not in text
    bold = {"".join(m) for m in re.findall(r"(?<!\\)\*\*(.+?)\*\*", text)}
    assert "bold" not in bold


@given(st.text(max_size=900))
def test_escaped_text_is_shown_as_it_is(text: str) -> None:
    shown = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    expected = shown if len(shown) <= MAX_TEXT else f"{shown[: MAX_TEXT - 3]}..."
    found = cells(f"| item | a |\n|---|---|\n| 1 | {escaped(text)} |\n")
    assert found == [["1", expected]]


def test_long_text_is_cut() -> None:
    assert len(escaped("a" * 10_000)) == MAX_TEXT and escaped("a" * 10_000).endswith("...")
