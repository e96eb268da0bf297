from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import pytest

from psft_jax.errors import InputError
from psft_jax.reporting.grid import Cell, Grid
from psft_jax.reporting.html import Section, write_page, write_report
from psft_jax.reporting.tables import comparison_table
from psft_jax.scan import Provenance, Task

PNG = b"\x89PNG\r\n\x1a\nany bytes"
HOSTILE = '<script>alert("P1")</script> & co'


class Page(HTMLParser):
    """The page's text, its tags in the order of opening, and their attributes; checks that all are closed."""

    VOID = ("meta", "img", "link", "br")

    def __init__(self, html):
        super().__init__()
        self.texts, self.tags, self._open = [], [], []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def attributes(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def report(results, tmp_path):
    """Writes a report and returns the page."""
    base = {"P1": {"dsc": [0.5]}, "P2": {"dsc": [0.6]}, "P3": {"dsc": [0.7]}}
    tuned = {"P1": {"dsc": [0.6]}, "P2": {"dsc": [0.8]}, "P3": {"dsc": [1.0]}}
    (tmp_path / "a.png").write_bytes(PNG)

    def write(provenance=Provenance.PHANTOM, tuned_name="fine-tuned", **changes):
        frame = results({"base": base, tuned_name: tuned})
        settings = {
            "heading": "Follow-up",
            "facts": {"Iterations": "100"},
            "table": comparison_table(frame, Task.SEGMENTATION, provenance=provenance),
            "figures": [("Every patient", tmp_path / "a.png"), ("P1, overlay", tmp_path / "a.png")],
            "notes": ["Read with care."],
        }
        write_report(tmp_path / "report.html", **(settings | changes))
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return write


def test_page_says_numbers_provenance_patients_seeds_and_test(report):
    text = Page(report()).text
    for said in (
        *("PHANTOM data: generated images, not patients", "brain, 3 patients, seed 0"),
        *("DSC ↑ 0.60 (0.10) 0.80 (0.20) +0.20 (0.10) 0.074", "paired Student's t-test"),
        *("Iterations 100", "Read with care."),
    ):
        assert said in text


@pytest.mark.parametrize("provenance", list(Provenance))
def test_badge_names_where_the_images_come_from(report, provenance):
    assert f"{provenance.upper()} data" in Page(report(provenance)).text


def test_page_needs_nothing_from_outside(report):
    html = report()
    assert "://" not in html
    assert not re.search(r"url\(|@import", html)
    page = Page(html)
    assert not page.attributes("link")
    assert not page.attributes("script")
    images = page.attributes("img")
    assert [image["alt"] for image in images] == ["Every patient", "P1, overlay"]
    for image in images:
        kind, content = image["src"].split(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(content) == PNG


def test_table_comes_before_the_figures(report):
    tags = [tag for tag, _ in Page(report()).tags]
    assert tags.index("table") < tags.index("img")


def test_names_are_escaped(report, tmp_path):
    html = report(
        heading=HOSTILE, facts={HOSTILE: HOSTILE}, tuned_name=HOSTILE, notes=[HOSTILE],
        figures=[(HOSTILE, tmp_path / "a.png")],
    )  # fmt: skip
    page = Page(html)
    assert not page.attributes("script")
    assert page.attributes("img")[0]["alt"] == HOSTILE
    assert page.text.count(HOSTILE) == 7  # title, heading, fact and its name, column, caption, note


def test_sections_without_content_are_left_out(report):
    assert Page(report(facts={}, figures=[], notes=[])).text.count("Follow-up") == 2
    assert "Figures" not in Page(report(facts={}, figures=[], notes=[], overwrite=True)).text


def test_a_report_is_not_overwritten_unless_asked(report, tmp_path):
    first = report()
    with pytest.raises(InputError, match="a file of this name"):
        report(heading="Second")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == first
    assert "Second" in report(heading="Second", overwrite=True)


def test_figures_must_be_png_files(report, tmp_path):
    (tmp_path / "b.png").write_bytes(b"GIF89a")
    for name, found in (("b.png", "not PNG"), ("c.png", "no such file")):
        with pytest.raises(InputError, match=found):
            report(figures=[("b", tmp_path / name)])
    assert not (tmp_path / "report.html").exists()


def _grid(heading="Table 1", provenance=Provenance.PHANTOM):
    return Grid(
        heading, provenance, "brain, 2 patients, seed 0", ("Measure", "Against", "DSC"),
        ((Cell("DSC"), Cell("Base"), Cell("0.60 (0.10)*, 2 of 3 valid", bold=True, tone="worse")),),
        notes=("Mean (SD).",), names=2,
    )  # fmt: skip


@pytest.fixture
def page(tmp_path):
    """Writes a page of sections and returns its HTML."""

    def write(*sections):
        write_page(tmp_path / "page.html", heading="Study", sections=sections)
        return (tmp_path / "page.html").read_text(encoding="utf-8")

    return write


def test_a_page_links_to_its_sections_and_leaves_out_empty_ones(page):
    html = page(Section("Tables", grids=[_grid()]), Section("Harm"), Section("Notes", text=["One.", "Two."]))
    parsed = Page(html)
    links = [attrs["href"].removeprefix("#") for attrs in parsed.attributes("a")]
    assert links == [attrs["id"] for attrs in parsed.attributes("h2")]
    assert parsed.text.startswith("Study")
    assert "Tables Notes Tables Table 1" in parsed.text  # the links, then the first section
    assert "Harm" not in parsed.text
    assert parsed.text.endswith("Notes One. Two.")
    assert html.startswith("<!DOCTYPE html>")
    assert "://" not in html


def test_one_section_needs_no_links(page):
    assert not Page(page(Section("Tables", grids=[_grid()]))).attributes("nav")


def test_a_table_on_a_page_says_all(page):
    parsed = Page(page(Section("Tables", text=["Read."], grids=[_grid()])))
    said = "PHANTOM data: generated images, not patients. brain, 2 patients, seed 0."
    assert f"Tables Read. Table 1 {said} Measure Against DSC DSC Base 0.60" in parsed.text
    assert parsed.text.endswith("2 of 3 valid Mean (SD).")
    assert parsed.attributes("td") == [{"class": "worse"}]
    assert [attrs["scope"] for attrs in parsed.attributes("th")] == ["col"] * 3 + ["row"] * 2
    assert len(parsed.attributes("strong")) == 1


def test_a_table_called_as_its_section_is_not_called_twice(page):
    assert Page(page(Section("Table 1", grids=[_grid()]))).text.count("Table 1") == 1


def test_every_provenance_on_a_page_has_one_badge(page):
    grids = [_grid("a"), _grid("b"), _grid("c", Provenance.REAL)]
    paragraphs = Page(page(Section("Tables", grids=grids))).attributes("p")
    assert [attrs["class"] for attrs in paragraphs] == ["badge"] * 2 + ["statement"] * 3


def test_page_escapes_every_text(page, tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    rows = ((Cell(HOSTILE), Cell(HOSTILE)),)
    grid = Grid(HOSTILE, Provenance.REAL, HOSTILE, (HOSTILE, "b"), rows, (HOSTILE,))
    parsed = Page(
        page(
            Section(HOSTILE, [HOSTILE], {HOSTILE: HOSTILE}, [grid], [(HOSTILE, tmp_path / "a.png")]),
            Section("Tables", grids=[grid]),
        )
    )
    assert not parsed.attributes("script")
    # Link, heading, text, fact and its name, caption; population, column, row, cell and note of each table;
    # and the heading of the second, which is not its section's.
    assert parsed.text.count(HOSTILE) == 6 + 2 * 5 + 1
