"""CMKIC as the equation reads: one anchor, one positive, one candidate at a time."""

import torch
from torch import Tensor

from wrimnet.modality import INFRARED, VISIBLE


def cmkic_loop(embeddings, pids, modality, *, top_k, temperature, reduction="mean"):
    """L_VI + L_IV; gradients flow as in the definition."""
    directions = []
    for anchors in (VISIBLE, INFRARED):
        losses = []
        for i in range(len(pids)):
            if int(modality[i]) == anchors:
                labels = pids.tolist(), modality.tolist()
                losses.append(_anchor(i, embeddings, *labels, top_k, temperature))
        total = sum(losses)
        directions.append(total / len(losses) if reduction == "mean" else total)
    return directions[0] + directions[1]


def _anchor(i, z, pids, modality, top_k, temperature) -> Tensor:
    others = [j for j in range(len(pids)) if modality[j] != modality[i]]
    negatives = [j for j in others if pids[j] != pids[i]]
    positives = [j for j in others if pids[j] == pids[i]]
    similarity = {j: (z[i] * z[j]).sum() for j in others}
    key = sorted(positives, key=lambda j: (similarity[j].item(), j))[:top_k]
    denominator = sum(torch.exp(similarity[a] / temperature) for a in negatives + key)
    loss = torch.zeros((), dtype=z.dtype)
    for p in key:
        loss = loss - torch.log(torch.exp(similarity[p] / temperature) / denominator) / len(key)
    return loss


def supervised_contrastive_loop(embeddings, pids, modality, *, temperature):
    """Khosla et al. 2020, L_out over the cross-modality pairs only, each direction averaged."""
    directions = []
    for anchors in (VISIBLE, INFRARED):
        losses = []
        for i in (modality == anchors).nonzero().flatten().tolist():
            others = (modality != anchors).nonzero().flatten().tolist()
            logits = torch.stack([embeddings[i] @ embeddings[a] / temperature for a in others])
            log_probability = torch.log_softmax(logits, dim=0)
            same = torch.tensor([bool(pids[a] == pids[i]) for a in others])
            losses.append(-log_probability[same].mean())
        directions.append(torch.stack(losses).mean())
    return directions[0] + directions[1]
