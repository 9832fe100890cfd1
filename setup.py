"""Packaging of ecgtext-plugins; EXTRAS is a literal, because ecgtext_plugins/environment.py reads it as text."""

import ast
import shutil
from pathlib import Path

from setuptools import find_namespace_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
RECIPE_FOLDERS = ("examples", "manifests")
RECIPE_KINDS = {".yaml", ".json", ".md", ".py"}
CHECKOUT_ONLY = {Path("examples/demo.py")}  # makes the checkout's .venv: of no use in a wheel

REQUIREMENTS = [
    "fairseq-fixed==0.12.3.1",
    "hydra-core==1.3.2",
    "omegaconf==2.3.0",
    "torch>=2.6",
    "numpy>=2.0",
    "scipy>=1.11",
    "pyarrow>=14",
    "wfdb>=4.1",
    "h5py>=3.9",
    "fsspec>=2023.6",
    "scikit-learn>=1.3",
    "networkx>=3",
    "faiss-cpu>=1.8",
    "transformers>=5.0",
    "tokenizers>=0.21",
    "huggingface_hub>=1.0",
    "safetensors>=0.4",
    "pyyaml>=6.0",
    "tqdm>=4.60",
]
EXTRAS = {
    "plots": ["matplotlib>=3.8"],
    "demo": ["matplotlib>=3.8"],
    "hub": ["hf_xet>=1.1", "protobuf>=4", "sentencepiece>=0.2"],  # models without tokenizer.json need the last two
    "dask": ["dask>=2024.8", "distributed>=2024.8"],
    "evaluation": ["matplotlib>=3.8", "neurokit2>=0.2.10", "umap-learn>=0.5"],
    "gpu": ["nvidia-ml-py>=12"],
    "slurm": ["hydra-submitit-launcher>=1.2"],
    "logging": ["tensorboard>=2.14", "wandb>=0.16"],
    "tests": [
        "aiohttp>=3.9",
        "dask>=2024.8",
        "distributed>=2024.8",
        "hydra-submitit-launcher>=1.2",
        "matplotlib>=3.8",
        "neurokit2>=0.2.10",
        "playwright>=1.45",
        "protobuf>=4",
        "pytest>=8.0",
        "pytest-xdist>=3.5",
        "ruff>=0.9",
        "sentencepiece>=0.2",
        "tensorboardX>=2.6",
        "umap-learn>=0.5",
    ],
}


class BuildWithRecipes(build_py):
    """Copy `examples/` and `manifests/` into `ecgtext_plugins/_recipes` of a wheel, never into the checkout."""

    def run(self):
        """Build as usual, then add the recipes unless the checkout itself is being installed."""
        super().run()
        if not getattr(self, "editable_mode", False):
            target = Path(self.build_lib, "ecgtext_plugins", "_recipes")
            shutil.rmtree(target, ignore_errors=True)
            for source in recipe_files():
                (target / source).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / source, target / source)


class SdistOfCheckout(sdist):
    """Put recipes, tests and papers into a source distribution: a wheel is built from it, and tests are run in it."""

    def make_distribution(self):
        """Add to what setuptools found; a MANIFEST.in would be one more file at the top."""
        tests = [path.relative_to(ROOT) for path in sorted((ROOT / "tests").rglob("*.py"))]
        papers = [Path(name) for name in ("CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md")]
        for path in [*recipe_files(), *CHECKOUT_ONLY, *tests, *papers]:
            if (ROOT / path).is_file() and "__pycache__" not in path.parts:
                self.filelist.append(str(path))
        super().make_distribution()


def recipe_files():
    """Return the recipe files to ship, relative to the checkout."""
    missing = [folder for folder in RECIPE_FOLDERS if not (ROOT / folder).is_dir()]
    if missing:
        raise FileNotFoundError(f"{ROOT} lacks {' and '.join(missing)}: expected a whole checkout or sdist")
    found = (path.relative_to(ROOT) for folder in RECIPE_FOLDERS for path in sorted((ROOT / folder).rglob("*")))
    return [
        path
        for path in found
        if path.suffix in RECIPE_KINDS and path not in CHECKOUT_ONLY and "__pycache__" not in path.parts
    ]


def version():
    """Read `__version__` from the package without importing it."""
    for node in ast.parse((ROOT / "ecgtext_plugins" / "__init__.py").read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__version__":
            return ast.literal_eval(node.value)
    raise ValueError("ecgtext_plugins/__init__.py has no line __version__ = '...'")


def long_description():
    """Return the README, or nothing in a checkout that has none yet."""
    readme = ROOT / "README.md"
    return readme.read_text("utf-8") if readme.is_file() else ""


setup(
    name="ecgtext-plugins",
    version=version(),
    description="fairseq plugins that learn joint representations of 12-lead ECGs and their text reports",
    long_description=long_description(),
    long_description_content_type="text/markdown",
    author="ecgtext_plugins authors",
    license="MIT",
    license_files=["LICENSE"],
    keywords=["ECG", "electrocardiogram", "self-supervised learning", "fairseq", "zero-shot"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
    ],
    python_requires=">=3.10,<3.13",
    # "." makes an editable install a plain path entry; any other mapping hides hydra_plugins from hydra's discovery.
    package_dir={"": "."},
    packages=find_namespace_packages(
        ".",
        include=["ecgtext_plugins", "ecgtext_plugins.*", "hydra_plugins.ecgtext", "hydra_plugins.ecgtext.*"],
        exclude=["*.__pycache__", "*.__pycache__.*", "ecgtext_plugins._recipes", "ecgtext_plugins._recipes.*"],
    ),
    package_data={"": ["*.csv", "*.json", "*.txt", "*.yaml", "*.md", "*.html", "*.css", "*.js"]},
    install_requires=REQUIREMENTS,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["ecgtext = ecgtext_plugins.cli.main:main"]},
    cmdclass={"build_py": BuildWithRecipes, "sdist": SdistOfCheckout},
    zip_safe=False,
)
