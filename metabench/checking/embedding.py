"""What a learner must do that embeds each input by itself."""

from __future__ import annotations

from dataclasses import replace

import torch

from metabench.checking.subject import Broken, Subject
from metabench.learners.embedding import Part, embedded, embeds
from metabench.scoring import same


def embedding(s: Subject) -> None:
    """An embedding depends on its input alone, and is all that adapting and predicting use."""
    learner = s.ready
    if not embeds(learner) or s.setting.kind == "regression":
        return
    episodes = s.episodes(2, s.setting.shape(way=(2, 5), shot=(1, 3)))
    x = episodes.query.x.flatten(0, 1)
    z = learner.embed_items(x)
    if z.ndim != 2 or len(z) != len(x):
        raise Broken(f"embed_items returned shape {list(z.shape)}, expected [{len(x)}, F]")
    turned = torch.arange(len(x) - 1, -1, -1, device=x.device)
    alone = torch.cat([learner.embed_items(x[i : i + 1]) for i in range(len(x))])
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(x)
    crowded = learner.embed_items(torch.cat([x, 5 * noise]))[: len(x)]
    for other, what in (
        (learner.embed_items(x[turned])[turned], "in another order"),
        (alone, "alone"),
        (crowded, "in the company of noise"),
    ):
        if not same(z, other):
            raise Broken(f"the embedding of an input changes when it comes {what}")
    support, query = episodes.support, episodes.query
    state = learner.adapt_embedded(_blank(embedded(learner, support)))
    made = learner.predict_embedded(state, _blank(embedded(learner, query)))
    asked = episodes.query.mask.cpu()
    if not same(s.predict(episodes)[asked], s.valid(made, episodes)[asked]):
        raise Broken(
            "adapt_embedded and predict_embedded on embed_items predict otherwise than adapt and "
            "predict"
        )


def _blank(part: Part) -> Part:
    """Zeros where padded, as in evaluation, where no input belongs there."""
    return replace(part, x=part.x * part.mask[..., None])
