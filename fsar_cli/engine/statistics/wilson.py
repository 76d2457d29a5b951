"""How far a share may lie from the one that was counted: the interval of Wilson (1927), which holds for few, too."""

import math

from fsar_cli.engine.statistics.paired import LEVEL, NORMAL


def wilson_interval(right: int, of: int, confidence: float = 1 - LEVEL) -> tuple[float, float]:
    """Both limits of a share: 0 of 10 -> (0, 0.278), 9 of 10 -> (0.596, 0.982); of none (0, 1).

    Raises:
        ValueError: more right than there are, a number below 0, or a confidence that is not between 0 and 1.
    """
    if not 0 <= right <= of or not 0 < confidence < 1:
        raise ValueError(f"no interval for {right} of {of} at a confidence of {confidence}")
    if of == 0:
        return 0.0, 1.0
    z = NORMAL.inv_cdf(0.5 + confidence / 2)
    share, whole = right / of, 1 + z**2 / of
    middle = (share + z**2 / (2 * of)) / whole
    half = z / whole * math.sqrt(share * (1 - share) / of + z**2 / (4 * of**2))
    # At both ends the formula is exact, but for its rounding.
    return (0.0 if right == 0 else middle - half), (1.0 if right == of else middle + half)
