"""Sphinx's settings of the course's site; `make site` stages the pages and calls Sphinx."""

project = "Seeing inside CNNs"
author = "the authors of Seeing inside CNNs"
copyright = "the authors; text, pictures and data CC BY 4.0, code MIT"

extensions = ["myst_nb", "sphinxcontrib.bibtex"]
nb_execution_mode = "off"  # the pages show the notebooks as they were saved, and tested
nb_merge_streams = True
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
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "show_toc_level": 2,
    "home_page_in_toc": True,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navigation_with_keys": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
mathjax_path = "tex-svg.js"  # shipped with the site: no request leaves the reader's machine
