"""YAML files that admins write: read with care, checked by a model, each mistake told with its place."""

from launcher.yaml_file.checked import checked
from launcher.yaml_file.part import Part, Place
from launcher.yaml_file.problem import Problem, shown
from launcher.yaml_file.seen import Seen
from launcher.yaml_file.source import Source
from launcher.yaml_file.words import Detail, Words

__all__ = ["Detail", "Part", "Place", "Problem", "Seen", "Source", "Words", "checked", "shown"]
