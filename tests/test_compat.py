"""audiocraft imports and runs without the packages it does not need, and real ones are left
alone.
"""

import subprocess
import sys

import pytest

from lib.musicgen import compat


def test_audiocraft_is_importable():
    assert compat.audiocraft.__version__ == "1.3.0"


@pytest.mark.parametrize("package", sorted(compat.NAMES))
def test_standins_say_what_is_missing(package):
    module = sys.modules[package]
    if not isinstance(module, compat._Standin):
        pytest.skip(f"{package} is installed here")
    assert module.__spec__ is not None
    with pytest.raises(compat.NotInstalled, match=f"{package} is not installed.*Install {package}"):
        module.load  # noqa: B018
    for path, names in compat.NAMES[package].items():
        for name in names:
            with pytest.raises(compat.NotInstalled, match=f"{path}.{name}"):
                getattr(sys.modules[path], name)()


def test_installing_twice_changes_nothing():
    before = {name: sys.modules[name] for name in compat.NAMES}
    assert compat.install() == []
    assert before == {name: sys.modules[name] for name in compat.NAMES}


def test_transformers_does_not_believe_in_torchaudio():
    import transformers

    if isinstance(sys.modules["torchaudio"], compat._Standin):
        assert not transformers.utils.is_torchaudio_available()


def test_a_working_installation_is_not_shadowed(tmp_path):
    for package in ("spacy", "av"):
        (tmp_path / f"{package}.py").write_text("REAL = True\n")
    code = "import lib.musicgen.compat, spacy, av; assert spacy.REAL and av.REAL"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(tmp_path), "PATH": ""}
    )


def test_melody_conditioning_names_torchaudio():
    if not isinstance(sys.modules["torchaudio"], compat._Standin):
        pytest.skip("torchaudio is installed here")
    with pytest.raises(compat.NotInstalled, match="torchaudio"):
        compat.audiocraft.modules.chroma.ChromaExtractor(sample_rate=32_000)
