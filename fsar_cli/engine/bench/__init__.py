"""`fsar bench`: how fast fsar is on this machine, each figure beside that of a plain form measured in the same run.

Reading order: `measurement` (one figure and what it is compared to), `timing` and `ceiling` (how seconds, arithmetic
and memory are measured), `plain` and `plain_frames` (what is compared to: the same numbers computed as is customary),
`sizes` and `testset` (on what), `workbench` (what the sections share), `sections/` (one question a file), `run`,
`report`.
"""
