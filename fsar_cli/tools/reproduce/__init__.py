"""The paper's tables and figures made anew, and a table of frozen backbones: `fsar reproduce table1 | table2 | table3 |
backbones | figure6 .. figure9`.

Reading order: `tables` (what the paper reports, and each row as settings), `backbones` (the rows of the table that is
not the paper's), `recipes` (the paper's training, and quick ones), `data` (which data to train and to test on),
`ground` (both as a column stands on them), `planned` and `plan` (which runs and test episodes the table's cells need),
`work` (makes what is missing, alone or shared among processes) and `cost` (of backbones), `outcome` (accuracies and
paired differences), `pages`, `report`, `backbone_report` and `repeat` (the tables as pages), `tested`, `failures` and
`pictures` (the figures).
"""
