"""The paper's tables and figures made anew: `fsar reproduce table1 | table2 | table3 | figure6 .. figure9`.

Reading order: `tables` (what the paper reports, and each row as settings), `recipes` (the paper's training, and a quick
one), `data` (which data to train and to test on), `ground` (both as a column stands on them), `plan` (which runs and
test episodes the table's cells need), `work` (makes what is missing, alone or shared among processes), `outcome`
(accuracies and paired differences), `report` and `repeat` (the table beside the paper's), `tested`, `failures` and
`pictures` (the figures).
"""
