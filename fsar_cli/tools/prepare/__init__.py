"""From what was downloaded to a class/video tree.

Reading order: `preparing` (the whole way), `searching` (what lies in the given paths), `datasets` (a video's class),
`archives` (what is inside one), `unpacking` (written out safely), `staging` (what was unpacked and where, so that a
stopped run goes on), `arranging` (into place).
"""
