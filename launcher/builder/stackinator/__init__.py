"""Images made by Spack, with Stackinator: https://github.com/eth-cscs/stackinator.

A recipe's directory `recipe` holds what Stackinator needs, in the versions of its format that there are.
"""

from launcher.builder.stackinator.completeness import check_recipe
from launcher.builder.stackinator.files import check
from launcher.builder.stackinator.preparation import prepare, python_of
from launcher.builder.stackinator.running import build
from launcher.builder.stackinator.uarchs import DIRECTORY, Uarch, uarch_named, uarchs
from launcher.builder.stackinator.versions import FORMATS

__all__ = [
    "DIRECTORY",
    "FORMATS",
    "Uarch",
    "build",
    "check",
    "check_recipe",
    "prepare",
    "python_of",
    "uarch_named",
    "uarchs",
]
