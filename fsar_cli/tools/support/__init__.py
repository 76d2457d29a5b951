"""Are these examples good ones? Every clip of a support set is recognised by the others (the paper's figure 9).

Read in this order: pool (which clips), faults (what is wrong with a clip by itself), draws (who is asked with whom as
example), scoring (margins, influence), likeness (distances of frame features), flags (what is worth a look, and every
threshold), filtering (does leaving them out help?), check (all of it), report (words, table, files).
"""
