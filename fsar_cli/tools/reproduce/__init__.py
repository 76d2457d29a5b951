"""The paper's tables and figures made anew: `fsar reproduce table1 | table2 | table3 | figure6 .. figure9`.

Reading order: `tables` (what the paper reports, and each row as settings), `recipes` (the paper's training, and a quick
one), `grounds` (which data to train and to test on), `jobs` (runs and tests, each known by a digest of what it depends
on), `plan` (which of them the table's cells need), `cost` (what they will take), `work` (runs what is missing, alone or
shared among processes), `outcome` (accuracies and paired differences), `report` (the table beside the paper's), `seen`,
`failures` and `pictures` (the figures).
"""
