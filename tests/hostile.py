"""Values of all sorts that somebody might send in an option's place, most of which must be refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

# fmt: off
_CONTROL = ["\n", "\r", "\r\n", "\0", "\t", "\v", "\f", "\x1b[2J", "\x85", "\u2028", "\u2029", "\u202e"]
_SHELL = ["'", '"', "`reboot`", "$(reboot)", "${HOME}", ";reboot;", " & ", "|cat", ">x", "<x", "\\", "*", "~"]
_SLURM = ["\n#SBATCH --exclusive", "#SBATCH", " --account=other", "\nreboot\n", "#", "%j", ",", "=", "+", "!"]
_PATHS = ["/..", "/../..", "../", "//", "/./", "/.", "..", "{user}", "/{user}/", "-other", "\0.toml", ".toml"]
_OTHERS = ["{{ 7 * 7 }}", "{% raw %}", " ", "\ufeff", "\u00a0", "\ud800", "é", "\uff16", "\u03bf", "@", ":"]
_ODD = [10**6, 10**4000, -(10**400), -1, True, False, 15.0, float("nan"), b"home", (), {1}, object()]
_ELSEWHERE = ["/etc/passwd.toml", "/projectsx/a", "/store/alicex/a", "/store/bob/a", "/", "/store", "/root"]
# fmt: on
_NESTED: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
_WRONG = [*_CONTROL, *_SHELL, *_SLURM, *_PATHS, *_OTHERS]
_LONG = 1_000_000


@st.composite
def _spoilt(draw: st.DrawFn, valid: Sequence[object]) -> str:
    """A value that may be given, with something in it that may not; sometimes a megabyte of it."""
    text = str(draw(st.sampled_from(valid)))
    wrong = draw(st.sampled_from(_WRONG) | st.text(max_size=3))
    place = draw(st.integers(0, len(text)))
    times = draw(st.sampled_from([1, 1, 1, 1, 1, 1, 2, _LONG // max(len(wrong), 1)]))
    return text[:place] + wrong * times + text[place + draw(st.integers(0, 1)) :]


def each_fault(valid: Sequence[object]) -> Iterator[Any]:
    """Yield values that may be given with each fault that we know: before, after, in the longest anywhere."""
    given = [str(each) for each in valid]
    longest = max(given, key=len)
    for wrong in _WRONG:
        for text in given:
            yield from (wrong + text, text + wrong)
        yield from (longest[:place] + wrong + longest[place:] for place in range(1, len(longest)))
    yield from (
        *_ODD,
        *_ELSEWHERE,
        10**5000,
        "x" * 501,
        "x" * _LONG,
        *(f"{text}\n" * _LONG for text in given),
    )


def texts(valid: Sequence[object]) -> st.SearchStrategy[str]:
    """Return a strategy of texts around values that may be given."""
    letters = "".join(sorted({letter for each in valid for letter in str(each)} | set("/:@%.-_a0")))
    longer = st.builds(lambda text, end: f"{text}{end}", st.sampled_from(valid), st.text(letters, max_size=6))
    return st.one_of(
        _spoilt(valid), _spoilt(valid), longer, st.text(letters, max_size=12), st.text(max_size=30)
    )


def hostile(valid: Sequence[object]) -> st.SearchStrategy[Any]:
    """Return a strategy of anything, much of it around values that may be given."""
    odd = [*_ODD, *_ELSEWHERE, "x" * _LONG, f"{valid[-1]}\n" * (_LONG // 10)]
    return st.one_of(
        texts(valid),
        texts(valid),
        st.sampled_from(valid) | st.integers() | st.integers(0, 2000) | _NESTED,
        st.integers(0, len(odd) - 1).map(odd.__getitem__),  # what has no short repr
    )
