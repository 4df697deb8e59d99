"""Hooks of the site (mkdocs.yml): what the navigation holds, and files beside docs/ as pages.

Pages link to files of the repository, as in ``[log](../dev/log.md)``. Such a file becomes a page of
the site: Markdown as it is, any other text as a block of code.
"""

import re
from itertools import compress
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
_LINK = re.compile(r"\]\((?:\.\./)+([\w./-]+)")
_LANGUAGES = {".py": "python", ".sh": "bash", ".yaml": "yaml", ".jsonl": "json"}


def on_config(config: Any) -> Any:
    """Leaves out of the navigation what is not there, and adds what it does not name."""
    docs = Path(config.docs_dir)
    named: set[str] = set()
    config.nav = [_existing(section, docs, named) for section in config.nav]
    rest = sorted(str(page.relative_to(docs)) for page in docs.rglob("*.md"))
    more = [page for page in rest if page not in named]
    if more:
        config.nav.append({"More": more})
    return config


def _existing(section: dict[str, list[Any]], docs: Path, named: set[str]) -> dict[str, list[Any]]:
    [(title, entries)] = section.items()
    paths = [e if isinstance(e, str) else next(iter(e.values())) for e in entries]
    there = [(docs / path).exists() for path in paths]
    named.update(compress(paths, there))
    return {title: [*compress(entries, there)]}


def on_files(files: Files, config: Any) -> Files:
    """Adds the files of the repository that pages link to."""
    linked: set[str] = set()
    for page in [file for file in files if file.src_uri.endswith(".md")]:
        for target in _LINK.findall(page.content_string):
            path = ROOT / target
            if path.is_file() and not (Path(config.docs_dir) / target).exists():
                linked.add(target)
    for target in sorted(linked):
        text = (ROOT / target).read_text(encoding="utf-8")
        if not target.endswith(".md"):
            language = _LANGUAGES.get(Path(target).suffix, "text")
            text = f"# {target}\n\n````{language}\n{text}\n````\n"
        files.append(File.generated(config, _page(target), content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Points links to files of the repository at their pages."""
    up = "../" * page.file.src_uri.count("/")

    def point(match: re.Match[str]) -> str:
        for uri in (match[1].removeprefix("docs/"), _page(match[1])):
            if files.get_file_from_path(uri) and (uri != match[1] or uri.startswith("docs/")):
                return f"]({up}{uri}"
        return match[0]

    return _LINK.sub(point, markdown)


def _page(target: str) -> str:
    """Where a file of the repository stands in the site."""
    return f"files/{target if target.endswith('.md') else f'{target}.md'}"
