"""What each slot of a set-valued embedding means, and each dimension: scores, what chance gives, intervals.

Arrays in, dicts out. Start with :func:`slot_scores`; the metrics of single dimensions are in modules of their names.
"""

from m2l2_mir.disentangle.dci import dci
from m2l2_mir.disentangle.dci_es import dci_es
from m2l2_mir.disentangle.factor_vae import factor_vae
from m2l2_mir.disentangle.factors import Factor
from m2l2_mir.disentangle.infomec import infomec
from m2l2_mir.disentangle.irs import irs
from m2l2_mir.disentangle.mig import mig
from m2l2_mir.disentangle.modularity import modularity_explicitness
from m2l2_mir.disentangle.nulls import CLASSIC_NULLS, NULLS, QUICK_NULLS, Nulls
from m2l2_mir.disentangle.sap import sap
from m2l2_mir.disentangle.slots import slot_scores

__all__ = [
    "CLASSIC_NULLS",
    "NULLS",
    "QUICK_NULLS",
    "Factor",
    "Nulls",
    "dci",
    "dci_es",
    "factor_vae",
    "infomec",
    "irs",
    "mig",
    "modularity_explicitness",
    "sap",
    "slot_scores",
]
