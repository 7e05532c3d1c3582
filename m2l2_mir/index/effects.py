"""What steering changed, as probes and labels see it.

Conventions
-----------
* What a probe has steered by, it cannot judge: that tracks predicted as jazz were sought and found is no news. So it is
  told by what each line is measured: ``labels``, a column of the library's metadata with the attribute's name, which
  steering has not seen, unless its probe was fitted on these very tracks; ``probe``, of an attribute without a wish;
  ``the same probe``, which only shows how far steering went; and ``by construction``, where results were left out by
  what they were predicted as.
* Beside the results stands what the same measure gives for the library as a whole: what random results would have.
* Numbers are medians, classes are shares; ``results`` is how many they are of, and with ten a share moves by .1 steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir.index.attributes import LESS, MORE, Attribute, predictions_of

if TYPE_CHECKING:
    from m2l2_mir.index.similarity import SimilarityIndex

__all__ = ["effects_of"]

COLUMNS = ("attribute", "wish", "measured by", "measure", "question", "library", "before", "after", "results")


def effects_of(
    index: SimilarityIndex,
    attributes: Sequence[Attribute],
    centre: NDArray[np.float32],
    asked: NDArray[np.int64],
    compared: tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]],
    wishes: Mapping[str, str],
    targets: Mapping[str, Any],
) -> pd.DataFrame:
    """Measure the question, and results without and with steering.

    Parameters
    ----------
    index : SimilarityIndex
    attributes : sequence of Attribute
    centre : np.ndarray [shape=(1, width)]
        The question.
    asked : np.ndarray
        Rows of the library that it consists of.
    compared : tuple
        Embeddings of random tracks of the library, rows of the results before, and after.
    wishes, targets : mapping
        Attribute -> what was wished, and the class or number that it was moved to.

    Returns
    -------
    pd.DataFrame
        A line for each attribute, and one more where the library has labels: ``attribute``, ``wish``, ``measured by``,
        ``measure``, ``question``, ``library``, ``before``, ``after`` and ``results``.
    """
    sample, *rows = compared
    frame, live = index.library.frame, index.library.live
    lines = []
    for attribute in attributes:
        name, wish = attribute.name, wishes.get(attribute.name, "")
        by = "probe" if not wish else "by construction" if wish in ("other", *MORE, *LESS) else "the same probe"
        mine = predictions_of(index, attribute, centre)[0]
        predicted = [predictions_of(index, attribute, index.library.rows.take(found)) for found in rows]
        whole = predictions_of(index, attribute, sample)
        lines.append([name, wish, by, *_measured(mine, targets.get(name, mine), whole, *predicted)])
        if name in frame:
            labels = frame[name]
            own = labels.iloc[asked[:1]].dropna().tolist() if len(asked) == len(centre) == 1 else []
            told = [labels.iloc[found].dropna().to_numpy() for found in (live, *rows)]
            numeric = pd.api.types.is_numeric_dtype(labels)
            target = targets[name] if name in targets and not numeric else own[0] if own else None
            if len(told[0]) and (numeric or target is not None):
                mine = own[0] if own else np.nan if numeric else ""
                lines.append([name, wish, "labels", *_measured(mine, target, *told, numeric=numeric)])
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _measured(
    mine: Any,
    target: Any,
    whole: NDArray[Any],
    before: NDArray[Any],
    after: NDArray[Any],
    *,
    numeric: bool | None = None,
) -> list[Any]:
    """Measure, question, library, before, after and number of results."""
    if numeric is None:
        numeric = bool(np.issubdtype(np.asarray(mine).dtype, np.number))

    def of(values: NDArray[Any]) -> float:
        if not len(values):
            return float("nan")
        return float(np.median(values) if numeric else np.mean(values.astype(str) == str(target)))

    measure = "median" if numeric else f"share that is {target}"
    question = mine.item() if isinstance(mine, np.generic) else mine
    return [measure, question, of(whole), of(before), of(after), len(after)]
