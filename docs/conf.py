"""Sphinx's settings of the course's site; `make site` stages the pages and calls Sphinx."""

import re
from pathlib import Path

CITATION = (Path(__file__).parent / "CITATION.cff").read_text(encoding="utf-8")  # staged beside the pages
REPOSITORY = re.search(r"^repository-code: (\S+)$", CITATION, re.M)[1]
OWNER, NAME = REPOSITORY.rsplit("/", 2)[1:]

project = "Seeing inside CNNs"
author = "the authors of Seeing inside CNNs"
copyright = "the authors; text, pictures and data CC BY 4.0, code MIT"

extensions = [
    "myst_nb",
    "sphinxcontrib.bibtex",
    "sphinxcontrib.katex",
    "sphinx_copybutton",
    "sphinxext.opengraph",
]
nb_execution_mode = "off"  # the pages show the notebooks as they were saved, and tested
nb_merge_streams = True
nb_code_prompt_show = "Show the set-up"  # nothing else is folded
nb_code_prompt_hide = "Hide the set-up"
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 2
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
exclude_patterns = []

html_context = {"default_mode": "auto"}
html_favicon = "_static/favicon.svg"
html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_js_files = ["course.js"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "show_toc_level": 2,
    "repository_url": REPOSITORY,
    "use_repository_button": True,
    "use_issues_button": True,
    "use_edit_page_button": True,
    "use_source_button": True,
    "home_page_in_toc": True,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navigation_with_keys": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}

katex_css_path = "katex/katex.min.css"  # shipped with the site, as its script: no request leaves the machine

copybutton_selector = "div.cell_input pre, div.highlight-default pre, div.highlight-bash pre, div.highlight-python pre"

ogp_site_url = f"https://{OWNER}.github.io/{NAME}/"  # where a published site would be: addresses of previews are whole
ogp_image = "_static/social.jpg"
ogp_image_alt = "A portrait of an astronaut, and a heat map that lies on her helmet"
ogp_use_first_image = False
ogp_description_length = 180
