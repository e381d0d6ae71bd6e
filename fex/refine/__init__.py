"""Explanations that one can check and refine: a trained explainer is a prior, a few queries of this input measure it.

`design` says which masks are asked about, `regression` combines map and answers, `fidelity` says how far to trust the
result, `refined` is the explainer that does it all, `experience` what it learns from other inputs beforehand,
`foresight` how far maps will miss at no query, `spending` where a total of queries helps most. Read them in this order.
"""

from fex.refine.experience import Experience
from fex.refine.fidelity import Fidelity, fidelity
from fex.refine.foresight import Foresight
from fex.refine.refined import Refined
from fex.refine.refinement import Refinement
from fex.refine.regression import Posterior, posterior
from fex.refine.spending import spend, worth_asking
from fex.refine.trust import Trust

__all__ = [
    "Experience", "Fidelity", "Foresight", "Posterior", "Refined", "Refinement", "Trust", "fidelity", "posterior",
    "spend", "worth_asking",
]  # fmt: skip
