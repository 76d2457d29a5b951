"""Are these examples good ones? Every clip of a support set is recognised by the others (the paper's figure 9).

Read in this order: pool (which clips), margins (each clip recognised by the others), flags (what is worth a look, and
every threshold), check (all of it: `check(method, config, pool, device)`), report (table, JSON, picture).
"""
