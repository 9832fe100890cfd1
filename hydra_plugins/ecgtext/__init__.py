"""Hydra plugin: shows our config groups and recipes to fairseq-hydra-train; inert in every other hydra application."""

import sys

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.plugins.search_path_plugin import SearchPathPlugin


class EcgTextSearchPathPlugin(SearchPathPlugin):
    """Hydra calls this before it composes; only where fairseq is already imported does it do anything."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Register with fairseq and put the shipped training recipes on hydra's search path.

        fairseq gives its schema only to the config named on the command line and not to one inside a folder, so each
        recipe (`dbeta/pretraining/base`) gets it here. Launcher settings (`run_config`) are parts, not recipes.
        """
        if "fairseq" not in sys.modules:
            return
        from fairseq.dataclass.configs import FairseqConfig

        import ecgtext_plugins
        from ecgtext_plugins.recipes import recipes_root

        ecgtext_plugins.register_all()
        root = recipes_root() / "examples"
        for recipe in root.rglob("*.yaml"):
            if recipe.parent.name == "run_config":
                continue
            group = recipe.parent.relative_to(root).as_posix()
            ConfigStore.instance().store(group=group, name=recipe.stem, node=FairseqConfig)
        search_path.append(provider="ecgtext", path=f"file://{root}")
