"""Brightness from 0.0 to 1.0 as the bytes that files and screens have.

>>> to_bytes(np.array([0.0, 0.5, 1.0]))
array([  0, 128, 255], dtype=uint8)
"""

from __future__ import annotations

import numpy as np


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Turn brightness into bytes.

    Parameters
    ----------
    values : ndarray of any shape
        Float from 0.0 to 1.0; what lies outside is cut off. Bytes pass unchanged.

    Returns
    -------
    ndarray of the same shape, uint8
    """
    if values.dtype == np.uint8:
        return values
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
