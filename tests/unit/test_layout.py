"""How the code is laid out: imports point one way, and the spawner stays small."""

import ast
import io
import tokenize
from pathlib import Path

import pytest

import launcher

ROOT = Path(launcher.__file__).parent
# Each may import those that stand before it.
ORDER = (
    "errors yaml_file view builder protocol node_name job_end patience server detached routes metrics "
    "server_count clusters certificates database firecrest words form spawner export check prefetch sandbox "
    "cli"
).split()
NODE = "errors view protocol node_name job_end".split()
WITHOUT_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
    *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
}


def imported(path):
    """Yield the parts of this project that a module imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = [*name.split("."), ""]
            if parts[0] == "launcher" and parts[1] in {*ORDER, "singleuser"}:
                yield parts[1]


def modules(part):
    return sorted((ROOT / part).rglob("*.py")) if (ROOT / part).is_dir() else [ROOT / f"{part}.py"]


@pytest.mark.parametrize("part", ORDER)
def test_a_part_imports_only_what_stands_before_it(part):
    allowed = {part, *ORDER[: ORDER.index(part)]}
    for path in modules(part):
        if path.name != "stand_in.py":  # takes the place of the node's half
            assert set(imported(path)) <= allowed, path


def test_the_nodes_half_imports_nothing_of_the_hubs():
    for path in modules("singleuser"):
        assert set(imported(path)) <= {"singleuser", *NODE}, path


def test_every_part_has_its_place():
    parts = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert parts - {"__init__", "__main__"} == {*ORDER, "singleuser"}


def lines_of_code(path):
    """Count the lines that hold neither blanks, comments nor docstrings alone."""
    text = path.read_text()
    documentation = set()
    for node in ast.walk(ast.parse(text)):
        for each in getattr(node, "body", []) if not isinstance(node, ast.Lambda | ast.IfExp) else []:
            if isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant):
                documentation.update(range(each.lineno, each.end_lineno + 1))
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in WITHOUT_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - documentation)


def test_the_spawner_stays_under_1500_lines_of_code():
    assert sum(map(lines_of_code, modules("spawner"))) < 1500
