"""Measures time and peak memory of clustering random embeddings of people with 50 images each.

python -m examples.unsupervised.measure_clustering 20000
"""

import resource
import sys
import time

import torch
from torch.nn import functional as F

from examples.unsupervised.clustering import cluster_images

DIMENSIONS, IMAGES_PER_PERSON, SPREAD = 2048, 50, 1.0


def main() -> None:
    """Prints what was found, the seconds, and the largest resident memory of the process."""
    count = int(sys.argv[1])
    torch.manual_seed(0)
    centers = F.normalize(torch.randn(-(-count // IMAGES_PER_PERSON), DIMENSIONS), dim=1)
    embeddings = centers.repeat_interleave(IMAGES_PER_PERSON, dim=0)[:count]
    embeddings += SPREAD * F.normalize(torch.randn(count, DIMENSIONS), dim=1)
    started = time.perf_counter()
    labels = cluster_images(F.normalize(embeddings, dim=1), k1=30, k2=6, eps=0.6, min_samples=4)
    seconds = time.perf_counter() - started
    gigabytes = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9
    print(
        f"{count} images: {labels.max() + 1} clusters, {(labels < 0).sum()} outliers, "
        f"{seconds:.0f} s, peak {gigabytes:.2f} GB"
    )


if __name__ == "__main__":
    main()
