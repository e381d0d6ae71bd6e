"""A language model as a classifier of texts: a prompt, a word for each class, and which words of a text count."""

import json
import math
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import fex
from fex.baselines import LIME, RISE
from fex.black_box import PromptBlackBox


class Model(BaseHTTPRequestHandler):
    """Stands in for vLLM, llama.cpp, a hub or OpenAI: likely "yes" where the text is funny."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        choices = []
        for index, prompt in enumerate(request["prompt"]):
            yes = 0.8 if "funny" in prompt else 0.1
            likely = {" yes": math.log(yes), " no": math.log(0.95 - yes), " maybe": math.log(0.05)}
            choices.append({"index": index, "text": " yes", "logprobs": {"top_logprobs": [likely]}})
        body = json.dumps({"choices": choices}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def make_tokenizer(folder: str) -> None:
    """Words as features. Leave `tokenizer` out to have that of MiniLM, or name your model's own folder."""
    words = ["[PAD]", "[UNK]", "[MASK]", "a", "the", "film", "plot", "is", "funny", "dull"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=32, **names).save_pretrained(folder)


# 1 Your language model: an address that ends in /v1/completions, or /v1/chat/completions.
server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=server.serve_forever, daemon=True).start()
make_tokenizer("words")

# 2 The black box: what fex may ask.
box = PromptBlackBox(
    f"http://127.0.0.1:{server.server_port}/v1/completions",
    "my-model",
    "Review: {text}\nIs it good? Answer yes or no:",
    labels=["no", "yes"],
    class_names=["negative", "positive"],
    tokenizer="words",  # token_env="MY_TOKEN" names the variable with a token, where the server wants one
)

# 3 Which words count? Methods that ask, a text at a time. FEX learns it once for all texts: as on the page Text.
for method in (RISE(box, box.features, num_masks=100), LIME(box, box.features, num_masks=100)):
    [found] = fex.explain(["the film is funny"], method, target="positive")
    print(type(method).__name__, {each.word: round(each.score, 2) for each in found.word_scores()})
found.save("explained.html")
server.shutdown()
