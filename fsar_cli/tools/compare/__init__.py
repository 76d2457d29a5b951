"""Several methods on the same episodes: which differences are real?

Reading order: `entries` (what is compared, and its evaluation, which is looked up where it was made before), `paired`
(is a difference real at this number of episodes?), `jackknife` (how far does it depend on the test videos?),
`comparison` (both together, and training runs), `words` (what it says) and `report` (tables, files, picture).
"""
