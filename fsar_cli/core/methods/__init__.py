"""The methods, one a file; METHODS is the dict of all of them, by the name used in `model.method`.

A new method is its file and a line here: `fsar guide adding-a-method`.
"""

from fsar_cli.core.method import FewShotMethod
from fsar_cli.core.methods.arn import ARN
from fsar_cli.core.methods.ata import ATA
from fsar_cli.core.methods.bimacl import BiMACL
from fsar_cli.core.methods.bimhm import BiMHM
from fsar_cli.core.methods.hyrsm import HyRSM
from fsar_cli.core.methods.keyregion import KeyRegion
from fsar_cli.core.methods.molo import MoLo
from fsar_cli.core.methods.otam import OTAM
from fsar_cli.core.methods.prototype import Prototype
from fsar_cli.core.methods.sloshnet import SloshNet
from fsar_cli.core.methods.strm import STRM
from fsar_cli.core.methods.trx import TRX
from fsar_cli.core.methods.tsn import TSN

METHODS: dict[str, type[FewShotMethod]] = {
    "keyregion": KeyRegion,
    "trx": TRX,
    "otam": OTAM,
    "bimhm": BiMHM,
    "strm": STRM,
    "bimacl": BiMACL,
    "ata": ATA,
    "hyrsm": HyRSM,
    "molo": MoLo,
    "sloshnet": SloshNet,
    "arn": ARN,
    "tsn": TSN,
    "prototype": Prototype,
}
