"""MIIM position by position, on images (B, C, H, W) and the weights of a given block."""

import math

import torch
from torch import Tensor

from wrimnet.layers import MIIM


def enter_literal(block: MIIM, images: Tensor) -> Tensor:
    """What enters SCC: each channel minus its mean, by its standard deviation."""
    norm, entering = block.entrance, torch.empty_like(images)
    if isinstance(norm, torch.nn.Identity):
        return images
    for channel in range(images.shape[1]):
        values = [value for image in images for value in image[channel].flatten()]
        mean = sum(values) / len(values)
        variance = sum((value - mean) ** 2 for value in values) / len(values)
        if not block.training:
            mean, variance = norm.running_mean[channel], norm.running_var[channel]
        entering[:, channel] = (images[:, channel] - mean) / torch.sqrt(variance + norm.eps)
    return entering


def compress_literal(block: MIIM, image: Tensor, stride: int, region_size: int):
    """F2 and F3 as lists of token vectors, and the grid (h, w)."""
    height, width = image.shape[1] // stride, image.shape[2] // stride
    weight, bias = block.compression.compress.weight, block.compression.compress.bias
    grid = {}
    for y in range(height):
        for x in range(width):
            window = image[:, y * stride : (y + 1) * stride, x * stride : (x + 1) * stride]
            grid[y, x] = torch.stack([(kernel * window).sum() for kernel in weight]) + bias
    regions = []
    for top in range(0, height, region_size):
        for left in range(0, width, region_size):
            members = [
                grid[y, x]
                for y in range(top, min(top + region_size, height))
                for x in range(left, min(left + region_size, width))
            ]
            regions.append(sum(members) / len(members))
    tokens = [grid[y, x] for y in range(height) for x in range(width)]
    norm = block.compression.norm
    normalized = [[layer_norm_literal(t, norm) for t in group] for group in (tokens, regions)]
    return normalized[0], normalized[1], (height, width)


def layer_norm_literal(token: Tensor, norm: torch.nn.LayerNorm) -> Tensor:
    mean = sum(token) / len(token)
    variance = sum((value - mean) ** 2 for value in token) / len(token)
    return (token - mean) / torch.sqrt(variance + norm.eps) * norm.weight + norm.bias


def interact_literal(block: MIIM, tokens, regions, num_heads: int):
    """F4: for each token and head a softmax over the regions."""
    gri = block.interaction
    length = len(tokens[0]) // num_heads
    interacted = []
    for token in tokens:
        heads = []
        for head in range(num_heads):
            part = slice(head * length, (head + 1) * length)
            query = (gri.query.weight @ token)[part]
            scores = [
                (query * (gri.key.weight @ region)[part]).sum() / math.sqrt(length)
                for region in regions
            ]
            exponentials = [torch.exp(score) for score in scores]
            values = [(gri.value.weight @ region)[part] for region in regions]
            weighted = [e * v for e, v in zip(exponentials, values, strict=True)]
            heads.append(sum(weighted) / sum(exponentials))
        interacted.append(gri.output.weight @ torch.cat(heads) + gri.output.bias)
    return interacted


def miim_literal(block: MIIM, images: Tensor, **settings) -> Tensor:
    entering = enter_literal(block, images)
    pairs = zip(images, entering, strict=True)
    return torch.stack([_one_image(block, image, inside, **settings) for image, inside in pairs])


def _one_image(block, image, entering, *, stride, region_size, num_heads, fusion) -> Tensor:
    tokens, regions, (height, width) = compress_literal(block, entering, stride, region_size)
    interacted = interact_literal(block, tokens, regions, num_heads)
    expand = block.restoration.expand
    out = torch.empty_like(image)
    for y in range(image.shape[1]):
        for x in range(image.shape[2]):
            row = math.floor(y * height / image.shape[1])
            column = math.floor(x * width / image.shape[2])
            f5 = expand.weight @ interacted[row * width + column] + expand.bias
            f0 = image[:, y, x]
            fused = {
                "sigmoid": f0 * (1 / (1 + torch.exp(-f5))),
                "multiply": f0 * f5,
                "add": f0 + f5,
            }
            out[:, y, x] = fused[fusion]
    return out
