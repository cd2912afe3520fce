"""What an intervention does to the inputs of episodes."""

from metabench.conditions import images
from metabench.conditions.base import INTERVENTIONS, Intervention, On, intervene

__all__ = ["INTERVENTIONS", "Intervention", "On", "images", "intervene"]
