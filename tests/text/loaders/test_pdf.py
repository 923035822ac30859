from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pypdf
import pytest

from m2m_rag.errors import InvalidInputError
from m2m_rag.text import Section, load


def make_pdf(pages: list[str], title: str | None = "The title") -> bytes:
    """Return a PDF with one line of text on each page, written by hand."""
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for n, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET" if text else ""
        objects += [
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * n} 0 R >>",
            f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        ]
    if title:
        objects.append(f"<< /Title ({title}) >>")
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("cp1252")
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{offset:010} 00000 n \n".encode() for offset in offsets)
    info = f"/Info {len(objects)} 0 R " if title else ""
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R {info}>>\n".encode()
    return out + f"startxref\n{start}\n%%EOF\n".encode()


def test_pages_with_text_become_sections(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(make_pdf(["First page of the text.", "", "Third page: Größe."]))
    assert list(load(path)) == [
        Section("First page of the text.", "The title", page=1),
        Section("Third page: Größe.", "The title", page=3),
    ]


def test_without_a_title_the_file_names_it(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(make_pdf(["Text."], title=None))
    assert [section.title for section in load(path)] == ["a.pdf"]


@pytest.mark.parametrize(
    "raw", [b"", b"no pdf at all", make_pdf(["x"])[:200], b"%PDF-1.4\n" + bytes(range(256)) * 4]
)
def test_damaged_pdf_is_an_error_of_ours(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "bad.pdf"
    path.write_bytes(raw)
    with pytest.raises(InvalidInputError, match=r"bad\.pdf: the PDF is damaged"):
        list(load(path))


@pytest.mark.parametrize(("password", "is_read"), [("", True), ("secret", False)])
def test_encrypted_pdf(tmp_path: Path, password: str, is_read: bool) -> None:
    plain, path = tmp_path / "plain.pdf", tmp_path / "a.pdf"
    plain.write_bytes(make_pdf(["Hidden text."]))
    writer = pypdf.PdfWriter(clone_from=plain)
    writer.encrypt(user_password=password, owner_password="owner", algorithm="RC4-128")
    writer.write(path)
    writer.close()
    if is_read:
        assert [section.text for section in load(path)] == ["Hidden text."]
    else:
        with pytest.raises(InvalidInputError, match="encrypted with a password"):
            list(load(path))


def test_a_damaged_pdf_prints_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4\ngarbage")
    code = (
        "import sys; from pathlib import Path; from m2m_rag.text import load\n"
        "try: list(load(Path(sys.argv[1])))\nexcept ValueError: pass"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.pdf")], capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (b"", b"")
