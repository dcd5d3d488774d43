"""What the HTTP parser of the installed server rejects."""

from __future__ import annotations

import gunicorn
import pytest

# Its parser has been made stricter release by release; these are security fixes.
strict_only = pytest.mark.skipif(
    gunicorn.version_info < (25,), reason="an older gunicorn lets it pass"
)
