"""Evaluates any model's features or distances under one protocol, with the code training uses.

F.npz: ``paths`` (N,), relative paths in the dataset's layout, ``features`` (N, D), and optionally
``test_ids``. D.npz: ``dist`` (Q, G), ``q_pids``, ``g_pids``, ``q_cams``, ``g_cams``: one trial.

    python tools/evaluate_features.py --protocol llcm_ir2vis --features F.npz --out results.json
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from wrimnet.command_line import add_plugin_option, load_plugins, make_parser, parse, run_tool
from wrimnet.data.protocols import find_protocol
from wrimnet.evaluation.features import evaluate_distances, evaluate_features, load_features
from wrimnet.evaluation.galleries import DRAWS, OfficialPermutations
from wrimnet.evaluation.provenance import describe_code, file_sha256
from wrimnet.evaluation.results import EvaluationReport, ProtocolResult
from wrimnet.evaluation.scoring import Scoring
from wrimnet.run_folder import write_json


def parse_arguments() -> Any:
    """Reads the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--protocol", required=True, help="such as llcm_ir2vis")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--features", metavar="F.npz")
    source.add_argument("--distances", metavar="D.npz")
    parser.add_argument("--draw", choices=DRAWS, help="SYSU-MM01's gallery draw; default agw")
    parser.add_argument("--perm-file", help="rand_perm_cam.mat, for --draw official")
    parser.add_argument("--num-trials", type=int, default=10, help="gallery draws")
    parser.add_argument("--normalize", action="store_true", help="scale features to unit length")
    parser.add_argument("--unique-ids", action="store_true", help="RegDB: CMC on identities")
    parser.add_argument("--memory-gb", type=float, default=4.0, help="largest similarity block")
    parser.add_argument("--out", required=True, metavar="results.json")
    add_plugin_option(parser)
    return parse(parser)


def evaluate(arguments: Any) -> ProtocolResult:
    """Runs the protocol that the command line asks for."""
    protocol = find_protocol(arguments.protocol)
    if arguments.unique_ids:
        protocol = replace(protocol, unique_ids=True)
    official = arguments.draw == "official"
    if official != bool(arguments.perm_file):
        raise ValueError("--draw official and --perm-file rand_perm_cam.mat belong together")
    if arguments.distances:
        if arguments.draw or arguments.normalize:
            raise ValueError("--draw and --normalize concern features; distances are used as given")
        return evaluate_distances(arguments.distances, protocol)
    items, features = load_features(arguments.features, protocol.dataset)
    return evaluate_features(
        items,
        features,
        protocol,
        draw=arguments.draw or "agw",
        permutations=OfficialPermutations.load(arguments.perm_file) if official else None,
        num_trials=arguments.num_trials,
        normalize=arguments.normalize,
        scoring=Scoring(memory_gb=arguments.memory_gb),
    )


def main() -> int:
    """Evaluates, prints the table and the result line, writes the result file."""
    arguments = parse_arguments()
    load_plugins(arguments.plugin)
    result = evaluate(arguments)
    source = arguments.features or arguments.distances
    description = {
        "dataset": result.protocol.dataset,
        "source": {"path": source, "sha256": file_sha256(source)},
        "normalized": arguments.normalize,
        "code": describe_code(),
    }
    content = {**result.numbers(), "description": {**result.describe(), **description}}
    Path(arguments.out).parent.mkdir(parents=True, exist_ok=True)
    write_json(Path(arguments.out), content)
    report = EvaluationReport(description, [result])
    print(report.markdown(), *report.lines(), sep="\n")
    return 0


if __name__ == "__main__":
    run_tool(main)
