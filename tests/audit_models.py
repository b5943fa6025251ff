"""Models that somebody brings to an audit."""

from sklearn.ensemble import RandomForestClassifier
from torch import nn


def network(shape, classes):
    """One hidden layer, whatever the shape."""
    size = 1
    for side in shape:
        size *= side
    return nn.Sequential(nn.Flatten(), nn.Linear(size, 32), nn.ReLU(), nn.Linear(32, classes))


def forest():
    """A forest that is not fitted yet."""
    return RandomForestClassifier(20, random_state=0)


def number():
    """No model at all."""
    return 3
