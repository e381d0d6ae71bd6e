"""FEX: a Bernoulli policy over masks, trained by queries to the black box with policy gradients.

The explainer proposes masks, the black box scores them, rewards say how much of its answer they kept, and the
objective raises the chances of good masks. Read in the paper's order, with its equations:

1. `bernoulli`: the policy q = Bern(g_y(x)) (eq. 7), whose mean is the explanation (eq. 8).
2. `rewards`: c(m, x), what a mask earns (eq. 9).
3. `rollout`: T masks from q and their rewards, the sample of J(q) (eq. 10; Algorithm 1, lines 5 and 6), with
   `exploration` (which q draws them) and `noise` (by which random numbers); `replay` keeps them for later visits;
   `labels`: whose, of a multi-label answer.
4. `control`: what is subtracted from the reward, the paper's v(x) among it (eq. 18).
5. `value`: how v learns (eq. 19). `ppo`: the clipped surrogate (eq. 20-22). `kl`: the classes' alignment (eq. 24).
6. `objective`: all of them summed (eq. 23 and 25), what `lightning_modules.FEXModule` minimises.

Where a step can be done in several ways, the paper's is `PaperRatio`, `OnPolicy`, `Independent`, `ValueBaseline` with
`NoControl`, and "joint"; a first reader may skip the other classes and all that is said of budgets, which change
nothing there. The recommended ones, and why, are in docs/how-it-works.md. `distil` is how a smaller explainer learns
from a trained one, without rewards.
"""

from fex.policy.control import Baseline, CompatibleControl, Control, LeaveOneOut, NoControl, ValueBaseline
from fex.policy.distil import as_logits, map_loss
from fex.policy.exploration import (
    EpsilonGreedy,
    Exploration,
    OnPolicy,
    RandomBudget,
    ReferenceBudget,
    TwoSidedBudget,
)
from fex.policy.kl import (
    kl_black_box_to_explainer,
    kl_explainer_to_black_box,
    label_kl_black_box_to_explainer,
    label_kl_explainer_to_black_box,
)
from fex.policy.labels import draw_labels
from fex.policy.noise import Antithetic, Correlated, Independent, MaskNoise
from fex.policy.objective import (
    DIVERGENCES,
    LABEL_DIVERGENCES,
    SURROGATES,
    Objective,
    PolicyTerms,
    Surrogate,
    policy_terms,
)
from fex.policy.ppo import clip_fraction, clipped_surrogate_joint, clipped_surrogate_per_feature
from fex.policy.replay import Replay, ReplayTable, trace
from fex.policy.rewards import BlankCorrectedRatio, LogRatio, PaperRatio, Retained, Reward
from fex.policy.rollout import BlankScores, Judge, Rollout, collect
from fex.policy.value import explained_variance, value_loss

__all__ = [
    "Antithetic",
    "Baseline",
    "BlankCorrectedRatio",
    "BlankScores",
    "CompatibleControl",
    "Control",
    "Correlated",
    "DIVERGENCES",
    "EpsilonGreedy",
    "Exploration",
    "Independent",
    "Judge",
    "LABEL_DIVERGENCES",
    "LeaveOneOut",
    "LogRatio",
    "NoControl",
    "MaskNoise",
    "Objective",
    "OnPolicy",
    "PaperRatio",
    "PolicyTerms",
    "RandomBudget",
    "ReferenceBudget",
    "Replay",
    "ReplayTable",
    "Retained",
    "Reward",
    "Rollout",
    "SURROGATES",
    "Surrogate",
    "TwoSidedBudget",
    "ValueBaseline",
    "as_logits",
    "clip_fraction",
    "clipped_surrogate_joint",
    "clipped_surrogate_per_feature",
    "collect",
    "draw_labels",
    "explained_variance",
    "kl_black_box_to_explainer",
    "kl_explainer_to_black_box",
    "label_kl_black_box_to_explainer",
    "label_kl_explainer_to_black_box",
    "map_loss",
    "policy_terms",
    "trace",
    "value_loss",
]
