"""Which half of the network adapts: only the head (ANIL), or only the body (BOIL)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from metabench.learners.contract import LEARNERS, LearnerCard
from metabench.learners.gradient.base import KNOBS, GradientLearner


@LEARNERS.register("anil")
@dataclass(eq=False)
class Anil(GradientLearner):
    """Almost no inner loop: tasks change the head alone (Raghu et al. 2020, section 4)."""

    card = LearnerCard(
        name="anil",
        family="gradient",
        kinds=("classification", "regression"),
        knobs=KNOBS,
        citation="Raghu, Raghu, Bengio, Vinyals 2020. Rapid Learning or Feature Reuse? ICLR.",
    )

    def adapts(self, name: str) -> bool:
        """The head."""
        return name.startswith("head.")


@LEARNERS.register("boil")
@dataclass(eq=False)
class Boil(GradientLearner):
    """Body only update in the inner loop: the head stays as meta-learned (Oh et al. 2021)."""

    card = replace(
        Anil.card,
        name="boil",
        citation="Oh, Yoo, Kim, Yun 2021. BOIL: Towards Representation Change. ICLR.",
    )

    def adapts(self, name: str) -> bool:
        """All but the head."""
        return not name.startswith("head.")
