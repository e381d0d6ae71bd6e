"""What the HTML pages share: their head, which lets nothing in from elsewhere, and pictures inside the page."""

import base64
import io

from PIL import Image

__all__ = ["PAGE_START", "data_uri"]

# A template for `str.format` with `title`, open in the middle of its style sheet: pages add their own rules.
PAGE_START = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --paper: #fff; --ink: #1c1c1e; --faint: #6e6e74; --line: #d9d9de; --card: #f6f6f8;
  --heat: .85 }}
@media (prefers-color-scheme: dark) {{
  :root {{ --paper: #141416; --ink: #ececf0; --faint: #9a9aa2; --line: #34343a; --card: #1e1e22;
    --heat: .65 }} }}
body {{ margin: 0 auto; padding: 1rem; max-width: 100rem; background: var(--paper); color: var(--ink);
  font: 15px/1.4 system-ui, sans-serif }}
h1 {{ font-size: 1.3rem; margin: 0 }}
"""


def data_uri(picture: Image.Image) -> str:
    """A picture as an address that holds it, JPEG."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
