"""What an intervention does to episodes."""

from metabench.conditions import corruptions, cues, images, labels, shots, support
from metabench.conditions.base import INTERVENTIONS, Intervention, On, Setting, intervene

__all__ = [
    "INTERVENTIONS",
    "Intervention",
    "On",
    "Setting",
    "corruptions",
    "cues",
    "images",
    "intervene",
    "labels",
    "shots",
    "support",
]
