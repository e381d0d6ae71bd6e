"""A page to try a trained explainer in a browser, with Gradio (the extra `demo`).

`trial` makes what the page shows, and knows no Gradio; `page` is the page. Read them in this order.
Needs `pip install "fex-explain[demo]"`.
"""

from fex.demo.trial import Trial, Tried

__all__ = ["Trial", "Tried"]
