"""The one rule by which a picture is brought to a short side; pictures are only ever (width, height) here."""

from fsar_cli.errors import UsageError


def scaled_size(width: int, height: int, short_side: int | None) -> tuple[int, int]:
    """(width, height) in pixels after scaling so that the shorter side is exactly `short_side`.

    The longer side scales alike, is rounded to the nearest pixel and never falls below the short one. None: no change.

    Raises:
        UsageError: a short side below 1.
    """
    if short_side is None:
        return width, height
    if short_side < 1:
        raise UsageError(f"the short side must be at least 1 pixel, not {short_side}")
    short, long = min(width, height), max(width, height)
    other = max(short_side, int(long * short_side / short + 0.5))
    return (short_side, other) if width <= height else (other, short_side)
