"""Find the shipped YAML recipes: in a checkout beside the package, in a wheel inside it (`_recipes`)."""

from difflib import get_close_matches
from functools import cache
from pathlib import Path

from ecgtext_plugins.errors import BadRecipe

KINDS = ("examples", "manifests")
BENCHMARKS = "manifests/benchmarks"


@cache
def recipes_root() -> Path:
    """Return the folder that holds `examples/` and `manifests/`.

    Raises
    ------
    BadRecipe
        When neither the checkout nor the installed package has them.
    """
    package = Path(__file__).resolve().parent
    for root in (package / "_recipes", package.parent):
        if all((root / kind).is_dir() for kind in KINDS) and (root / "manifests" / "mimic_iv_ecg.yaml").is_file():
            return root
    raise BadRecipe(
        f"no recipes beside {package}: expected folders {' and '.join(KINDS)} in the checkout or in _recipes of the "
        "installed package; reinstall ecgtext-plugins"
    )


def find_recipe(name_or_path: str, folder: str = "manifests") -> Path:
    """Resolve a recipe given as a path, or as a name inside the shipped `folder`.

    Raises
    ------
    BadRecipe
        When there is no such recipe, with the name that is nearest, and the names that exist or the command that
        lists them.
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path
    shipped = recipes_root() / folder
    candidate = shipped / f"{name_or_path.removesuffix('.yaml')}.yaml"
    if candidate.is_file():
        return candidate
    names = sorted(p.stem for p in shipped.glob("*.yaml"))
    near = get_close_matches(path.name.removesuffix(".yaml"), names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    if folder == BENCHMARKS:
        raise BadRecipe(
            f"no benchmark '{name_or_path}': neither a .yaml file that is there nor one of the {len(names)} shipped "
            f"benchmarks, which `ecgtext eval ls` lists{hint}"
        )
    raise BadRecipe(
        f"no recipe '{name_or_path}': neither a .yaml file that is there nor one of the shipped names in {folder} "
        f"({', '.join(names)}){hint}"
    )
