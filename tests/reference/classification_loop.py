"""Partitioned classification in plain floats: softmax, logarithm, two averages."""

import math


def classification_loop(logits, targets, *, label_smoothing=0.0):
    part_losses = []
    for part in logits:
        image_losses = []
        for row, target in zip(part.tolist(), targets.tolist(), strict=True):
            total = sum(math.exp(value) for value in row)
            loss = 0.0
            for label, value in enumerate(row):
                wanted = label_smoothing / len(row)
                if label == target:
                    wanted += 1 - label_smoothing
                loss -= wanted * math.log(math.exp(value) / total)
            image_losses.append(loss)
        part_losses.append(sum(image_losses) / len(image_losses))
    return sum(part_losses) / len(part_losses)
