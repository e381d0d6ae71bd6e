"""Parts of the policy-gradient estimator: noise, exploration, baselines, control variates. Each is injected."""

from fex.estimators.control import Baseline, CompatibleControl, Control, LeaveOneOut, NoControl, ValueBaseline
from fex.estimators.exploration import Exploration, OnPolicy, RandomBudget, TwoSidedBudget
from fex.estimators.noise import Antithetic, Independent, Noise

__all__ = [
    "Antithetic",
    "Baseline",
    "CompatibleControl",
    "Control",
    "Exploration",
    "Independent",
    "LeaveOneOut",
    "NoControl",
    "Noise",
    "OnPolicy",
    "RandomBudget",
    "TwoSidedBudget",
    "ValueBaseline",
]
