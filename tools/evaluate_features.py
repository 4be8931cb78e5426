"""Evaluates any model's features or distances under protocols, with the code training uses.

F.npz: ``paths`` (N,), relative paths in the dataset's layout, ``features`` (N, D), and optionally
``test_ids``. Several parts are ``features/NAME`` each; modalities may be separate, as
``visible/paths``, ``visible/features``, ``infrared/paths``, ``infrared/features``. Several files
are added with their weights, by similarity. The features of a run are written by ``export.py
features``. D.npz: ``dist`` (Q, G), ``q_pids``, ``g_pids``,
``q_cams``, ``g_cams``: one trial.

    python tools/evaluate_features.py --protocol llcm_ir2vis --features F.npz --out results.json
    python tools/evaluate_features.py --protocol llcm_ir2vis llcm_vis2ir --out results.json
        --features A.npz B.npz --weights 0.7 0.3 --rerank 20 6 0.3

Features do not say which images are in a protocol's query and gallery lists. A protocol with lists
therefore needs the dataset: --root FOLDER, the folder that contains the dataset's folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wrimnet.command_line import (
    add_plugin_option,
    called_as,
    kept_out_of_runs,
    load_plugins,
    make_parser,
    parse,
    run_tool,
)
from wrimnet.console import wrapped
from wrimnet.run_folder import write_json
from wrimnet.tables import Table, for_console

if TYPE_CHECKING:
    import numpy as np

    from wrimnet.data.images import ImageItem
    from wrimnet.data.protocols import Protocol
    from wrimnet.evaluation.results import ProtocolResult
    from wrimnet.evaluation.scoring import Scoring


def parse_arguments() -> Any:
    """Reads the command line."""
    from wrimnet.metrics.names import PRINTED

    parser = make_parser(__doc__)
    parser.add_argument(
        "--protocol",
        nargs="+",
        required=True,
        metavar="NAME",
        help="such as llcm_ir2vis; several of one dataset write a file like a run's results.json",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--features", nargs="+", metavar="F.npz", help="one file or several")
    source.add_argument("--distances", metavar="D.npz")
    root_help = "contains the dataset's folder; for protocols with query and gallery lists"
    parser.add_argument("--root", metavar="FOLDER", help=root_help)
    parser.add_argument(
        "--weights", nargs="+", type=float, help="weights of the files; default 1 each"
    )
    parser.add_argument("--draw", help="SYSU-MM01's galleries: agw (the default) or official")
    parser.add_argument("--perm-file", help="rand_perm_cam.mat, for --draw official")
    parser.add_argument(
        "--shots", type=int, help="images per identity and camera, with --draw official"
    )
    parser.add_argument("--num-trials", type=int, default=10, help="random galleries, trials")
    parser.add_argument("--normalize", action="store_true", help="L2-normalize features")
    parser.add_argument("--unique-ids", action="store_true", help="RegDB: CMC on identities")
    parser.add_argument("--metrics", nargs="+", default=PRINTED, help="metrics, as in TEST.METRICS")
    parser.add_argument("--rerank", nargs=3, metavar=("K1", "K2", "LAMBDA"), help="re-ranking")
    parser.add_argument(
        "--query-neighbors", action="store_true", help="re-ranking's neighbors are queries alone"
    )
    parser.add_argument("--aqe", nargs=3, metavar=("K", "ALPHA", "ROUNDS"), help="expansion")
    parser.add_argument("--memory-gb", type=float, default=4.0, help="largest similarity block")
    parser.add_argument("--out", required=True, type=result_file, metavar="results.json")
    add_plugin_option(parser)
    return parse(parser)


def result_file(word: str) -> Path:
    """Reads --out, whose folder is made."""
    return kept_out_of_runs(Path(word))


def asked_protocols(arguments: Any) -> list[Protocol]:
    """Returns the protocols, all of one dataset, with the options that change them."""
    from wrimnet.data.protocols import dataset_protocols, find_protocol
    from wrimnet.registries import find_dataset

    dataset = find_dataset(find_protocol(arguments.protocol[0]).dataset)
    protocols = dataset_protocols(dataset, tuple(arguments.protocol))
    return [asked_protocol(protocol, arguments) for protocol in protocols]


def asked_protocol(protocol: Protocol, arguments: Any) -> Protocol:
    """Returns a protocol with the options that change it."""
    if arguments.unique_ids:
        protocol = replace(protocol, unique_ids=True)
    if arguments.shots is None:
        return protocol
    if arguments.draw != "official" or arguments.shots < 1:
        raise ValueError(f"--shots {arguments.shots}: expected at least 1, with --draw official")
    return replace(protocol, shots=arguments.shots)


def numbers(flag: str, words: Sequence[str], kinds: Sequence[type]) -> list[Any]:
    """Reads the three values of a flag, two of them whole numbers."""
    try:
        return [kind(word) for kind, word in zip(kinds, words, strict=True)]
    except ValueError:
        raise ValueError(
            f"{flag} {' '.join(words)}: expected two whole numbers and a number, as --help has them"
        ) from None


def asked_scoring(arguments: Any) -> Scoring:
    """Returns the options of the similarities."""
    from wrimnet.evaluation.scoring import QueryExpansion, Reranking, Scoring

    expansion, reranking = None, None
    if arguments.aqe:
        k, alpha, rounds = numbers("--aqe", arguments.aqe, (int, float, int))
        expansion = QueryExpansion(neighbors=k, alpha=alpha, rounds=rounds)
    if arguments.rerank:
        k1, k2, weight = numbers("--rerank", arguments.rerank, (int, int, float))
        near = not arguments.query_neighbors
        reranking = Reranking(k1=k1, k2=k2, original_weight=weight, gallery_neighbors=near)
    elif arguments.query_neighbors:
        raise ValueError("--query-neighbors concerns --rerank; give both or neither")
    return Scoring(memory_gb=arguments.memory_gb, expansion=expansion, reranking=reranking)


def evaluate(arguments: Any, scoring: Scoring) -> list[ProtocolResult]:
    """Runs the protocols that the command line asks for: first the whole feature, then its parts.

    Of several protocols, each on the whole comes before any part alone.
    """
    from wrimnet.evaluation.features import evaluate_distances

    protocols, official = asked_protocols(arguments), arguments.draw == "official"
    if official != bool(arguments.perm_file):
        raise ValueError("--draw official and --perm-file rand_perm_cam.mat belong together")
    if arguments.distances:
        if arguments.draw or arguments.normalize or arguments.weights:
            raise ValueError("--draw and --normalize concern features; distances are used as given")
        if arguments.rerank or arguments.aqe:
            raise ValueError("--rerank and --aqe need the distances of all images: give --features")
        if len(protocols) > 1:
            raise ValueError("--distances are of one gallery: give one --protocol")
        return [evaluate_distances(arguments.distances, protocols[0], arguments.metrics)]
    check_root(protocols, arguments)
    sets = read_sets(arguments, protocols[0].dataset)
    results = [r for protocol in protocols for r in score_sets(arguments, protocol, scoring, *sets)]
    return sorted(results, key=lambda result: not result.whole)


def check_root(protocols: Sequence[Protocol], arguments: Any) -> None:
    """Raises ValueError for a protocol with lists and no --root, where they are read."""
    from wrimnet.registries import find_dataset

    for protocol in protocols:
        if (protocol.query_list or protocol.gallery_list) and not arguments.root:
            folder = find_dataset(protocol.dataset).folder_name
            raise ValueError(
                f"--root is missing: {protocol.name} has query and gallery lists, which features "
                f"do not hold; give the folder that contains {folder}: {called_as()} --root FOLDER"
            )


def score_sets(
    arguments: Any,
    protocol: Protocol,
    scoring: Scoring,
    names: list[str],
    sets: list,
    weights: list[float],
) -> list[ProtocolResult]:
    """Runs a protocol on the weighted sum of feature sets, then on each set alone."""
    from wrimnet.evaluation.features import evaluate_features
    from wrimnet.evaluation.galleries import OfficialPermutations

    groups = [(tuple(names), sets, weights)]
    if len(names) > 1:
        groups += [((name,), [one], [1.0]) for name, one in zip(names, sets, strict=True)]
    permutations = OfficialPermutations.load(arguments.perm_file) if arguments.perm_file else None
    results = []
    for parts, chosen, chosen_weights in groups:
        single = len(chosen) == 1 and chosen_weights == [1.0]
        features = chosen[0][1] if single else weighted_sum(chosen, chosen_weights)
        result = evaluate_features(
            chosen[0][0],
            features,
            protocol,
            draw=arguments.draw or "agw",
            permutations=permutations,
            num_trials=arguments.num_trials,
            scoring=scoring,
            metrics=arguments.metrics,
        )
        results.append(replace(result, parts=parts, whole=len(parts) == len(names)))
    return results


def read_sets(arguments: Any, dataset: str) -> tuple[list[str], list, list[float]]:
    """Returns name, images with features, and weight of every part of every file."""
    from wrimnet.evaluation.features import load_features, take_lists, unit_length

    given = arguments.weights or [1.0] * len(arguments.features)
    if len(given) != len(arguments.features):
        raise ValueError(f"--weights {given}: expected one for each of {arguments.features}")
    names, sets, weights = [], [], []
    for path, weight in zip(arguments.features, given, strict=True):
        items, parts = load_features(path, dataset)
        if arguments.root:
            items = take_lists(items, dataset, arguments.root)
        for name, part in parts.items():
            sets.append((items, unit_length(part, items) if arguments.normalize else part))
            names.append(name if len(arguments.features) == 1 else f"{Path(path).stem}:{name}")
            weights.append(weight)
    return names, sets, weights


def weighted_sum(
    sets: Sequence[tuple[Sequence[ImageItem], np.ndarray]], weights: Sequence[float]
) -> np.ndarray:
    """Joins feature sets (N, D_k) of the same images to one, (N, sum of D_k) float64.

    Its dot products are the weighted sums of the sets' own; rows are in the order of the first set.

    Raises:
        ValueError: a weight is not above 0, their number is another, or images differ.
    """
    import numpy as np

    if len(weights) != len(sets) or not all(weight > 0 for weight in weights):
        raise ValueError(f"--weights {list(weights)}: expected {len(sets)} numbers above 0")
    relpaths, joined = [item.relpath for item in sets[0][0]], []
    for (items, features), weight in zip(sets, weights, strict=True):
        row_of = {item.relpath: row for row, item in enumerate(items)}
        if row_of.keys() != set(relpaths):
            path = sorted(row_of.keys() ^ set(relpaths))[0]
            raise ValueError(f"{path!r} is in one feature set and not in another; give the same")
        joined.append(np.sqrt(weight) * features[[row_of[path] for path in relpaths]])
    return np.concatenate(joined, axis=1, dtype=np.float64)


def table_of_parts(alone: Sequence[ProtocolResult]) -> Table:
    """Each part of the embedding by itself."""
    rows = [
        (
            "+".join(result.parts),
            result.protocol.name,
            *(f"{100 * value:.2f}" for value in result.mean().values()),
        )
        for result in alone
    ]
    return Table("parts alone, percent", ("part", "protocol", *alone[0].metrics), tuple(rows))


def content_of(results: Sequence[ProtocolResult], description: dict[str, Any]) -> dict[str, Any]:
    """Returns what the result file holds: of several protocols what a run's results.json does."""
    from wrimnet.evaluation.results import EvaluationReport

    whole, *alone = results
    if len({result.protocol.name for result in results}) > 1:
        split = {"split": "trainval"}  # of features; those of training images are refused
        return EvaluationReport(description | split, list(results)).content()
    content = {**whole.numbers(), "description": {**whole.describe(), **description}}
    if alone:
        content["parts"] = {"+".join(result.parts): result.numbers() for result in alone}
    return content


def main() -> int:
    """Evaluates, prints the table and the result lines, writes the result file."""
    arguments = parse_arguments()

    from wrimnet.evaluation.provenance import describe_code, file_sha256
    from wrimnet.evaluation.results import EvaluationReport, describe_metrics
    from wrimnet.registries import find_metrics

    if arguments.out.is_dir():
        raise ValueError(f"--out {arguments.out} is a folder; give a file to be written")
    load_plugins(arguments.plugin)
    find_metrics(arguments.metrics, "--metrics")
    scoring = asked_scoring(arguments)
    results = evaluate(arguments, scoring)
    sources = arguments.features or [arguments.distances]
    described = [{"path": source, "sha256": file_sha256(source)} for source in sources]
    description = {
        "dataset": results[0].protocol.dataset,
        "source": described[0] if len(described) == 1 else described,
        "source_weights": arguments.weights,  # "weights" are a network's
        "normalized": arguments.normalize,
        **describe_metrics(arguments.metrics),
        **scoring.describe(),
        "code": describe_code(),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out, content_of(results, description))
    report = EvaluationReport(description, results)
    print("\n".join([report.summary(), *wrapped(report.measured())]))
    alone = [result for result in results if not result.whole]
    if alone:
        print(for_console(table_of_parts(alone)))
    print(f"written: {arguments.out}")
    return 0


if __name__ == "__main__":
    run_tool(main)
