"""From what was downloaded to a class/video tree.

Reading order: `searching` (what lies in the given paths), `archives` (which files are archives, and of which kind),
`members`, `tools`, `programs` and `rar` (what is inside one), `unpacking` (written out safely), `workshop` (what was
unpacked and where, so that a stopped run goes on), `rules` and a module a data set (the class of a video),
`arranging` (into place).
"""

from fsar_cli.tools.prepare.hmdb51 import HMDB51
from fsar_cli.tools.prepare.kinetics import Kinetics
from fsar_cli.tools.prepare.rules import Rules
from fsar_cli.tools.prepare.ucf101 import UCF101
from fsar_cli.tools.prepare.ucf_crime import UCFCrime

DATASETS: dict[str, type[Rules]] = {rules.name: rules for rules in (HMDB51, UCF101, Kinetics, UCFCrime)}
"""The rules of each data set by its name on the command line."""
