"""What the documentation site needs beyond `docs/`: notebooks and model cards, which lie where they belong.

mkdocs calls this (`hooks` in mkdocs.yml).
"""

from pathlib import Path

from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
CARDS = "tlkit/backbones/embedded"


@event_priority(100)  # before mkdocs-jupyter, which turns notebooks into pages
def on_files(files, config):
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        files.append(File(f"notebooks/{notebook.name}", str(ROOT), config.site_dir, config.use_directory_urls))
    for card in sorted((ROOT / CARDS).glob("*/MODEL_CARD.md")):
        files.append(File.generated(config, f"model_cards/{card.parent.name}.md", abs_src_path=str(card)))
    return files


def on_nav(nav, config, files):
    """Every page under `docs/` is one of the site: mkdocs leaves out folders of some names without a word."""
    known = {file.src_uri for file in files.documentation_pages()}
    missing = [
        page
        for page in Path(config.docs_dir).rglob("*.md")
        if page.relative_to(config.docs_dir).as_posix() not in known
    ]
    if missing:
        raise PluginError(f"These pages are not in the site: {', '.join(map(str, missing))}. See `exclude_docs`.")


def on_page_markdown(markdown, page, config, files):
    """Links that lead out of `docs/` in the repository lead to the same thing in the site."""
    markdown = markdown.replace("../notebooks/", "notebooks/")
    for name in (card.parent.name for card in (ROOT / CARDS).glob("*/MODEL_CARD.md")):
        markdown = markdown.replace(f"../{CARDS}/{name}/MODEL_CARD.md", f"model_cards/{name}.md")
    return markdown
