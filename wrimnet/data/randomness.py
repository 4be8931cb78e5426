"""Random numbers with random access: nothing is carried from one iteration to the next.

A resumed run needs only its iteration number to draw what the uninterrupted run would have drawn.
"""

import zlib

import numpy as np


def generator(seed: int, stream: str, counter: int) -> np.random.Generator:
    """Makes the generator of one counter value (usually the iteration) of one named stream.

    Streams are independent; equal arguments give equal numbers on every machine.
    """
    key = (zlib.crc32(stream.encode()), counter)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))
