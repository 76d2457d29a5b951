"""One figure of a benchmark: what fsar reached, what the plain form reached, and how they compare."""

from dataclasses import asdict, dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class Measurement:
    """A row of the report; `ours` and `plain` were measured in this run, in turn where both are short."""

    section: str
    what: str
    """What was done, in few words."""
    sizes: str
    """On what: everything that a reader needs to compare the figure with another."""
    unit: str
    """Of `ours` and `plain`; a rate (`frames/s`) is better when larger, a time (`s`, `ms`) when smaller."""
    ours: float
    plain: float
    against: str
    """What `plain` is."""
    spread: float = 0.0
    """(largest - smallest) / median of our repeats; 0 where there was one."""
    ceiling_share: float | None = None
    """Our FLOP/s over those of the fastest matrix product of the same type."""
    details: dict[str, object] = field(default_factory=dict)
    """Further figures, plain values."""

    @property
    def ratio(self) -> float:
        """How many times better ours is; below 1 it is worse."""
        better, worse = (self.ours, self.plain) if self.unit.endswith("/s") else (self.plain, self.ours)
        return better / worse if worse else float("inf")

    def document(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {**asdict(self), "ratio": self.ratio}


@dataclass
class Report:
    """A benchmark as far as it came."""

    machine: dict[str, object]
    """CPU or GPU, cores, versions."""
    command: str
    sections: tuple[str, ...]
    """Those asked for."""
    quick: bool
    date: str = field(default_factory=lambda: datetime.now().astimezone().isoformat(timespec="seconds"))
    ceilings: dict[str, float] = field(default_factory=dict)
    """What the machine reaches: FLOP/s of matrix products by type, bytes/s of copies."""
    measurements: list[Measurement] = field(default_factory=list)
    interrupted: bool = False
    seconds: float = 0.0

    def document(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "machine": self.machine, "command": self.command, "date": self.date, "quick": self.quick,
            "sections": list(self.sections), "interrupted": self.interrupted, "seconds": round(self.seconds, 1),
            "ceilings": self.ceilings, "measurements": [entry.document() for entry in self.measurements],
        }  # fmt: skip
