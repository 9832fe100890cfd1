"""The digest of the code changes with what it is of, and with nothing else."""

import shutil

from ecgtext_plugins.evaluation import code_identity
from ecgtext_plugins.evaluation.code_identity import OF_VECTORS, PACKAGE, code_sha256


def test_digest_follows_the_files(tmp_path, monkeypatch):
    assert all((PACKAGE / place).exists() for place in OF_VECTORS)
    copy = tmp_path / "ecgtext_plugins"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = code_sha256(OF_VECTORS), code_sha256()
    monkeypatch.setattr(code_identity, "PACKAGE", copy)

    def digests():
        code_sha256.cache_clear()
        return code_sha256(OF_VECTORS), code_sha256()

    try:
        assert digests() == before  # wherever it is installed
        path = copy / "plotting" / "roc_curves.py"
        path.write_text(path.read_text() + "# more")
        vectors, whole = digests()
        assert vectors == before[0] and whole != before[1]
        (copy / "modules" / "dropout.py").write_text("")
        assert digests()[0] != vectors
    finally:
        code_sha256.cache_clear()
