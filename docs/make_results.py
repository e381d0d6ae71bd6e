"""Fills every table of results in the README and in docs/ from the JSON files in docs/results/.

A page holds, where a table belongs, a pair of comments; what is between them is written by `make results-pages` and is
never typed:

    <!-- results: NAME -->
    <!-- /results -->

and, where a sentence names a measured figure, a pair around it:

    <!-- figure: NAME KEY -->0.233<!-- /figure -->

KEY is one of the file's `figures`, or "ROW / COLUMN" of its table; of the NAME agreement it is a shipped explainer, and
the figure stands in checkpoints/manifest.yaml. Any other NAME is a file docs/results/NAME.json, in one of
three forms, each with or without `figures`:

- a table: title, columns, rows, and command, commit, date, machine, n, origin, notes where they are known;
- the report.json of `fex-bench run` or the file of `fex-bench speed --json`, which `keep` copies here without pictures,
  curves and parts;
- a choice: `from` names columns of other files, so that a number stands in one file alone; so do commits and days.

NAME-paired, where it has no file of its own, are the paired differences in the report NAME.

    python docs/make_results.py                  # writes all pages
    python docs/make_results.py --check          # writes nothing; fails where a page and its JSON differ
    python docs/make_results.py keep runs/X/report.json NAME --command "fex-bench run ..." --machine "two CPU cores"
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
BLOCK = re.compile(r"(<!-- results: (?P<name>[\w-]+) -->\n).*?(<!-- /results -->)", re.DOTALL)
FIGURE = re.compile(r"(<!-- figure: (?P<name>[\w-]+) (?P<key>.+?) -->).*?(<!-- /figure -->)")
FACTS = ("command", "commit", "date", "machine", "n", "origin", "notes")
STYLE = ("decimals", "signed", "form", "unit")  # a column's, where a cell has no other
LEGEND = "★ best of its column, ≈ not different from it (paired bootstrap, 95 %)"
MINUS = "\N{MINUS SIGN}"
OLD = "†"
AGREEMENT = "agreement"
PAIRED = "-paired"


def number(value: float, *, decimals: int = 3, signed: bool = False, form: str = "", unit: str = "") -> str:
    """One number as it is shown: form "seconds" (in ms below a second), "mb" (three digits) or "" (decimals)."""
    if form == "seconds":
        text = f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
    elif form == "mb":
        text = f"{value:,.3g}"
    else:
        text = f"{value:{'+' if signed else ''},.{decimals}f}"
    return text.replace("-", MINUS) + (f" {unit}" if unit else "")


def shown(cell: Any, column: Mapping[str, Any]) -> str:
    """A cell as Markdown: a text, a number, a list of cells, or a number with low and high, half_width or sd."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, list):
        return " · ".join(shown(each, column) for each in cell)
    if not isinstance(cell, Mapping):
        cell = {"value": cell}
    if "all" in cell:
        text = cell["by"].join(shown(each, column) for each in cell["all"])
    else:
        text = _interval(cell, {key: value for key, value in {**column, **cell}.items() if key in STYLE})
    if cell.get("bold"):
        text = f"**{text}**"
    return f"{text} {cell['after']}" if "after" in cell else text


def _interval(cell: Mapping[str, Any], style: Mapping[str, Any]) -> str:
    """The number and what is known of its spread."""
    text = number(cell["value"], **style)
    if "low" in cell:
        text += f" [{number(cell['low'], **style)}, {number(cell['high'], **style)}]"
    width = {**style, "signed": False}
    if "half_width" in cell:
        text += f" ± {number(cell['half_width'], **width)}"
    if "sd" in cell:
        text += f" ({number(cell['sd'], **width)})"
    return text


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table of GitHub's Markdown; all columns but the first to the right."""
    align = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in (header, align, *lines))


def read(name: str, folder: Path = RESULTS) -> dict[str, Any]:
    """The file of that name."""
    path = folder / f"{name}.json"
    report = folder / f"{name.removesuffix(PAIRED)}.json"
    if not path.is_file() and name.endswith(PAIRED) and report.is_file():
        return paired(json.loads(report.read_text(encoding="utf-8")))
    if not path.is_file():
        raise ValueError(f"A page asks for the results {name}, but there is no {path}.")
    return json.loads(path.read_text(encoding="utf-8"))


def paired(report: Mapping[str, Any]) -> dict[str, Any]:
    """The differences of a report's first method from the others, as a table."""
    found: dict[str, dict[str, Any]] = {}
    many = len({each["protocol"] for each in report["differences"]}) > 1
    for each in report["differences"]:
        metric = each["metric"].replace("_", " ")
        low, high = each["ci95"]
        row = found.setdefault(f"{each['a']} {MINUS} {each['b']}", {})
        row[f"{each['protocol']} {metric}" if many else metric] = {
            "value": each["difference"], "low": low, "high": high,
        }  # fmt: skip
    names = list(dict.fromkeys(name for row in found.values() for name in row))
    counts = sorted({each["n"] for each in report["differences"]})
    return {
        "title": f"{report['title']}, paired differences",
        **{key: report[key] for key in ("commit", "date") if key in report},
        "n": counts[0] if len(counts) == 1 else f"n = {counts[0]:,} to {counts[-1]:,}",
        "columns": ["paired difference", *({"name": name, "signed": True} for name in names)],
        "rows": [[name, *(row.get(key) for key in names)] for name, row in found.items()],
    }


def grid(data: Mapping[str, Any], folder: Path = RESULTS) -> tuple[list[str], list[list[str]]]:
    """Header and lines of any form."""
    if "from" in data:
        return _chosen(data, folder)
    if "columns" not in data:
        from fex.report.tables import pivot  # needs torch, which the transcribed tables need not wait for

        header, lines = pivot(data["rows"])
        return header, _marked(lines, data)
    columns = [{"name": each} if isinstance(each, str) else each for each in data["columns"]]
    if wrong := [row for row in data["rows"] if len(row) != len(columns)]:
        raise ValueError(f"{data.get('title')}: a row has {len(wrong[0])} cells, expected {len(columns)}: {wrong[0]}.")
    lines = [[shown(cell, column) for cell, column in zip(row, columns, strict=True)] for row in data["rows"]]
    return [each["name"] for each in columns], _marked(lines, data)


def _marked(lines: list[list[str]], data: Mapping[str, Any]) -> list[list[str]]:
    """Stale rows with the sign that says so."""
    old = data.get("stale", {}).get("rows", ())
    return [[f"{name} {OLD}" if name in old else name, *rest] for name, *rest in lines]


def _chosen(data: Mapping[str, Any], folder: Path) -> tuple[list[str], list[list[str]]]:
    """A column of each of several files, without the signs that compare it with rows that are left out."""
    found: list[dict[str, str]] = []
    for source in data["from"]:
        header, lines = grid(read(source["file"], folder), folder)
        places = [place for place, name in enumerate(header) if name.startswith(source["column"])]
        if len(places) != 1:
            raise ValueError(f"{source['file']} has {len(places)} columns {source['column']}; it has {header}.")
        found.append({line[0].removesuffix(f" {OLD}"): _plain(line, places[0]) for line in lines})
    lines = []
    for row in data["rows"]:
        names = [row.get("as", {}).get(source["file"], row["name"]) for source in data["from"]]
        lines.append([row["name"], *(values.get(name, "–") for values, name in zip(found, names, strict=True))])
    return [data["first"], *(source["name"] for source in data["from"])], lines


def _plain(line: Sequence[str], place: int) -> str:
    return line[place].rstrip(" ★≈?") + (f" {OLD}" if line[0].endswith(OLD) else "")


def block(name: str, folder: Path = RESULTS) -> str:
    """All that stands between the two comments: the table, what its signs mean, and how it was made."""
    data = read(name, folder)
    header, lines = grid(data, folder)
    parts = [markdown(header, lines)]
    notes = list(data.get("notes", []))
    text = "".join(map("".join, lines))
    if "★" in text:
        notes.insert(0, f"{LEGEND}.")
    if OLD in text:
        notes.append(f"{OLD} {_stale(data, folder)}")
    facts = [f"n = {data['n']:,}" if isinstance(data.get("n"), int) else data.get("n"), _fact(data, "machine", folder)]
    commit = _fact(data, "commit", folder)
    facts += [f"commit {commit}" if commit else None, _fact(data, "date", folder), data.get("origin")]
    if any(facts):
        notes.append("*" + " · ".join(filter(None, facts)) + "*")
    parts += notes
    if data.get("command"):
        parts.append(f"```bash\n{data['command']}\n```")
    return "\n" + "\n\n".join(parts) + "\n\n"  # comments that touch a table hide it from some renderers


def _fact(data: Mapping[str, Any], key: str, folder: Path) -> str | None:
    """The file's own, or those of the files that it chooses from."""
    found = [read(each["file"], folder).get(key) for each in data.get("from", [])]
    return data.get(key) or ", ".join(dict.fromkeys(filter(None, found))) or None


def _stale(data: Mapping[str, Any], folder: Path) -> str:
    if "stale" in data:
        return data["stale"]["why"]
    return next(why for each in data["from"] if (why := read(each["file"], folder).get("stale", {}).get("why")))


def figure(name: str, key: str, folder: Path = RESULTS) -> str:
    """One figure of a sentence."""
    if name == AGREEMENT:
        manifest = yaml.safe_load((ROOT / "checkpoints" / "manifest.yaml").read_text(encoding="utf-8"))
        return f"{100 * manifest[key]['agreement']['share']:.0f} %"
    data = read(name, folder)
    if key in data.get("figures", {}):
        return shown(data["figures"][key], {})
    row, _, column = key.partition(" / ")
    header, lines = grid(data, folder) if "rows" in data else ([], [])
    found = [line[header.index(column)] for line in lines if line[0] == row and column in header]
    if len(found) != 1:
        raise ValueError(f"{name} has {len(found)} figures {key!r}; it has {', '.join(data.get('figures', {}))}.")
    return found[0].rstrip(" ★≈?")


def pages(root: Path = ROOT) -> list[Path]:
    """Every page that may have tables."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def filled(text: str, folder: Path = RESULTS) -> str:
    """A page with its tables and figures as the JSON files have them."""
    text = BLOCK.sub(lambda found: found[1] + block(found["name"], folder) + found[3], text)
    return FIGURE.sub(lambda found: found[1] + figure(found["name"], found["key"], folder) + found[4], text)


def unused(root: Path = ROOT) -> list[str]:
    """Files of results, and their figures, that no page shows."""
    texts = [page.read_text(encoding="utf-8") for page in pages(root)]
    asked = {found["name"] for kind in (BLOCK, FIGURE) for text in texts for found in kind.finditer(text)}
    said = {(found["name"], found["key"]) for text in texts for found in FIGURE.finditer(text)}
    files = sorted((root / "docs" / "results").glob("*.json"))
    named = [(path.stem, key) for path in files for key in read(path.stem, path.parent).get("figures", {})]
    asked |= {name.removesuffix(PAIRED) for name in asked}
    return [*sorted({path.stem for path in files} - asked), *(" ".join(each) for each in named if each not in said)]


def _speed_rows(data: Mapping[str, Any]) -> list[list[Any]]:
    """Name, value and target of each figure of `fex-bench speed`."""
    sides = {"<=": "≤", ">=": "≥"}
    return [
        [f"`{name}`", {key: found[key] for key in ("value", "unit")},
         "" if found["target"] is None else f"{sides[found['bound']]} {found['target']:g} {found['unit']}"]
        for name, found in data.items() if name in data["shapes"]
    ]  # fmt: skip


def keep(report: Path, name: str, facts: Mapping[str, Any], folder: Path = RESULTS) -> Path:
    """Copies what a page needs of a benchmark's report.json; facts that are not given stay as the old file has them."""
    data = json.loads(report.read_text(encoding="utf-8"))
    path = folder / f"{name}.json"
    old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    speed = "shapes" in data  # of `fex-bench speed`
    title = "Speed and memory" if speed else f"Explainers of {data['black_box']}"
    kept = {"title": old.get("title") or title, "commit": commit.stdout.strip() or None}
    kept |= {"date": date.fromtimestamp(report.stat().st_mtime).isoformat()}
    kept |= {key: value for key, value in facts.items() if value is not None}
    threads = f", {data['threads']} threads" if data.get("device") == "cpu" else ""
    kept.setdefault("machine", f"{data.get('device', '?')}{threads}")
    if "figures" in old:  # measured with the older report: the pages ask for them until they are given anew
        print(f"figures of sentences, to be measured again: {', '.join(old['figures'])}", file=sys.stderr)
    kept |= {key: data[key] for key in ("black_box", "data", "seed", "versions", "rows", "differences") if key in data}
    if speed:
        kept |= {"columns": ["quantity", {"name": "value", "form": "mb"}, "target"], "rows": _speed_rows(data)}
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes or checks all pages, or keeps a report; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page and its JSON differ")
    keeping = parser.add_subparsers(dest="what").add_parser("keep", help="copy a benchmark's report.json here")
    keeping.add_argument("report", type=Path)
    keeping.add_argument("name", help="of the file docs/results/NAME.json")
    for fact in ("title", "command", "commit", "machine"):
        keeping.add_argument(f"--{fact}")
    given = parser.parse_args(arguments)
    if given.what == "keep":
        print(keep(given.report, given.name, {k: getattr(given, k) for k in ("title", "command", "commit", "machine")}))
    different = []
    for page in pages():
        old = page.read_text(encoding="utf-8")
        if (new := filled(old)) != old:
            different.append(str(page.relative_to(ROOT)))
            if not given.check:
                page.write_text(new, encoding="utf-8")
    if different:
        print(("differs from its JSON: " if given.check else "wrote ") + ", ".join(different))
    if left := unused():
        print(f"shown on no page: {', '.join(left)}", file=sys.stderr)
    return int(given.check and bool(different or left))


if __name__ == "__main__":
    sys.exit(main())
