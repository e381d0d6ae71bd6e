"""A trained explainer behind an address, on LitServe (the extra `serve`).

The web process lets in what is within bounds (`door`) and reads it (`desk`); workers explain what has come together as
one batch (`worker`); `server` puts them together.
Read them in this order. Needs `pip install "fex-explain[serve]"`.
"""

from fex.serve.limits import Limits

__all__ = ["Limits"]
