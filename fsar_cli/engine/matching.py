"""Episodes against a bank: what depends on two videos alone is computed once for all pairs and looked up.

10,000 5-way 5-shot episodes ask for 1.25 million pairs; 1292 test videos have 1.67 million, of which each is then one
number to look up.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fsar_cli.core.method import Encoded, FewShotMethod, Scores
from fsar_cli.data.episodes import EpisodeList, EpisodeNumbers, Episodes
from fsar_cli.engine.bank import CHECK_WEIGHTS, Bank, encoded_badly, without_numbers
from fsar_cli.engine.device import free_memory
from fsar_cli.errors import DataError
from fsar_cli.ranks import ALONE, Ranks

# Memory one call of `match` may take for gathered support and query; its temporaries are about as large again.
# More gains no speed; on a CPU it costs some, as the system then gives and takes pages with every call. Where less is
# free, a share of that.
BYTES_PER_MATCH = {"cpu": 16 * 2**20, "cuda": 4 * 2**30}
SHARE_OF_MEMORY = 0.125
# A pair for an episode costs more than one of the table, whose products are larger; so the table may hold more pairs.
PAIRS_WORTH_COMPUTING = 2.0


@dataclass(frozen=True)
class Answers:
    """Scores of some queries of some episodes."""

    rows: np.ndarray
    """int64 [e]: which episodes of the list."""
    asked: np.ndarray
    """bool [e,N*Q]: which of their queries."""
    scores: Scores
    """[e,N*Q,N], of all their queries; only those asked for count."""


class Matcher:
    """Matches the episodes of one sampler, whose videos are the bank's.

    Args:
        episodes: how many are to come: it decides whether a table of all pairs pays.
        device: where to match; None: where the bank is.
    """

    def __init__(
        self,
        method: FewShotMethod,
        bank: Bank,
        sampler: EpisodeNumbers,
        episodes: int,
        device: torch.device | None = None,
    ) -> None:
        self.method, self.bank, self.device = method, bank, device or bank.device
        self.encoded, self.table = bank.encoded, {}
        asked = episodes * sampler.way**2 * sampler.queries * sampler.shot
        if method.pair_tensors and len(bank.videos) ** 2 <= PAIRS_WORTH_COMPUTING * asked:
            self.table = self._all_pairs()
        if self.table:
            rest = [name for name in self.encoded.tensors if name not in method.pair_tensors]
            self.encoded = self.encoded.only(rest) if rest else None
        self.batch = self._episodes_a_call(sampler)

    def _allowed(self) -> int:
        return min(BYTES_PER_MATCH[self.device.type], int(SHARE_OF_MEMORY * free_memory(self.device)))

    def _episodes_a_call(self, sampler: EpisodeNumbers) -> int:
        videos = sampler.way * (sampler.shot + sampler.queries)
        numbers = (self.encoded.numel_per_video() if self.encoded else 0) + len(self.table) * sampler.way * sampler.shot
        return max(1, self._allowed() // (4 * max(1, numbers) * videos))

    def _all_pairs(self) -> dict[str, Tensor]:
        """{name: [V,V]} distances of every video, as a query, to every video, as support."""
        names, rows = self.method.pair_tensors, len(self.bank.videos)
        size = sum(self.encoded[name][0].numel() for name in names)
        step = max(1, min(rows, self._allowed() // (4 * size)))
        parts: dict[str, list[Tensor]] = {}
        for start in range(0, rows, step):
            queries = self._videos(names, start, start + step)
            columns = [
                self.method.pairs(queries, self._videos(names, begin, begin + step)) for begin in range(0, rows, step)
            ]
            for name in columns[0]:
                parts.setdefault(name, []).append(torch.cat([column[name] for column in columns], -1))
        return {name: torch.cat(found) for name, found in parts.items()}

    def _videos(self, names: tuple[str, ...], start: int, end: int) -> Encoded:
        return Encoded({name: self.encoded[name][start:end] for name in names}).to(self.device)

    def __call__(self, drawn: Episodes) -> Scores:
        """Scores [E,N*Q,N] of episodes; the class of query n*Q+q is n.

        Raises:
            DataError: some are NaN or infinite: the largest of them would be no answer.
        """
        support, query = torch.from_numpy(drawn.support), torch.from_numpy(drawn.query).flatten(1)  # [E,N,K], [E,N*Q]
        classes = torch.from_numpy(drawn.classes).to(self.device)  # [E,N], positions in the sampler's classes
        pairs = {name: self._picked(table, query, support) for name, table in self.table.items()}
        scores = self.method.match(self._taken(support), self._taken(query), classes, pairs or None)
        if not all(bool(part.isfinite().all()) for part in scores.everything().values()):
            raise self._no_numbers()
        return scores

    def _no_numbers(self) -> DataError:
        """What is to blame for scores that are no numbers: a video that is encoded in none, or the method."""
        if (bad := without_numbers(self.bank.encoded)) is not None:
            return encoded_badly(f"'{self.bank.videos[bad]}'")
        return DataError("the method scores videos with numbers that are NaN or infinite", CHECK_WEIGHTS)

    def _picked(self, table: Tensor, query: Tensor, support: Tensor) -> Tensor:
        """[E,Q,N,K] of a table [V,V]."""
        return table[query[:, :, None, None].to(self.device), support[:, None].to(self.device)]

    def _taken(self, index: Tensor) -> Encoded:
        if self.encoded is None:  # the pairs say all: the positions stand for the videos
            return Encoded({"position": index}, index.ndim)
        return self.encoded.take(index.to(self.bank.device)).to(self.device)


def answers(
    method: FewShotMethod, bank: Bank, episodes: EpisodeList, rows: np.ndarray, asked: np.ndarray,
    batch: int | None = None, device: torch.device | None = None, ranks: Ranks = ALONE,
) -> Iterator[Answers]:  # fmt: skip
    """Match episodes of a list against a bank; of several processes each answers every `world`-th one.

    Args:
        rows: int64 [e] which, in ascending order.
        asked: bool [e,N*Q] which of their queries count.
        batch: episodes a call; None: as many as the memory allows.
    """
    matcher = Matcher(method, bank, episodes.sampler, len(rows), device)
    rows, asked = ranks.share(rows), ranks.share(asked)
    size = batch or matcher.batch
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        yield Answers(rows[part], asked[part], matcher(episodes.take(rows[part])))
