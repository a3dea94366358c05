"""What a picture is to be printed on, and the pixels that takes.

Standard library only.
"""

import math
import re
from typing import NamedTuple

CENTIMETRES = 2.54  # an inch's
UNITS = {"cm": CENTIMETRES, "mm": 10 * CENTIMETRES, "in": 1.0}  # of an inch
_PAPER = re.compile(r"([\d.]+)x([\d.]+)(cm|mm|in)@([\d.]+)dpi")


class Paper(NamedTuple):
    """A sheet, and how finely it is printed.

    Fields:
      width, height: in its unit.
      unit: cm, mm or in.
      dpi: pixels an inch.
    """

    width: float
    height: float
    unit: str
    dpi: float

    @classmethod
    def parse(cls, text: str) -> "Paper":
        """From `60x40cm@300dpi`; ValueError if it is no such thing."""
        found = _PAPER.fullmatch(str(text).lower().replace(" ", ""))
        try:
            if found:
                width, height, dpi = (float(found[k]) for k in (1, 2, 4))
                if min(width, height) > 0 and 10 <= dpi <= 2400:
                    return cls(width, height, found[3], dpi)
        except ValueError:  # 1.2.3
            pass
        raise ValueError(
            "expected a sheet in cm, mm or in and 10 to 2400 pixels an inch, "
            f'as 60x40cm@300dpi or 24x16in@300dpi; received "{text}".'
        )

    def __str__(self) -> str:
        sides = f"{self.width:.10g}x{self.height:.10g}{self.unit}"
        return f"{sides}@{self.dpi:.10g}dpi"

    def pixels(self, size: tuple[float, float]) -> tuple[int, int]:
        """The largest `(h, w)` of a picture's aspect that the sheet has.

        The sheet is turned as the picture is, and never exceeded.
        """
        height, width = size
        sheet = sorted(
            side / UNITS[self.unit] * self.dpi
            for side in (self.width, self.height)
        )
        down, across = sheet if height <= width else sheet[::-1]
        scale = min(down / height, across / width)
        # A sheet of just so many pixels should have them all.
        rows, columns = (math.floor(side * scale + 1e-6) for side in size)
        return max(1, rows), max(1, columns)

    def measure(self, size: tuple[int, int]) -> str:
        """How large `(h, w)` pixels come out: `60.0 x 40.0 cm`."""
        inch = UNITS[self.unit]
        height, width = (side / self.dpi * inch for side in size)
        places = 1 if self.unit == "cm" else 0 if self.unit == "mm" else 2
        return f"{width:.{places}f} x {height:.{places}f} {self.unit}"
