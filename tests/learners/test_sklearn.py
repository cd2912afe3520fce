"""Estimators of scikit-learn as learners, beside scikit-learn called directly."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
import torch

from metabench.cli.run import parse_settings
from metabench.episodes import Episodes, Query, Support
from metabench.errors import MetabenchError
from metabench.learners.baselines.sklearn import Sklearn
from metabench.learners.build import resolve_parameters
from metabench.learners.contract import TaskInfo
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.clusters import Clusters
from metabench.tasks.sinusoid import Sinusoid
from tests.conftest import CPU, stream_of

pytest.importorskip("sklearn")
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import SVC

CLASSES = Shape(way=(2, 4), shot=(2, 4), query=3)
FUNCTIONS = Shape(shot=8, query=5)


def episodes(count: int = 6) -> Episodes:
    return sample(Clusters(shape=(2, 3), spread=1.0), CLASSES, Address.of("sk"), range(count))


def ready(learner: Sklearn, seed: int = 0) -> Sklearn:
    learner.setup(stream_of(Clusters(shape=(2, 3)), CLASSES).info, seed, CPU)
    return learner


@pytest.mark.parametrize(
    ("name", "options", "theirs"),
    [
        ("sklearn.svm.SVC", '{"break_ties": true}', SVC(break_ties=True)),
        ("sklearn.svm.SVC", '{"decision_function_shape": "ovo"}', SVC()),
        ("sklearn.naive_bayes.GaussianNB", "{}", GaussianNB()),
        (
            "sklearn.ensemble.RandomForestClassifier",
            '{"n_estimators": 7, "random_state": 3}',
            RandomForestClassifier(7, random_state=3),
        ),
    ],
)
def test_answers_are_those_of_the_estimator_on_the_support_set(
    name: str, options: str, theirs: SVC
) -> None:
    e = episodes()
    learner = ready(Sklearn(estimator=name, options=options))
    output = learner.predict(learner.adapt(e.support), e.query).output
    for t in range(6):
        keep, asked = e.support.mask[t], e.query.mask[t]
        theirs.fit(e.support.x[t, keep].flatten(1).double(), e.support.y[t, keep])
        expected = theirs.predict(e.query.x[t, asked].flatten(1).double())
        np.testing.assert_array_equal(output[t, asked].argmax(-1), expected)
        assert (output[t, :, int(e.support.way[t]) :] == -torch.inf).all()


def test_scores_are_the_decision_function() -> None:
    e = sample(Clusters(shape=(6,)), Shape(way=3, shot=3, query=3), Address.of("d"), range(2))
    learner = ready(Sklearn())
    output = learner.predict(learner.adapt(e.support), e.query).output
    theirs = SVC().fit(e.support.x[1].double(), e.support.y[1])
    expected = theirs.decision_function(e.query.x[1].double())
    np.testing.assert_allclose(output[1].numpy(), expected, rtol=1e-5)


def test_classes_keep_their_columns_when_others_have_no_items() -> None:
    e = sample(Clusters(shape=(4,)), Shape(way=4, shot=2, query=3), Address.of("m"), range(3))
    s = e.support
    for present in ([1, 3], [2]):
        kept = torch.isin(s.y, torch.tensor(present))
        learner = ready(Sklearn())
        some = Support(s.x, s.y, s.mask & kept, s.way)
        output = learner.predict(learner.adapt(some), e.query).output
        assert output[..., present].isfinite().all()
        absent = [c for c in range(4) if c not in present]
        assert (output[..., absent] == -torch.inf).all()


def test_regression_is_the_estimators_one_target_at_a_time() -> None:
    e = sample(Sinusoid(), Shape(shot=(4, 8), query=5), Address.of("r"), range(3))
    learner = Sklearn(estimator="sklearn.linear_model.Ridge", options='{"alpha": 0.5}')
    learner.setup(stream_of(Sinusoid(), FUNCTIONS).info, 0, CPU)
    output = learner.predict(learner.adapt(e.support), e.query).output
    for t in range(3):
        keep = e.support.mask[t]
        theirs = Ridge(alpha=0.5).fit(e.support.x[t, keep].double(), e.support.y[t, keep, 0])
        expected = theirs.predict(e.query.x[t].double())
        np.testing.assert_allclose(output[t, :, 0].numpy(), expected, rtol=1e-4)
    several = Sklearn()
    several.setup(TaskInfo("regression", (1,), 2, FUNCTIONS, 0), 0, CPU)
    y = torch.cat([e.support.y, 2 - e.support.y], dim=-1)
    state = several.adapt(Support(e.support.x, y, e.support.mask, e.support.way))
    assert several.predict(state, Query(e.query.x, e.query.mask)).output.shape == (3, 5, 2)


def test_randomness_follows_the_seed() -> None:
    e = episodes(3)
    outputs = []
    for seed in (0, 0, 1):
        learner = ready(
            Sklearn("sklearn.ensemble.ExtraTreesClassifier", '{"n_estimators": 5}'), seed
        )
        outputs.append(learner.predict(learner.adapt(e.support), e.query).output)
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_the_command_line_names_an_estimator_and_its_options() -> None:
    settings = [
        "sklearn.estimator=sklearn.svm.SVC",
        'sklearn.options={"C": 2.5, "kernel": "linear"}',
    ]
    given = resolve_parameters(Sklearn, parse_settings(settings)["sklearn"])
    learner = ready(Sklearn(**given))  # type: ignore[arg-type]
    assert (learner.template.C, learner.template.kernel) == (2.5, "linear")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"estimator": "os.system"}, "estimator: String should match"),
        ({"estimator": "sklearn.os.system"}, "has no 'sklearn.os.system'"),
        ({"estimator": "sklearn.base.np.ndarray"}, "has no 'sklearn.base.np.ndarray'"),
        ({"estimator": "sklearn.base.defaultdict"}, "not an estimator"),
        ({"estimator": "sklearn.svm.SVM"}, "has no 'sklearn.svm.SVM'"),
        ({"estimator": "sklearn.svm.SVR"}, "does not do classification"),
        ({"options": '{"D": 1}'}, "unexpected keyword argument 'D'"),
        ({"options": "{C: 1}"}, "not valid JSON"),
        ({"options": "[1]"}, "options: String should match"),
    ],
)
def test_a_mistake_is_told_in_one_line(parameters: dict[str, str], message: str) -> None:
    with pytest.raises(MetabenchError, match=message.replace("(", r"\(")) as caught:
        ready(Sklearn(**resolve_parameters(Sklearn, parameters)))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    with pytest.raises(MetabenchError, match=r"pip install 'metabench\[sklearn\]'"):
        ready(Sklearn())


def test_without_support_no_answer_is_preferred() -> None:
    e = episodes(2)
    empty = dataclasses.replace(e.support, mask=torch.zeros_like(e.support.mask))
    learner = ready(Sklearn())
    output = learner.predict(learner.adapt(empty), e.query).output
    for t in range(2):
        assert (output[t, :, : int(e.support.way[t])] == 0).all()

    regression = Sklearn()
    regression.setup(stream_of(Sinusoid(), FUNCTIONS).info, 0, CPU)
    e = sample(Sinusoid(), FUNCTIONS, Address.of("none"), range(2))
    empty = dataclasses.replace(e.support, mask=torch.zeros_like(e.support.mask))
    assert (regression.predict(regression.adapt(empty), e.query).output == 0).all()
