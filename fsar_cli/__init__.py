"""fsar: few-shot anomalous action recognition with spatio-temporal key regions.

Reading order: `errors`, `config` and `settings`, `core/method.py` (the axis letters and the contract encode -> match),
`core/` (one paper section a module), `core/methods/`, `data/` (video file -> clip), `engine/` (what a run does),
`render/` (pictures), `cli/` (one command a file). Imports go down only: cli > engine > core, data, render; those three
know nothing of one another, and all may use `errors`, `config`, `settings` and `reporting`.
"""

__version__ = "0.1.0"
