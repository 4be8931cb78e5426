"""The file of every query's values: its means are the results, its lists are those of sorting."""

import csv

import numpy as np
import pytest
from drawn_items import embed, llcm_items

import wrimnet.plugin  # noqa: F401  registers the datasets
from wrimnet.data.protocols import find_protocol
from wrimnet.evaluation.galleries import build_trials
from wrimnet.evaluation.query_values import QueryValues
from wrimnet.evaluation.results import EvaluationReport, ProtocolResult
from wrimnet.evaluation.scoring import QueryExpansion, Reranking, Scoring, rank_trials
from wrimnet.metrics.ranking import summarize_scores
from wrimnet.run_folder import query_file

METRICS = ("Rank-1", "Rank-5", "mAP", "mINP", "FirstTier")
COLUMNS = {"mAP": "AP", "mINP": "INP"}


def first_tier(matches, num_relevant):
    return matches[:num_relevant].mean()


def written(folder, name, scoring, items):
    """The rows of the file, and the trials' metrics."""
    protocol, registered = find_protocol(name), {"FirstTier": first_tier}
    trials = build_trials(protocol, items, num_trials=2)
    options = {"metrics": registered, "num_nearest": 10}
    embeddings = embed(items)
    ranked = rank_trials(embeddings, items, trials, protocol, scoring, **options)
    found = [summarize_scores(scores, registered) for scores in ranked]
    values = QueryValues(items, trials, ranked, ("FirstTier",))
    result = ProtocolResult(protocol, "agw", ("global",), True, found, METRICS, values)
    EvaluationReport({"metrics": METRICS}, [result]).write(folder)
    with open(query_file(folder, name), newline="") as file:
        return list(csv.DictReader(file)), result, trials, embeddings


WAYS = {
    "plain": Scoring(),
    "one row at a time": Scoring(memory_gb=1e-8),
    "re-ranked": Scoring(reranking=Reranking(k1=8, k2=3, original_weight=0.3)),
    "expanded": Scoring(expansion=QueryExpansion(neighbors=4, alpha=2.0, rounds=1)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["llcm_ir2vis", "llcm_vis2ir_swapped"])
def test_means_of_the_columns_are_the_results_of_each_trial(tmp_path, name, way):
    rows, result, trials, _ = written(tmp_path, name, WAYS[way], llcm_items())
    assert len(rows) == sum(len(trial.query_rows) for trial in trials)
    for number, trial in enumerate(result.entry()["trials"]):
        own = [row for row in rows if row["trial"] == str(number)]
        for metric in METRICS:
            values = [float(row[COLUMNS.get(metric, metric)]) for row in own if row["first_match"]]
            rank = metric.removeprefix("Rank-")
            expected = trial["cmc"][int(rank) - 1] if rank.isdigit() else trial[metric]
            assert np.mean(values) == pytest.approx(expected, rel=1e-6)


def test_rows_name_the_query_and_its_nearest_images(tmp_path):
    items = llcm_items()
    rows, _, (trial, _), embeddings = written(tmp_path, "llcm_ir2vis", Scoring(), items)
    for row, query in zip(rows, trial.query_rows, strict=False):
        item = items[query]
        labels = (row["query"], int(row["identity"]), int(row["camera"]))
        assert labels == (item.relpath, item.pid, item.camid)
        order = trial.gallery_rows[np.argsort(-embeddings[trial.gallery_rows] @ embeddings[query])]
        seen = [g for g in order if (items[g].pid, items[g].camid) != (item.pid, item.camid)]
        found = [row[f"nearest_{rank}"] for rank in range(1, 11)]
        assert found == ([items[g].relpath for g in seen] + [""] * 10)[:10]
        right = [items[g].pid == item.pid for g in seen]
        assert int(row["matches"]) == sum(right)
    assert not any(row["nearest_1"] for row in rows if row["trial"] == "1")


def test_a_query_without_a_match_has_no_values(tmp_path):
    items = [item for item in llcm_items() if item.modality == 1 or item.pid != 3]
    rows, result, _, _ = written(tmp_path, "llcm_ir2vis", Scoring(), items)
    unmatched = [row for row in rows if row["matches"] == "0"]
    assert {row["identity"] for row in unmatched} == {"3"}
    assert len(unmatched) == sum(trial.num_skipped for trial in result.trials) > 0
    assert all(row[name] == "" for row in unmatched for name in ("first_match", "AP", "Rank-1"))
    assert all(row["nearest_1"] for row in unmatched if row["trial"] == "0")
