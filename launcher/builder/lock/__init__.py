"""Locks: the hashed requirements that an image is made from, read, checked and made."""

from launcher.builder.lock.floors import Floor, below_floors, floors
from launcher.builder.lock.text import Lock, Pin

__all__ = ["Floor", "Lock", "Pin", "below_floors", "floors"]
