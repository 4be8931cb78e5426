"""Items without files and embeddings that tell their identities apart."""

import numpy as np

from wrimnet.data.images import ImageItem


def llcm_items(num_ids=12, cameras=(1, 2, 4), per_camera=3):
    return [
        ImageItem("", pid, camid, modality, f"test_{modality}/cam{camid}/{pid:04d}/{number}.jpg")
        for modality in (0, 1)
        for pid in range(1, num_ids + 1)
        for camid in cameras
        for number in range(per_camera)
    ]


def embed(items, dimensions=16, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((100, dimensions))
    rows = centers[[item.pid for item in items]] + noise * rng.standard_normal(
        (len(items), dimensions)
    )
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
