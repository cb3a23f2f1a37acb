"""Build the site of the documentation in build/site, with Zensical: python docs/build.py

The site has the README and every page or notebook that links lead to from there, in the folders of the
checkout, so that one text with one link serves both. A link to another file or folder leads to a page with
its text.
"""

import re
import shutil
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "build" / "docs"  # as in mkdocs.yml
CODE_OR_LINK = re.compile(r"^ *```.*?^ *```$|(?<=\]\()(?!\w+:)[^)\s#]+", flags=re.MULTILINE | re.DOTALL)
# Files of which a page shows the text; others (pictures, sounds) are taken as they are.
LANGUAGES = {".py": "python", ".sh": "bash", ".toml": "toml", ".cff": "yaml", ".yml": "yaml", "": "text"}

# The modules in which a reader finds the paper, the original, and what users see of a run.
REFERENCE = {
    "models": "samplernn one_tier wavenet layers rnn distributions parameters graph build",
    "training": "loop step optimizer hooks run distributed",
    "generation": "generate samplers random_streams priming write",
    "evaluation": "nll compare",
    "checkpoints": "npz run_folder load status",
    "data": "prepare recordings audio dataset minibatches quantization manifest",
    "original": "shuffle mrg31k3p svd_signs pickles results_folder layout",
    "config": "hyperparameters presets schedule",
}
# What functions of the public API return.
RESULTS = (
    "checkpoints.load.LoadedModel",
    "checkpoints.status.RunStatus",
    "evaluation.nll.Scores",
    "evaluation.nll.RecordingScore",
    "verification.tolerances.Check",
)


def write(path: str, text: str) -> None:
    """Write a page of the site."""
    (DOCS / path).parent.mkdir(parents=True, exist_ok=True)
    (DOCS / path).write_text(text, encoding="utf-8")


def lay_page(page: Path) -> list[Path]:
    """Put a page where the site finds it, and return the pages that it links to."""
    pages = []

    def place(found: re.Match[str]) -> str:
        link = found[0]
        if "`" in link:
            return link
        target = (page.parent / link).resolve()
        path = str(target.relative_to(ROOT))
        if target.suffix in (".md", ".ipynb"):
            pages.append(target)
            return link + ".md" * (target.suffix == ".ipynb")
        if target.is_dir() or target.suffix in LANGUAGES:
            write(f"{path}.md", text_of(target))
            return f"{link}.md"
        (DOCS / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(target, DOCS / path)
        return link

    is_notebook = page.suffix == ".ipynb"
    text = text_of_notebook(page) if is_notebook else page.read_text(encoding="utf-8")
    write(str(page.relative_to(ROOT)) + ".md" * is_notebook, CODE_OR_LINK.sub(place, text))
    return pages


def text_of_notebook(page: Path) -> str:
    """Return a notebook as Markdown, with its pictures in the text."""
    text, resources = MarkdownExporter().from_filename(str(page))
    for name, picture in resources["outputs"].items():
        text = text.replace(f"]({name})", f"](data:image/png;base64,{b64encode(picture).decode()})")
    return text


def text_of(target: Path) -> str:
    """Return a page of the text of a file, or of the files of a folder."""
    files = [target] if target.is_file() else sorted(target.iterdir())
    parts = [f"# {target.name}"]
    for file in files:
        if file.is_file() and file.suffix in LANGUAGES:
            text = file.read_text(encoding="utf-8")
            parts.append(f"`{file.relative_to(ROOT)}`\n\n````{LANGUAGES[file.suffix]}\n{text}````")
    return "\n\n".join(parts) + "\n"


def lay_reference() -> None:
    """Write the pages of the reference, which the docstrings fill."""
    results = (f"::: samplernn_theano.{name}" for name in RESULTS)
    write("reference/api.md", "\n\n".join(["# Public API", "::: samplernn_theano", *results]))
    for package, modules in REFERENCE.items():
        blocks = (f"::: samplernn_theano.{package}.{module}" for module in modules.split())
        write(f"reference/{package}.md", "\n\n".join([f"# samplernn_theano.{package}", *blocks]))


def main() -> int:
    """Lay out the pages and call Zensical; return its exit status."""
    shutil.rmtree(DOCS, ignore_errors=True)
    pages = [ROOT / "README.md"]
    for page in pages:  # grows
        pages += [linked for linked in dict.fromkeys(lay_page(page)) if linked not in pages]
    lay_reference()
    shutil.copy(ROOT / "docs" / "site.css", DOCS)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run(command, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
