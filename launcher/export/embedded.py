"""The files that a hub needs of a cluster, and how their text travels inside another."""

from __future__ import annotations

import base64
import os.path
from dataclasses import dataclass
from pathlib import Path

from launcher.clusters import ClusterFile, Seen
from launcher.clusters.check import load_checked
from launcher.clusters.template import template_directory


@dataclass(frozen=True)
class Embedded:
    """A file that travels inside a configuration, byte for byte.

    Attributes:
        name: Its path beside the cluster file.
        text: What it holds, with its own ends of lines.
    """

    name: str
    text: str

    @property
    def plain(self) -> bool:
        r"""Whether the text can stand as it is in a block of YAML and in a raw string of Python.

        It can't with what editors, YAML or templates would change: an end other than one newline, a first
        line that is indented, trailing blanks, control characters and blanks that look like others, `{{`.
        """
        return (
            self.text.endswith("\n")
            and not self.text.endswith("\n\n")
            and not self.text.startswith((" ", "\n"))
            and all(line.isprintable() and line == line.rstrip() for line in self.text[:-1].split("\n"))
            and "{{" not in self.text
            and "'''" not in self.text
        )

    @property
    def python(self) -> str:
        """The text as an expression of Python."""
        if self.plain:
            return f"r'''\n{self.text}'''[1:]"
        # Neither a line's end nor a brace stays what a template engine or YAML would take for its own.
        lines = [ascii(line).replace("{{", "{\\x7b") for line in self.text.splitlines(keepends=True)]
        return "\n        ".join(["(", *lines]) + "\n    )" if lines else '""'

    @property
    def base64(self) -> str:
        """The text's bytes in base64, in lines of 76."""
        return base64.encodebytes(self.text.encode()).decode("ascii").rstrip("\n")


def embedded(cluster_file: Path) -> tuple[ClusterFile, list[Embedded]]:
    """Read a cluster file with the batch templates that are its site's own.

    Args:
        cluster_file: The cluster file.

    Returns:
        What was read, and the files that a hub needs beside its installation of this project, the cluster
        file first.

    Raises:
        InvalidFile: With every problem.
    """
    seen = Seen()
    loaded = load_checked(cluster_file, seen)
    directory = Path(os.path.abspath(cluster_file)).parent  # noqa: PTH100 - as it was read, links and all
    files = []
    for path in seen.files:
        text = path.read_bytes().decode()
        if path == cluster_file:
            files.append(Embedded(f"{loaded.cluster.name}.yaml", text))
        elif path.parent != template_directory():
            # The first place that has a template wins, so one directory can hold what was found in two.
            place = directory if path.is_relative_to(directory) else directory.parent
            files.append(Embedded(path.relative_to(place).as_posix(), text))
    return loaded, files
