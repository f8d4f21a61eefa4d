"""Batch templates: Jinja files with blocks, read once and kept as they were."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from traceback import extract_tb
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateNotFound, meta, nodes
from jinja2.loaders import split_template_path
from jinja2.sandbox import ImmutableSandboxedEnvironment

import launcher
from launcher.errors import InvalidFile
from launcher.yaml_file.problem import Problem, shown
from launcher.yaml_file.seen import Seen


def template_directory() -> Path:
    """Return the directory of the batch templates that come with this project."""
    package = Path(launcher.__file__).parent
    installed = package / "batch_templates"
    return installed if installed.is_dir() else package.parent / "batch_templates"


class _Files(BaseLoader):
    """Finds templates in directories, and reads each once."""

    def __init__(self, directories: tuple[Path, ...], seen: Seen) -> None:
        self._directories = directories
        self._seen = seen
        self._read: dict[str, tuple[str, str, None]] = {}

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, None]:
        del environment
        if template not in self._read:
            self._read[template] = self._find(template)
        return self._read[template]

    def _find(self, template: str) -> tuple[str, str, None]:
        for directory in self._directories:
            path = directory.joinpath(*split_template_path(template))
            # One that is not there is noted, too: it may be put there, and would then come first.
            try:
                return self._seen.read(path).decode("utf-8-sig"), str(path), None
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                continue
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or error
                raise InvalidFile([Problem(f"can't be read: {reason}", file=path)]) from None
        raise TemplateNotFound(template)


class BatchTemplate:
    """A batch template with all that it extends and includes; what was read once stays as it was.

    Args:
        name: The template's file name.
        directories: Where it is sought; the first hit wins.
        seen: Notes the files that are read or looked for.
    """

    def __init__(self, name: str, directories: tuple[Path, ...], seen: Seen) -> None:
        self._name = name
        self._directories = directories
        self._files = _Files(directories, seen)
        self._environment = ImmutableSandboxedEnvironment(
            loader=self._files,
            undefined=StrictUndefined,
            auto_reload=False,
            cache_size=-1,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._environment.filters["sh"] = lambda value: shlex.quote(str(value))

    @property
    def file(self) -> str:
        """Path of the file that was found.

        Raises:
            InvalidFile: If it can't be read.
            TemplateNotFound: If there is none.
        """
        return self._files.get_source(self._environment, self._name)[1]

    def found(self) -> bool:
        """Tell whether there is a template of that name.

        Raises:
            InvalidFile: If it can't be read.
        """
        try:
            self._files.get_source(self._environment, self._name)
        except TemplateNotFound:
            return False
        return True

    def preload(self) -> None:
        """Read and compile all that the template names, also what no script made of it so far needs.

        Raises:
            InvalidFile: If one has a mistake, with its file and line.
        """
        names = [self._name]
        with self._mistakes_told():
            for name in names:  # more are added below
                try:
                    self._environment.get_template(name)
                except TemplateNotFound:
                    if name == self._name:
                        raise
                    continue  # it may say `ignore missing`; else whoever renders it is told
                more = meta.find_referenced_templates(self._parse(name))
                names += [each for each in more if each and each not in names]
            self._check_blocks(names)

    def _parse(self, name: str) -> nodes.Template:
        return self._environment.parse(self._files.get_source(self._environment, name)[0])

    def _check_blocks(self, names: list[str]) -> None:
        """Refuse what Jinja drops without a word: blocks that have no place, and text around blocks."""
        problems: list[str] = []
        known: list[str] = []
        with suppress(TemplateNotFound):  # whoever renders it is told
            for name in reversed(names):  # a template stands before those that it names
                tree = self._parse(name)
                file = self._files.get_source(self._environment, name)[1]
                if any(isinstance(each, nodes.Extends) for each in tree.body):
                    problems += _dropped(tree, known, file)
                known += [block.name for block in tree.find_all(nodes.Block) if block.name not in known]
        if problems:
            raise InvalidFile(problems)

    def render(self, **values: Any) -> str:
        """Return the template filled in; the same values give the same text.

        Raises:
            InvalidFile: If the template has a mistake, with its file and line.
        """
        with self._mistakes_told():
            return self._environment.get_template(self._name).render(**values)

    @contextmanager
    def _mistakes_told(self) -> Iterator[None]:
        """Turn what goes wrong with a template into words for its author."""
        try:
            yield
        except InvalidFile:
            raise
        except Exception as error:
            # A template is a program, whose lines Jinja puts into the traceback among Python's.
            lines = [
                each for each in extract_tb(error.__traceback__) if not each.filename.endswith((".py", ">"))
            ]
            message = getattr(error, "message", None) or str(error) or type(error).__name__
            message = re.sub(r"'launcher\.[\w.]+\.(\w+) object'", r"\1", message)
            if isinstance(error, TemplateNotFound):
                message = f"there is no batch template {error.name}"
            elif isinstance(error, RecursionError):
                message = "extends itself: give a template of yours another name than the one it extends"
            place = lines[0 if isinstance(error, RecursionError) else -1] if lines else None
            file, line = (place.filename, place.lineno or 1) if place else (self._name, 1)
            raise InvalidFile([Problem(" ".join(message.split()), file=file, line=line)]) from error


def _dropped(tree: nodes.Template, known: list[str], file: str) -> Iterator[Problem]:
    """Yield what stands in a template that extends another and has no place there."""
    for each in tree.body:
        if isinstance(each, nodes.Block) and each.name not in known:
            message = f"there is no block {each.name} to change; there are {', '.join(known)}"
            yield Problem(message, file=file, line=each.lineno)
        elif isinstance(each, nodes.Output) and (text := _text_of(each)):
            yield Problem(f"this stands in no block: {shown(text)}", file=file, line=each.lineno)


def _text_of(output: nodes.Output) -> str:
    """Return what an output outside of blocks says, in one line; nothing for blank lines."""
    texts = [each.data if isinstance(each, nodes.TemplateData) else "{{ … }}" for each in output.nodes]
    return " ".join("".join(texts).split())
