"""Which test classes the pretraining of a backbone has seen: an accuracy on these is no few-shot accuracy.

Names are compared by their spelling: without case, punctuation and articles; `PushUps`, `push_up` and `pushup` are
alike, and so are a word with and without `-ing` or `-s`, two words in either order (`CliffDiving`, `diving cliff`), and
a name with and without what stands in brackets. A class that is marked wrongly does more harm than one that is missed,
so other words for an action (`JumpRope`, `skipping rope`) are not found: no class is shown to be new by this.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice, product

from fsar_cli.config import ModelConfig
from fsar_cli.core.build import seen_by_weights
from fsar_cli.data.naming import fold
from fsar_cli.errors import listed

MARK = "†"
ARTICLES = {"a", "an", "the"}
SPELLINGS = 1000  # of a name that are looked for, its own first: those of a long one multiply


@dataclass(frozen=True)
class Pretraining:
    """How the test classes stand to what weights have seen before any run; without test classes nothing is known."""

    tested: int = 0
    """Number of test classes."""
    source: str = ""
    """Whose classes the weights have seen, for people; empty: there was no training, or it is not known."""
    actions: int = 0
    """Number of actions that they are known to have seen."""
    seen: Mapping[str, str] = field(default_factory=dict)
    """Test class -> its name there."""
    unlisted: tuple[str, ...] = ()
    """Files of weights that have seen what is not known."""

    @property
    def known(self) -> bool:
        """Whether it is known of all weights what they have seen."""
        return self.tested > 0 and not self.unlisted

    def mark(self, name: str) -> str:
        """A test class as tables show it."""
        return f"{name} {MARK}" if name in self.seen else name

    def state(self, name: str) -> str:
        """Of a test class: `seen`, `not found` by its name, or `not known`; of several, the greatest counts."""
        return "seen" if name in self.seen else "not found" if self.known else "not known"

    @property
    def words(self) -> str:
        """What a reader of the result must know; empty where no action was seen."""
        text = ""
        if self.seen:
            names = [name if name == there else f"{name} (as {there})" for name, there in self.seen.items()]
            text = (f"{MARK} {len(names)} of {self.tested} test classes are among those of the pretraining "
                    f"({self.source}): {listed(names)}; on these it is no few-shot accuracy. ")  # fmt: skip
        elif self.actions:
            text = f"By name, none of {self.tested} test classes is among those of the pretraining ({self.source}). "
        if text:
            text += f"Other words for an action are not found: a class without {MARK} is not shown to be new. "
        if self.unlisted:
            of = " and ".join(self.unlisted)
            text += f"What the pretraining of {of} has seen is not known: NAME.classes.txt beside a file can list that."
        return text.strip()

    def document(self) -> dict[str, object]:
        """Plain values for JSON."""
        seen = [{"class": name, "as": there} for name, there in self.seen.items()]
        return {"source": self.source or None, "known": self.known, "actions": self.actions, "classes_seen": seen,
                "unlisted": list(self.unlisted)}  # fmt: skip


def remarks(named: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Words on several by their names, the same words once, with the names where others have other words."""
    told: dict[str, list[str]] = {}
    for name, words in named:
        told.setdefault(words, []).append(name)
    for words in filter(None, told):
        yield words if len(told) == 1 else f"{', '.join(told[words])}: {words}"


def pretraining_of(models: Iterable[ModelConfig], tested: Sequence[str]) -> Pretraining:
    """How test classes stand to what the weights of models have seen before any run, all models together.

    Raises:
        DataError: a list of classes beside the weights cannot be read.
    """
    parts = list(dict.fromkeys(part for model in models for part in seen_by_weights(model)))
    actions = dict.fromkeys(name for part in parts for name in part.classes or ())
    named = {spelling: name for name in reversed(actions) for spelling in spellings(name)}
    named |= {spellings(name)[0]: name for name in reversed(actions)}  # what is spelt so goes before others
    same = {name: next((named[s] for s in spellings(name) if s in named), None) for name in tested}
    return Pretraining(
        len(tested),
        " and ".join(dict.fromkeys(part.source for part in parts if part.source and part.classes is not None)),
        len(actions),
        {name: there for name, there in same.items() if there},
        tuple(part.source for part in parts if part.classes is None),
    )


@cache
def spellings(name: str) -> tuple[str, ...]:
    """The forms of a class's name, its own first: two names that share one are the same action."""
    found: dict[str, None] = {}
    for text in (name, re.sub(r"\([^)]*\)", " ", name)):
        parts = re.split(r"[\s_\-/]+|(?<=[a-z0-9])(?=[A-Z])", text)
        words = [word for part in parts if part and (word := fold(part)) not in ARTICLES]
        for order in {2: (words, words[::-1]), 0: ()}.get(len(words), (words,)):
            found |= dict.fromkeys(fold(" ".join(some)) for some in islice(product(*map(_bases, order)), SPELLINGS))
    return tuple(found) or (fold(name),)


def _bases(word: str) -> tuple[str, ...]:
    """A word, and what it can be `-ing` or the plural of."""
    stem = word[:-3]
    if word.endswith("ing") and re.search("[aeiouy]", stem):  # not `sing`
        return word, stem, f"{stem}e", *([stem[:-1]] if stem[-2:-1] == stem[-1] else [])
    if word.endswith("s") and not word.endswith("ss"):
        return word, word[:-1], *([word[:-2]] if word.endswith("es") else [])
    return (word,)
