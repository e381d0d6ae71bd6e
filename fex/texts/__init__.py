"""Texts: from a file to tokens, their features, and what stands in for removed ones.

Files are read line by line, texts are cut into tokens that know their place in the text, and tokens are masked or
dropped. Read `lines`, `files`, `tokenized`, `tokenizer`, `features`, `removal`; then `backbone` and `lora`, the
networks that read tokens.
"""

from fex.texts.backbone import load_tokenizer
from fex.texts.features import Tokens
from fex.texts.files import LONGEST_TEXT, TEXT_SUFFIXES, TextRecord, read_records, unfit
from fex.texts.lora import add_lora, merge_lora
from fex.texts.removal import DropToken, MaskToken
from fex.texts.text_net import text_body
from fex.texts.tokenized import Text, TokenizedText
from fex.texts.tokenizer import TextPreprocess

__all__ = [
    "LONGEST_TEXT",
    "TEXT_SUFFIXES",
    "DropToken",
    "MaskToken",
    "Text",
    "TextPreprocess",
    "TextRecord",
    "TokenizedText",
    "Tokens",
    "add_lora",
    "load_tokenizer",
    "merge_lora",
    "read_records",
    "text_body",
    "unfit",
]
