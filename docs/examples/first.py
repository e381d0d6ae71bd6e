"""Ten lines: a photograph that comes with scikit-image, and a trained explainer that comes with fex."""

from PIL import Image
from skimage import data

import fex

Image.fromarray(data.chelsea()).save("cat.png")  # any picture of yours will do
explainer = fex.load_explainer("fex_efficientnet_lite0")  # a shipped name, a checkpoint or a run's folder
explanation = explainer.explain("cat.png", top_k=1)[0]  # also a PIL image, an array, or a list of them
explanation.save("explained.png")  # or .pdf, .svg, .html, .npz, .json

inputs = explainer.open("cat.png").unsqueeze(0)  # (1, 3, 224, 224), RGB in [0, 1]
heat = explainer.attribute(inputs, target=281)  # (1, 224, 224), class 281, "tabby": as captum calls it
print(explanation.target_name, heat.shape)
