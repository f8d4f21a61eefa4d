"""What can be known of an image by looking into its file, without mounting it.

The image may be anybody's: what it says is limited in size, and told in characters that can be printed.
"""

from launcher.builder.inspection.image import Inspection, inspect
from launcher.builder.inspection.packages import Package
from launcher.builder.inspection.views import View

__all__ = ["Inspection", "Package", "View", "inspect"]
