"""What an intervention does to episodes."""

from metabench.conditions import images, labels, support
from metabench.conditions.base import INTERVENTIONS, Intervention, On, Setting, intervene

__all__ = [
    "INTERVENTIONS",
    "Intervention",
    "On",
    "Setting",
    "images",
    "intervene",
    "labels",
    "support",
]
