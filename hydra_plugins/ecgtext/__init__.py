"""Hydra plugin: shows our config groups and recipes to fairseq-hydra-train; inert in every other hydra application."""

import sys

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class EcgTextSearchPathPlugin(SearchPathPlugin):
    """Hydra calls this before it composes; only where fairseq is already imported does it do anything."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Register with fairseq and append the folder of the shipped training recipes."""
        if "fairseq" not in sys.modules:
            return
        import ecgtext_plugins
        from ecgtext_plugins.recipes import recipes_root

        ecgtext_plugins.register_all()
        search_path.append(provider="ecgtext", path=f"file://{recipes_root() / 'examples'}")
