"""What libjpeg warns of while it decodes: JPEG data damaged in the middle, filled with gray.

Pillow hides these warnings and returns the image. OpenCV lets libjpeg print them, so the standard
error of the process is looked at meanwhile; decoded to an eighth of its size, a file costs
less than a tenth of reading it.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

JPEG_START = b"\xff\xd8"
# those of jerror.h that change pixels; the rest is about headers
_DAMAGE = re.compile(r"(?:Corrupt JPEG data|Premature end of JPEG file|Inconsistent progression).*")


def jpeg_warning(path: str) -> str:
    """Returns what is wrong with a JPEG file that is decoded all the same; "" if nothing is."""
    content = Path(path).read_bytes()
    if not content.startswith(JPEG_START):
        return ""
    damage = _DAMAGE.search(_printed_while_decoding(content))
    return f"{damage[0]}; its pixels may be wrong" if damage else ""


def _printed_while_decoding(content: bytes) -> str:
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        return file.read().decode(errors="replace")
