"""Figures as they are printed: shares as points, half widths, p values."""

SMALLEST_SHOWN = 1e-4


def points(share: float, digits: int = 2) -> str:
    """A share as points without sign: 0.0287 -> 2.87."""
    return f"{abs(100 * share):.{digits}f}"


def signed(share: float) -> str:
    """A difference as points: +2.87, −0.40 (a true minus sign), 0.00."""
    text = points(share)
    return text if float(text) == 0 else ("+" if share > 0 else "−") + text


def plus_minus(width: float | None) -> str:
    """Half an interval: ± 0.41; a hyphen where it is not known."""
    return "-" if width is None else f"± {points(width)}"


def p_value(p: float) -> str:
    """A p value as it is printed: < 0.0001, 0.0312."""
    return f"< {SMALLEST_SHOWN:.4f}" if p < SMALLEST_SHOWN else f"{p:.4f}"
