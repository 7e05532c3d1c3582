"""What each slot of a set-valued embedding means, and each dimension: scores, what chance gives, intervals.

Arrays in, dicts out. Start with :func:`slot_scores`, and :func:`counterfactual_scores` where pairs of items differ in
one factor; the metrics of single dimensions are in modules of their names. Slot index, stability and collapse are in
:mod:`m2l2_mir.disentangle.identity`, decoder swaps in :mod:`m2l2_mir.disentangle.intervention`, and what the command
``m2l2 disentangle`` adds in :mod:`m2l2_mir.disentangle.run`.
"""

from m2l2_mir.disentangle.counterfactual import counterfactual_scores
from m2l2_mir.disentangle.dci import dci
from m2l2_mir.disentangle.dci_es import dci_es
from m2l2_mir.disentangle.equivariance import equivariance
from m2l2_mir.disentangle.factor_vae import factor_vae
from m2l2_mir.disentangle.factors import Factor
from m2l2_mir.disentangle.generalisation import unseen_combinations
from m2l2_mir.disentangle.identity import match_slots
from m2l2_mir.disentangle.infomec import infomec
from m2l2_mir.disentangle.irs import irs
from m2l2_mir.disentangle.mig import mig
from m2l2_mir.disentangle.modularity import modularity_explicitness
from m2l2_mir.disentangle.nulls import CLASSIC_NULLS, NULLS, Nulls
from m2l2_mir.disentangle.sap import sap
from m2l2_mir.disentangle.slots import slot_scores

__all__ = [
    "CLASSIC_NULLS",
    "NULLS",
    "Factor",
    "Nulls",
    "counterfactual_scores",
    "dci",
    "dci_es",
    "equivariance",
    "factor_vae",
    "infomec",
    "irs",
    "match_slots",
    "mig",
    "modularity_explicitness",
    "sap",
    "slot_scores",
    "unseen_combinations",
]
