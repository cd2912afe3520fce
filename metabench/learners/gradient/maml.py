"""Model-agnostic meta-learning (Finn, Abbeel and Levine 2017), second and first order."""

from __future__ import annotations

from dataclasses import dataclass, replace

from metabench.learners.contract import LEARNERS, LearnerCard
from metabench.learners.gradient.base import KNOBS, GradientLearner


@LEARNERS.register("maml")
@dataclass(eq=False)
class Maml(GradientLearner):
    """Learns an initialisation from which a few gradient steps fit a task (equation 1).

    Defaults are the paper's for the kind of task: in regression an MLP 40-40, a meta-batch of 25,
    one step of 0.01; in classification a strided Conv-4-64 and a meta-batch of 32. The paper's
    inner rate of 0.4 there multiplies a loss summed over N classes and divided by K, and so
    stands for N x 0.4 on the mean loss used here; 0.5, the rate of later implementations with
    mean losses, trains more reliably with normalisation by the support set.
    """

    card = LearnerCard(
        name="maml",
        version="2",
        family="gradient",
        kinds=("classification", "regression"),
        knobs=KNOBS,
        citation="Finn, Abbeel, Levine 2017. Model-Agnostic Meta-Learning. ICML.",
    )


@LEARNERS.register("maml-transductive")
@dataclass(eq=False)
class MamlTransductive(Maml):
    """MAML as its authors' code runs it: queries are normalised by their own batch."""

    card = replace(Maml.card, name="maml-transductive", transductive=True)


@LEARNERS.register("fomaml")
@dataclass(eq=False)
class Fomaml(Maml):
    """First-order MAML: the inner gradient counts as a constant (section 5.2)."""

    card = replace(Maml.card, name="fomaml")

    @property
    def second_order(self) -> bool:
        """Inner gradients are constants."""
        return False


@LEARNERS.register("fomaml-transductive")
@dataclass(eq=False)
class FomamlTransductive(Fomaml):
    """First-order MAML with queries normalised by their own batch."""

    card = replace(Fomaml.card, name="fomaml-transductive", transductive=True)
