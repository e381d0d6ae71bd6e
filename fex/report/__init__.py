"""Reports: what is drawn and written of explanations and numbers.

`heatmap`, `sounds` and `svg` draw arrays, `text` colours words, `html` and `page` put them on pages, `folder` and
`text_folder` write results as they come, `tables` and `curves` are for numbers. Read `drawings` first: explanations
are data, and learn there how they are drawn.
"""

from fex.report.drawings import explanation_panel

__all__ = ["explanation_panel"]
