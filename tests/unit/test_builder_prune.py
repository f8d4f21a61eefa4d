"""What nobody runs is taken out, and RECORD stays true."""

import csv

import pytest

from launcher.builder.prune import expression, prune


class Notes(list):
    def note(self, text):
        self.append(text)


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("env/share/static", "env/share/static", True),
        ("env/share/static", "env/share/static/a.js", False),
        ("env/*/tests", "env/pkg/tests", True),
        ("env/*/tests", "env/pkg/inner/tests", False),
        ("env/**/tests", "env/tests", True),
        ("env/**/tests", "env/pkg/inner/tests", True),
        ("env/**/*.map", "env/a.js.map", True),
        ("env/**/*.map", "env/a.map.js", False),
        ("env/**", "env/a/b", True),
        ("env/**", "env", False),
        ("lib/python3*/x?.py", "lib/python3.11/x1.py", True),
        ("lib/a+b.[ch]", "lib/a+b.c", True),
        ("lib/a+b.[ch]", "lib/a+b.[ch]", False),
        ("lib/[a-d]*", "lib/bar", True),
        ("lib/[a-d]*", "lib/ear", False),
        ("lib/e[!n]*", "lib/es.dat", True),
        ("lib/e[!n]*", "lib/en.dat", False),
        ("lib/e[!n]", "lib/e/", False),
        ("lib/[^a]", "lib/^", True),
        ("lib/[^a]", "lib/b", False),
        ("lib/[]", "lib/[]", True),
        ("lib/a[b", "lib/a[b", True),
        ("lib/a.c", "lib/abc", False),
    ],
)
def test_a_star_stays_within_a_step_and_two_stand_for_any_directories(pattern, path, fits):
    assert bool(expression(pattern).fullmatch(path)) == fits


@pytest.fixture
def image(tmp_path):
    library = tmp_path / "env/lib/python3.11/site-packages"
    for name in ("pkg/__init__.py", "pkg/tests/test_a.py", "pkg/tests/data/b.txt"):
        (library / name).parent.mkdir(parents=True, exist_ok=True)
        (library / name).write_text("12345")
    (tmp_path / "env/share").mkdir()
    (tmp_path / "env/share/c.map").write_text("123")
    rows = [
        ["pkg/__init__.py", "sha256=x", "5"],
        ["pkg/tests/test_a.py", "sha256=x", "5"],
        ["pkg/tests/data/b.txt", "sha256=x", "5"],
        ["../../../share/c.map", "sha256=x", "3"],
        ["pkg-1.dist-info/RECORD", "", ""],
    ]
    (library / "pkg-1.dist-info").mkdir()
    with (library / "pkg-1.dist-info/RECORD").open("w", newline="") as record:
        csv.writer(record, lineterminator="\n").writerows(rows)
    return tmp_path


def test_bytes_are_told_by_pattern(image):
    notes = Notes()
    removed = prune(image, ["env/**/tests", "env/share/*.map", "env/**/b.txt"], notes)
    assert removed == {"env/**/tests": 10, "env/share/*.map": 3, "env/**/b.txt": 0}
    assert not (image / "env/lib/python3.11/site-packages/pkg/tests").exists()
    assert notes == ["prune: env/**/b.txt matches nothing."]


def test_record_names_what_is_left_only(image):
    prune(image, ["env/**/tests", "env/**/*.map"], Notes())
    record = image / "env/lib/python3.11/site-packages/pkg-1.dist-info/RECORD"
    assert record.read_text() == "pkg/__init__.py,sha256=x,5\npkg-1.dist-info/RECORD,,\n"


def test_record_of_what_was_not_touched_keeps_its_bytes(image):
    record = image / "env/lib/python3.11/site-packages/pkg-1.dist-info/RECORD"
    before = record.read_bytes()
    prune(image, ["nothing"], Notes())
    assert record.read_bytes() == before


def test_a_link_goes_without_what_it_leads_to(image):
    (image / "link").symlink_to("env")
    prune(image, ["link"], Notes())
    assert not (image / "link").is_symlink()
    assert (image / "env/share/c.map").exists()
