"""The squared-exponential kernel."""


def kernel(a, b, length):
    """[T, A, D], [T, B, D] -> [T, A, B]."""
    squared = (a[:, :, None] - b[:, None]).square().sum(-1)
    return (-squared / (2 * length**2)).exp()
