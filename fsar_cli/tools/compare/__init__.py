"""Several methods on the same episodes: which differences are real?

Reading order: `naming` (what is compared), `comparison` (all of them on the same episodes, by `engine.evaluate` and
`engine.statistics`), `words` (what it says) and `report` (tables, files, picture).
"""
