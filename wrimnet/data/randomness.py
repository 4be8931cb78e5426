"""Random numbers with random access: nothing is carried from one iteration to the next.

A resumed run needs only its iteration number to draw what the uninterrupted run would have drawn.
"""

import zlib

import numpy as np


def generator(seed: int, stream: str, counter: int) -> np.random.Generator:
    """Makes the generator of one counter value of one named stream.

    Args:
        seed: The run's SEED, not negative.
        stream: Name of the use ("identities", "augmentation", ...); streams are independent.
        counter: Position in the stream, usually the iteration, not negative.

    Returns:
        A fresh generator; equal arguments give equal numbers on every machine.
    """
    key = (zlib.crc32(stream.encode()), counter)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))
