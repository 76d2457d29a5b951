"""Who is in which split: published protocols, trees of videos, split files, how they are made and checked."""

from fsar_cli.data.splits.file import Splits, Video

__all__ = ["Splits", "Video"]
