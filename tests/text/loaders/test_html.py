from __future__ import annotations

from pathlib import Path

import pytest

from m2m_rag.errors import InvalidInputError
from m2m_rag.text import Section, load


def _load(tmp_path: Path, content: bytes | str) -> Section:
    path = tmp_path / "page.html"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (section,) = load(path)
    return section


def test_blocks_become_lines_and_noise_is_dropped(tmp_path: Path) -> None:
    section = _load(
        tmp_path,
        """<!doctype html><html><head><title> The
        page </title><style>p { color: red }</style><script>if (a < b) alert("x")</script></head>
        <body><nav><ul><li>Home</li></ul></nav>
        <h1>Heading</h1><p>One <b>bold</b>
        paragraph &amp; more&hellip;</p><ul><li>first</li><li><p>second</p></li></ul>
        <pre>def f():
    return 1</pre>
        <table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>
        line<br>break<svg><title>icon</title><text>x</text></svg>
        <footer>imprint</footer></body></html>""",
    )
    assert section.title == "The page"
    assert section.text == (
        "Heading\n\nOne bold paragraph & more…\n\n- first\n- second\n\n"
        "def f():\n    return 1\n\na | b\n1 | 2\n\nline\nbreak"
    )
    assert (section.line, section.verbatim) == (None, False)


def test_page_without_a_title_is_named_by_its_file(tmp_path: Path) -> None:
    assert _load(tmp_path, "<p>Text</p>").title == "page.html"


def test_unclosed_and_stray_tags_do_no_harm(tmp_path: Path) -> None:
    assert (
        _load(tmp_path, "</nav><p>One<p>Two</div></div><li>Three").text == "One\n\nTwo\n\n- Three"
    )


def test_declared_charset_is_used(tmp_path: Path) -> None:
    page = '<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-1"><p>Größe</p>'
    assert _load(tmp_path, page.encode("latin-1")).text == "Größe"
    assert _load(tmp_path, b"\xef\xbb\xbf" + page.encode()).text == "Größe"


def test_undecodable_page_names_file_and_offset(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"page\.html.*offset 3 is not utf-8"):
        _load(tmp_path, b"<p>\xe4</p>")


def test_unknown_charset_is_refused(tmp_path: Path) -> None:
    for name in (b"klingon", b"hex"):
        with pytest.raises(InvalidInputError, match="encoding"):
            _load(tmp_path, b"<meta charset=" + name + b"><p>abc</p>")


def test_a_long_run_of_spaces_takes_no_quadratic_time(tmp_path: Path) -> None:
    # A minute and more with a pattern that starts anew at each space.
    text = _load(tmp_path, f"<pre>a{' ' * 400_000}b  \nc</pre>").text
    assert (len(text), text[-4:]) == (400_004, " b\nc")
