"""How fast fsar is on this machine, each figure beside that of a plain form measured in the same run: `make bench`.

Reading order: `report` (one figure, the table, the picture), `timing` (seconds, arithmetic and memory), `testset` and
`workbench` (on what), then one question a section: `frames` (extract, read), `networks` (encode, head), `training`,
`evaluation` (evaluate, scaling). What is compared with lies in `oracles`: the same numbers, computed as is customary.
"""

import os

# As the command line does, before torch loads: threads that wait for work sleep, as loaders share the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
