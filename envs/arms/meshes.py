"""Triangle meshes with fewer triangles, by merging the vertices of a grid's cells.

Source of the method: Rossignac and Borrel 1993, "Multi-resolution 3D approximations for rendering
complex scenes" (vertex clustering).
"""

import numpy as np

_ROUNDS = 18


def decimate(vertices: np.ndarray, faces: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """At most `most` triangles of about the same shape.

    Args:
        vertices: float (n, 3).
        faces: int (m, 3).
        most: triangles to keep at most; a mesh that has no more is returned as it is.

    Returns:
        Vertices float32 (k, 3) and faces int32 (j, 3).
    """
    best = vertices.astype(np.float32), faces.astype(np.int32)
    if len(faces) <= most:
        return best
    span = float(np.ptp(vertices, axis=0).max())
    fine, coarse = span / 400, span / 2
    best = _cluster(vertices, faces, coarse)
    # The finest grid that leaves few enough, by bisection of the cells' size.
    for _ in range(_ROUNDS):
        cell = np.sqrt(fine * coarse)
        found = _cluster(vertices, faces, cell)
        if len(found[1]) <= most:
            best, coarse = found, cell
        else:
            fine = cell
    return best


def _cluster(vertices: np.ndarray, faces: np.ndarray, cell: float) -> tuple[np.ndarray, np.ndarray]:
    """One vertex per cell, the mean of those inside; triangles that collapse go."""
    keys = np.floor((vertices - vertices.min(axis=0)) / cell).astype(np.int64)
    _, merged = np.unique(keys, axis=0, return_inverse=True)
    merged = merged.reshape(-1)
    count = np.bincount(merged)
    sums = [np.bincount(merged, weights=vertices[:, axis]) for axis in range(3)]
    points = np.stack(sums, axis=1) / count[:, None]
    left = merged[faces]
    a, b, c = left.T
    left = left[(a != b) & (b != c) & (a != c)]
    # The same triangle may come several times; its first winding is kept.
    _, first = np.unique(np.sort(left, axis=1), axis=0, return_index=True)
    left = left[np.sort(first)]
    used, left = np.unique(left, return_inverse=True)
    return points[used].astype(np.float32), left.reshape(-1, 3).astype(np.int32)
