"""What the modules of the shop share; the factory binds it to an application."""

from __future__ import annotations

from flask_forge_jobs import ForgeJobs, KindPrefixRouter

forge = ForgeJobs(router=KindPrefixRouter({"mail": "mail"}))
