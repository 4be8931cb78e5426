r"""Tunes two loss weights with Optuna on held-out identities; the test set is not used.

    python examples/optuna_search.py configs/LLCM/wrim.yml --trials 30 --out logs/search \
        DATASETS.ROOT /data/reid SOLVER.MAX_EPOCH 40 TEST.EVAL_PERIOD 5

Every evaluation reports the mAP; a trial that is worse than the median of the others ends early.
The same call goes on with its study: it trains what is left of --trials, and first goes on with the
trial that was interrupted. One process at a time works on a study.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from statistics import fmean

import wrimnet

try:
    import optuna
except ModuleNotFoundError:
    sys.exit("examples/optuna_search.py needs Optuna; install it with pip install -e '.[tune]'")

from optuna.trial import TrialState

RANGES = {"MODEL.WRIM.CMKIC.WEIGHT": (0.1, 1.0), "MODEL.WRIM.AUXILIARY.WEIGHT": (0.01, 0.5)}


def train_trial(trial: optuna.Trial, config: str, options: list[str], out: Path) -> float:
    """Trains with the weights that a trial proposes; returns the mAP of its last evaluation."""
    weights = [(key, trial.suggest_float(key, *span, log=True)) for key, span in RANGES.items()]
    folder = out / trial.user_attrs.get("folder", f"trial{trial.number}")
    overrides = [*sum(weights, ()), "DATASETS.SPLIT", "train", "OUTPUT_DIR", folder]
    cfg = wrimnet.setup_cfg(config, options=[*options, *map(str, overrides)])

    def report(epoch: int, metrics: dict[str, dict[str, float]]) -> None:
        trial.report(mean_map(metrics), epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    return mean_map(wrimnet.train(cfg, resume=folder.exists(), on_evaluation=report))


def mean_map(metrics: dict[str, dict[str, float]]) -> float:
    """Returns the mAP in percent, mean over the protocols."""
    return fmean(result["mAP"] for result in metrics.values())


def repeat_interrupted(study: optuna.Study) -> None:
    """Lets the next trials go on where an earlier call was interrupted."""
    for trial in study.get_trials(states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)
        folder = trial.user_attrs.get("folder", f"trial{trial.number}")
        study.enqueue_trial(trial.params, user_attrs={"folder": folder})


def main() -> None:
    """Goes on with the study of a folder; prints its best trial."""
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("config")
    parser.add_argument("options", nargs="*", metavar="KEY VALUE")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("logs/search"))
    args = parser.parse_intermixed_args()
    args.out.mkdir(parents=True, exist_ok=True)
    storage = f"sqlite:///{args.out / 'study.db'}"
    study = optuna.create_study(
        storage=storage, study_name="search", direction="maximize", load_if_exists=True
    )
    repeat_interrupted(study)
    ended = study.get_trials(states=[TrialState.COMPLETE, TrialState.PRUNED])
    call = partial(train_trial, config=args.config, options=args.options, out=args.out)
    study.optimize(call, n_trials=max(0, args.trials - len(ended)))
    for best in study.best_trials[:1]:  # none where every trial was pruned
        print(
            f"best: trial {best.number}, mAP {best.value:.2f} on held-out identities, {best.params}"
        )


if __name__ == "__main__":
    main()
