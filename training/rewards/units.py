"""Quantities: a number with a unit of measure, compared in the unit's base ("5 km" is "5000 m", and is not "5 m").

Only units whose spelling is certain; a word that is none of them ("144 legs") is not a quantity.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

_UNITS: dict[str, tuple[str, str, str]] = {
    # unit: (dimension, size in the dimension's base, spellings)
    "mm": ("length", "1/1000", "mm millimeter millimeters millimetre millimetres"),
    "cm": ("length", "1/100", "cm centimeter centimeters centimetre centimetres"),
    "m": ("length", "1", "m meter meters metre metres"),
    "km": ("length", "1000", "km kilometer kilometers kilometre kilometres"),
    "in": ("length", "254/10000", "in inch inches"),
    "ft": ("length", "3048/10000", "ft foot feet"),
    "yd": ("length", "9144/10000", "yd yard yards"),
    "mi": ("length", "1609344/1000", "mi mile miles"),
    "mg": ("mass", "1/1000", "mg milligram milligrams"),
    "g": ("mass", "1", "g gram grams"),
    "kg": ("mass", "1000", "kg kilogram kilograms kilo kilos"),
    "t": ("mass", "1000000", "tonne tonnes"),
    "lb": ("mass", "45359237/100000", "lb lbs pound pounds"),
    "oz": ("mass", "45359237/1600000", "oz ounce ounces"),
    "ms": ("time", "1/1000", "ms millisecond milliseconds"),
    "s": ("time", "1", "s sec secs second seconds"),
    "min": ("time", "60", "min mins minute minutes"),
    "h": ("time", "3600", "h hr hrs hour hours"),
    "d": ("time", "86400", "day days"),
    "wk": ("time", "604800", "week weeks"),
    "ml": ("volume", "1/1000", "ml milliliter milliliters millilitre millilitres"),
    "cl": ("volume", "1/100", "cl centiliter centiliters centilitre centilitres"),
    "l": ("volume", "1", "l liter liters litre litres"),
    "deg": ("angle", "1", "degree degrees"),
    "cent": ("money", "1/100", "cent cents ¢"),
    "dollar": ("money", "1", "dollar dollars usd"),
}
_SPELLED = {word: unit for unit, (_, _, words) in _UNITS.items() for word in words.split()}
_POWER = re.compile(r"^(?P<unit>[a-z¢]+)(?:\^?\{?(?P<power>[23])\}?|(?P<sign>[²³]))?$")
_PREFIX = re.compile(r"^(?P<power>square|sq|cubic|cu)\.?\s+(?P<unit>[a-z]+)$")


@dataclass(frozen=True)
class Unit:
    """What a unit measures and how large one is in the base of that dimension."""

    dimension: str
    size: Fraction


def unit_of(text: str) -> Unit | None:
    """Return the unit that `text` names, also squared, cubed or per another ("km/h"), None if it is none."""
    top, slash, bottom = text.strip().rstrip(".").lower().replace(" per ", "/").partition("/")
    first = _single(top.strip())
    if not slash or first is None:
        return first
    second = _single(bottom.strip())
    if second is None:
        return None
    return Unit(f"{first.dimension}/{second.dimension}", first.size / second.size)


def _single(text: str) -> Unit | None:
    power, word = 1, text
    prefixed, raised = _PREFIX.match(text), _POWER.match(text)
    if prefixed:
        power, word = (2 if prefixed["power"] in ("square", "sq") else 3), prefixed["unit"]
    elif raised:
        word = raised["unit"]
        power = int(raised["power"]) if raised["power"] else {"²": 2, "³": 3}.get(raised["sign"] or "", 1)
    if word not in _SPELLED:
        return None
    dimension, size, _ = _UNITS[_SPELLED[word]]
    return Unit(dimension if power == 1 else f"{dimension}^{power}", Fraction(size) ** power)
