"""What each query of a protocol scored, as the rows of a file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wrimnet.data.images import ImageItem
from wrimnet.evaluation.galleries import Trial
from wrimnet.metrics.names import rank_of
from wrimnet.metrics.ranking import QueryScores

NUM_NEAREST = 10
LABEL_COLUMNS = ("trial", "query", "identity", "camera", "matches", "first_match")
NEAREST_COLUMNS = tuple(f"nearest_{rank}" for rank in range(1, NUM_NEAREST + 1))
_OF_ONE_QUERY = {"mAP": "AP", "mINP": "INP"}  # what the metric is the mean of
_OWN_FIELDS = {"mAP": "average_precision", "mINP": "inverse_negative_penalty"}


@dataclass(frozen=True)
class QueryValues:
    """The scores of each trial's queries and the images that they are of."""

    items: Sequence[ImageItem]
    trials: Sequence[Trial]
    scores: Sequence[QueryScores]  # of each trial
    registered: tuple[str, ...] = ()  # names of the registered metrics, in their order

    def rows(self, metrics: Sequence[str]) -> Iterator[list[Any]]:
        """Yields a header and one row per trial and query, metrics as fractions.

        Rank-k is 1 or 0, AP and INP are what mAP and mINP are the means of. A query without a match
        has no metrics: no mean contains it. The nearest images, by their path in the dataset's
        folder, are those of the first trial.
        """
        names = [_OF_ONE_QUERY.get(name, name) for name in metrics]
        yield [*LABEL_COLUMNS, *names, *NEAREST_COLUMNS]
        for number, (trial, scores) in enumerate(zip(self.trials, self.scores, strict=True)):
            columns = [self._column(scores, name).tolist() for name in metrics]
            nearest = scores.nearest if number == 0 else scores.nearest[:, :0]
            for query, row in enumerate(trial.query_rows.tolist()):
                item, first = self.items[row], int(scores.first_match[query])
                labels = [number, item.relpath, item.pid, item.camid]
                values = [column[query] if first else "" for column in columns]
                paths = self._paths(trial, nearest[query])
                yield [*labels, int(scores.num_matches[query]), first or "", *values, *paths]

    def _column(self, scores: QueryScores, metric: str) -> np.ndarray:
        """Values (Q,) of a metric."""
        rank = rank_of(metric)
        if rank is not None:
            return (scores.first_match <= rank).astype(np.int64)
        if metric in _OWN_FIELDS:
            return getattr(scores, _OWN_FIELDS[metric])
        return scores.registered[:, self.registered.index(metric)]

    def _paths(self, trial: Trial, nearest: np.ndarray) -> list[str]:
        """Paths of the nearest images, "" where there is no further one."""
        places = nearest[nearest >= 0]
        paths = [self.items[row].relpath for row in trial.gallery_rows[places]]
        return paths + [""] * (NUM_NEAREST - len(paths))
