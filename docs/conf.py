"""How Sphinx builds these pages."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version as distribution_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "flask-forge-jobs"
author = "the flask-forge-jobs authors"
project_copyright = f"2026, {author}"
release = distribution_version("flask-forge-jobs")
version = release

extensions = [
    "forge_jobs_reference",
    "readable_signatures",
    "search_order",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "_extensions"]
html_theme = "furo"
html_title = f"{project} {release}"
html_search_scorer = str(Path(__file__).parent / "_extensions" / "search_scorer.js")

autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 88

# The gate builds without the network, so names of other projects are only links where
# their inventories can be fetched. Public names of this package are checked anyway.
if os.environ.get("READTHEDOCS"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "flask": ("https://flask.palletsprojects.com/en/stable/", None),
        "psycopg2": ("https://www.psycopg.org/docs/", None),
        "python": ("https://docs.python.org/3/", None),
    }
nitpick_ignore_regex = [
    (r"py:.*", r"(?!flask_forge_jobs\.).*"),
    # What docstrings of public names mention without it being public: in our package
    # everything that is neither exported by its top nor an exception.
    (r"py:.*", r"flask_forge_jobs\.(?!errors\.)[a-z_]+(\..*)?"),
]
