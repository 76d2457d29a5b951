"""The embedded demo set: small labelled surveillance-like clips in which one actor acts in one small place.

Reading order: `canvas` (a drawing surface with its own units), `people`, `scene` and `textures` (where it happens),
`act` (what an action is), `everyday`, `things` and `anomalies` (the actions), `actions` (the class table),
`bystanders`, `render` (one clip), `dataset` (files).
"""

from fsar_cli.tools.demo.scenes.actions import CLASSES
from fsar_cli.tools.demo.scenes.dataset import read_boxes, render_set
from fsar_cli.tools.demo.scenes.render import Clip, render_clip

__all__ = ["CLASSES", "Clip", "read_boxes", "render_clip", "render_set"]
