"""Trained explainers on the Hugging Face hub: a weights file of this project, and a card that says what it is.

Read `card`, `repository`. Nothing that comes from there is run.
"""

from fex.hub.card import model_card
from fex.hub.repository import fetch, is_hub_name, push

__all__ = ["fetch", "is_hub_name", "model_card", "push"]
