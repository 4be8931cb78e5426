"""A custom metric: how much of the query's identity comes first."""

from wrimnet.registries import METRIC_REGISTRY


@METRIC_REGISTRY.register()
def FirstTier(matches, num_relevant):
    """Share of right images among the first n, n of them being in the gallery."""
    return matches[:num_relevant].mean()
