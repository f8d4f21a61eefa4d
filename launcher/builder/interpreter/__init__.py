"""The Python of an image: pinned by a hash, made of Debian's packages or of a standalone build."""

from launcher.builder.interpreter.pins import Pin, Pins
from launcher.builder.interpreter.preparation import Interpreter, pinned, pinned_python, prepare

__all__ = ["Interpreter", "Pin", "Pins", "pinned", "pinned_python", "prepare"]
