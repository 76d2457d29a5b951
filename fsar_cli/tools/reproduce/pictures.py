"""The paper's figures: what each shows there, shown here with the paper's method trained on the data at hand.

    figure 6    key regions of clips of the test classes
    figure 7    maps before and after the relation module
    figure 8    failures: targets too small for a region of fixed size; accuracy by size of what acts
    figure 9    failures: support clips that resemble one another; accuracy by how far apart the support lies

The run is the last row of table 2: whichever is made first, the other finds it.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fsar_cli.engine.dataset import DataSet
from fsar_cli.engine.motion import motion_energy
from fsar_cli.files import write_whole
from fsar_cli.render.figures import Strip, heat_figure, save_png, strips
from fsar_cli.render.page import Block, Bullets, Grid, Heading, Illustration, Text, as_html, as_markdown
from fsar_cli.tools.demo.hits import compare_regions
from fsar_cli.tools.reproduce.failures import by_margin, by_size, gap_in_words, support_margins, target_sizes
from fsar_cli.tools.reproduce.ground import source_of
from fsar_cli.tools.reproduce.plan import TablePlan, make_plan
from fsar_cli.tools.reproduce.recipes import RECIPES
from fsar_cli.tools.reproduce.repeat import commands_of
from fsar_cli.tools.reproduce.tables import COMPLETE, COMPLETE_NUMBERS, FIGURES, OURS, PaperRow, PaperTable
from fsar_cli.tools.reproduce.tested import TestedVideos, see, video_shares
from fsar_cli.tools.reproduce.work import Reproduction, RunResults

CLASSES_SHOWN, FAILURES_SHOWN, HEAT_MAPS = 5, 5, 3
EPISODES_OF_MARGINS = 1000
"""Where support margins are asked for; each needs a matching of its own."""


@dataclass
class Figure:
    """What was written, and what it says."""

    files: list[Path] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    document: dict[str, object] = field(default_factory=dict)


def figure_plan(name: str, data: list[tuple[DataSet, DataSet]], quick: bool, changes: Mapping[str, Any]) -> TablePlan:
    """The one run that a figure needs: trained with the most shots; for figure 9, whose support sets are single clips,
    with the fewest."""
    row = PaperRow(OURS, COMPLETE, COMPLETE_NUMBERS, source="2025")
    plan = make_plan(
        PaperTable(name, FIGURES[name], (row,), (), steps=False, quick="whole"),
        RECIPES["whole" if quick else "paper"], data, 1, changes,
    )  # fmt: skip
    for error in plan.refused.values():
        raise error
    pick = min if name == "figure9" else max
    plan.cells = [c for c in plan.cells if c.shot == pick(c.ground.settings.shots)]
    return plan


def draw(name: str, plan: TablePlan, place: Reproduction, made: RunResults) -> Figure:
    """Draw a figure on each ground of a plan whose run is finished; writes PNG, Markdown, HTML and JSON."""
    figure = Figure()
    stems = {grounds[0].name: stem for stem, grounds in plan.documents.items()}
    for cell in plan.cells:
        stem, novelty = stems[cell.ground.name], plan.novelties[cell.ground.name]
        seen = see(cell, place, made)
        blocks, document = DRAWN[name](seen, place.out / stem)
        title = f"Figure {name.removeprefix('figure')}: {FIGURES[name]} ({cell.ground.title})"
        before = plan.pretrainings[cell.ground.name][cell.row.label]
        document = {"recipe": plan.recipe.name, "words": plan.words, **source_of([cell.ground]),
                    "overlap": novelty.document()["overlap"], "pretraining": before.document(),
                    **document}  # fmt: skip
        head = [Text(plan.words, notice=not plan.recipe.faithful)]
        head += [Text(f"Some classes are {novelty.words}.", notice=True)] if novelty.words else []
        head += [Text(before.words, notice=bool(before.seen))] if before.words else []
        tail = [
            Heading("To repeat it"),
            Bullets(commands_of(cell.runs[0], place.out, cell.ground, [cell.shot]), code=True),
        ]
        page = [*head, *blocks, *tail]
        write_whole(place.out / f"{stem}.md", as_markdown(title, page))
        write_whole(place.out / f"{stem}.html", as_html(title, page))
        write_whole(place.out / f"{stem}.json", json.dumps({"schema": 1, **document}, indent=2, allow_nan=False) + "\n")
        pictures = [place.out / block.file for block in blocks if isinstance(block, Illustration)]
        figure.files += [*pictures, *[place.out / f"{stem}.{ending}" for ending in ("md", "html", "json")]]
        figure.lines += [title, *[block.text for block in page if isinstance(block, Text)]]
        figure.document[cell.ground.name] = document
    return figure


def _shown_classes(classes: tuple[str, ...], count: int) -> list[int]:
    return np.unique(np.linspace(0, len(classes) - 1, min(count, len(classes))).round().astype(int)).tolist()


def _first_right(seen: TestedVideos, cls: int) -> int:
    """The first video of a class that is recognised most of the time; else the first."""
    share = video_shares(seen)
    members = np.flatnonzero(seen.labels == cls)
    good = [v for v in members if share[v] > 0.5]
    return int(good[0] if good else members[0])


def _save(picture: np.ndarray, path: Path, caption: str) -> Illustration:
    save_png(picture, path)
    return Illustration(path.name, caption)


def _figure6(seen: TestedVideos, stem: Path) -> tuple[list[Block], dict]:
    chosen = {seen.classes[c]: _first_right(seen, c) for c in _shown_classes(seen.classes, CLASSES_SHOWN)}
    clips = [Strip(name, seen.frames(v), seen.regions(v)) for name, v in chosen.items()]
    picture = _save(strips(clips, "key regions"), stem.with_suffix(".png"), "Key regions (red) of test clips.")
    motion, document = seen.bank.regions, {"shown": {n: seen.videos[v] for n, v in chosen.items()}}
    rows = [[name, f"{getattr(motion, f'motion_{key}'):.2f}", *_hit(seen, name)]
            for name, key in (("key region", "region"), ("centre crop", "centre"), ("random crop", "random"),
                              ("centred on the motion", "oracle"))]  # fmt: skip
    document |= {"motion": {row[0]: float(row[1]) for row in rows}, "saturated": motion.saturated}
    known = ["actor's centre inside, %"] if len(rows[0]) > 2 else []
    words = (
        f"{100 * motion.motion_region:.0f} % of the motion lies inside the regions, {100 * motion.motion_centre:.0f} % "
        f"inside a centre crop of their size; {100 * motion.saturated:.0f} % of the centres were clamped."
    )
    return [picture, Text(words), Grid(["box", "share of the motion", *known], rows)], document


def _hit(seen: TestedVideos, name: str) -> list[str]:
    actors = seen.actors()
    if actors is None:
        return []
    hits = compare_regions(seen.bank.boxes, actors)
    return [f"{100 * hits[name].hit:.1f}" if name in hits else "-"]


def _figure7(seen: TestedVideos, stem: Path) -> tuple[list[Block], dict]:
    side, blocks, document = seen.reader.clip.size, [], {"shown": {}}
    for number, cls in enumerate(_shown_classes(seen.classes, HEAT_MAPS), 1):
        video, name = _first_right(seen, cls), seen.classes[cls]
        before, after = seen.maps(video)
        frames, boxes = seen.frames(video), seen.regions(video) * side
        heat = heat_figure(list(frames), before, after, (0, 0, side, side), boxes, seen.seconds(video), name)
        path = stem.with_name(f"{stem.name}-{number}.png")
        blocks.append(_save(heat, path, f"{name}: key region, map before the relation, weights after it."))
        document["shown"][name] = seen.videos[video]
    under = np.array([pair for pair in _on_motion(seen) if not np.isnan(pair).any()])  # [V,2]
    if not len(under):
        return [*blocks, Text("Nothing moves in the test videos.")], document
    before, after = under.mean(0).tolist()
    gain = float((under[:, 1] > under[:, 0]).mean())
    document |= {"motion_under_map": {"before": before, "after": after}, "share_of_videos_raised": gain}
    words = (
        f"Motion under the map, against its mean over the picture (1.00): {before:.2f} before the relation, "
        f"{after:.2f} after it; the relation raises it in {100 * gain:.0f} % of the test videos."
    )
    return [*blocks, Text(words)], document


def _on_motion(seen: TestedVideos) -> Iterator[tuple[float, float]]:
    """How much more than the mean motion lies under the map's weights, before and after the relation."""
    for video in range(len(seen.videos)):
        energy = motion_energy(torch.from_numpy(seen.frames(video)).unsqueeze(0))[0]  # [T,S,S]
        maps = seen.maps(video)
        cells = torch.nn.functional.adaptive_avg_pool2d(energy, maps[0].shape[-2:]).numpy()
        yield tuple(_ratio(m, cells) for m in maps)


def _ratio(weights: np.ndarray, motion: np.ndarray) -> float:
    weights = np.clip(weights, 0, None)
    if not weights.sum() or not motion.sum():
        return float("nan")
    return float((weights * motion).sum() / weights.sum() / motion.mean())


def _figure8(seen: TestedVideos, stem: Path) -> tuple[list[Block], dict]:
    actors = seen.actors()
    sizes, how = target_sizes(seen.reader, seen.videos, actors)
    share = video_shares(seen)
    thirds = by_size(sizes, share, seen.labels)
    order = [v for v in np.argsort(sizes, kind="stable") if share[v] < 0.5][:FAILURES_SHOWN]
    order = order or np.argsort(np.nan_to_num(share, nan=1), kind="stable")[:1].tolist()
    clips = [
        Strip(f"{seen.classes[seen.labels[v]]} {100 * sizes[v]:.0f} %", seen.frames(v), seen.regions(v),
              None if actors is None else actors[v].numpy())
        for v in order
    ]  # fmt: skip
    where = "red: key regions" + ("" if actors is None else "; white: actors")
    picture = _save(strips(clips, "smallest that failed"), stem.with_suffix(".png"),
                    f"The smallest targets that are mostly not recognised ({where}).")  # fmt: skip
    rows = [part.cells(scale=100) for part in thirds]
    gap = gap_in_words(thirds[0], thirds[-1], "videos")
    words = f"Size is {how}. Accuracy of the largest third of each class against the smallest: {gap}."
    document = {"size": how, "thirds": [vars(t) for t in thirds], "shown": [seen.videos[v] for v in order]}
    return [picture, Text(words), Grid(["targets", "size, % of the side", "videos", "accuracy, %"], rows)], document


def _figure9(seen: TestedVideos, stem: Path) -> tuple[list[Block], dict]:
    cell = seen.cell
    sampler, few = cell.ground.lists[cell.shot].sampler, min(EPISODES_OF_MARGINS, len(seen.right))
    drawn = sampler.batch(0, few)
    margins = support_margins(seen.method, seen.bank, sampler, drawn, seen.device)  # [E]
    accuracies = seen.right[:few].mean(1)
    quarters = by_margin(margins, accuracies)
    failed = np.flatnonzero(accuracies <= np.quantile(accuracies, 0.25))
    worst = int(failed[margins[failed].argmin()])
    shown = drawn.support[worst][:, 0]
    clips = [Strip(seen.classes[c], seen.frames(v)) for c, v in zip(drawn.classes[worst], shown, strict=True)]
    picture = _save(strips(clips, f"support set of episode {worst}"), stem.with_suffix(".png"),
                    f"The support set whose classes lie nearest together among episodes that failed: episode {worst}, "
                    f"margin {margins[worst]:.2f}, {100 * accuracies[worst]:.0f} % of its queries right.")  # fmt: skip
    rows = [part.cells() for part in quarters]
    gap = gap_in_words(quarters[0], quarters[-1], "episodes")
    words = (
        "The margin of a support set says how far its clips lie from those of the other classes, without looking at "
        f"any query. Accuracy of the clearest quarter against the most ambiguous: {gap}."
    )
    document = {
        "quarters": [vars(q) for q in quarters], "episode": worst, "margin": float(margins[worst]),
        "accuracy": float(accuracies[worst]), "support": [seen.videos[v] for v in shown], "episodes": few,
    }  # fmt: skip
    return [picture, Text(words), Grid(["support sets", "mean margin", "episodes", "accuracy, %"], rows)], document


DRAWN = {"figure6": _figure6, "figure7": _figure7, "figure8": _figure8, "figure9": _figure9}
