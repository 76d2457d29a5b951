"""The methods, one a file; METHODS is the dict of all of them, by the name used in `model.method`."""

from fsar_cli.core.methods.base import FewShotMethod
from fsar_cli.core.methods.keyregion import KeyRegion
from fsar_cli.core.methods.prototype import Prototype
from fsar_cli.core.methods.trx import TRX

METHODS: dict[str, type[FewShotMethod]] = {"keyregion": KeyRegion, "prototype": Prototype, "trx": TRX}
