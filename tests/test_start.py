"""What a command needs not is not imported: each of these takes as long as torch, or half of it."""

import subprocess
import sys

from fex.metrics import ProtocolScores

CODE = """
import sys
from fex.explainers.loading import load_explainer
from fex.cli.explain.run import run_parsed
import fex.images, fex.metrics
print([name for name in ("torchmetrics", "lightning", "segmentation_models_pytorch", "datasets", "scipy.signal",
       "jinja2")
       if name in sys.modules])
"""


def test_explaining_imports_no_library_of_training():
    found = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    assert ProtocolScores.__mro__[1].__module__.startswith("torchmetrics")
