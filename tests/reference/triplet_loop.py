"""Batch-hard triplet loss, one anchor and one pair at a time."""

import torch


def triplet_loop(embeddings, pids, *, margin):
    losses = []
    for i in range(len(pids)):
        positive, negative = [], []
        for j in range(len(pids)):
            distance = ((embeddings[i] - embeddings[j]) ** 2).sum().sqrt()
            if pids[j] != pids[i]:
                negative.append(distance)
            elif j != i:
                positive.append(distance)
        d_p = max(positive, key=torch.Tensor.item)
        d_n = min(negative, key=torch.Tensor.item)
        losses.append(torch.clamp(d_p - d_n + margin, min=0))
    return torch.stack(losses).mean()
