"""What the README names is there: links, commands, recipes and the keys of its overrides."""

import re
from pathlib import Path

import pytest

from ecgtext_plugins.cli.main import COMMANDS, build_parser

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text("utf-8")


def test_links_and_files():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if "://" not in link]
    files = re.findall(r"python3 ((?:examples|tests)/\S+\.py)", TEXT)
    assert links and files
    assert [name for name in links + files if not (ROOT / name).is_file()] == []


def test_commands():
    lines = re.findall(r"^    (ecgtext (?!doctor).*?)(?:  +#.*)?$", TEXT, re.MULTILINE)
    assert len(lines) >= 4
    for line in lines:
        words = line.split()[1:]
        assert words[0] in COMMANDS
        build_parser(words[0]).parse_args(words)
    named = set(re.findall(r"`ecgtext ([a-z-]+)", TEXT))
    assert named <= set(COMMANDS)


@pytest.mark.parametrize("key", sorted(set(re.findall(r"`((?:task|model|criterion)\.\w+)=", TEXT))))
def test_overrides(key):
    import yaml

    group, name = key.split(".")
    assert name in yaml.safe_load((ROOT / "examples/dbeta/pretraining/base.yaml").read_text("utf-8"))[group]
