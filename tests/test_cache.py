"""What is kept on disk: named by content, whole or not at all, damaged is made again."""

import dataclasses
import functools
import importlib
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from lib import cache


def scaled(factor):
    return lambda x: factor * x


class Counter:
    def __init__(self, start):
        self.start = start

    def __call__(self, x):
        return x + self.start


FACTOR = 2


def uses_a_global(x):
    return FACTOR * x


DIFFERENT = [
    1,
    1.0,
    "1",
    True,
    None,
    [1],
    [1, 2],
    {"a": 1},
    {"a": 2},
    {1},
    b"1",
    slice(1),
    range(1),
    np.zeros(3),
    np.zeros(3, np.float32),
    np.zeros((3, 1)),
    np.array(["a"]),
    np.array(["a", None], object),
    torch.zeros(3),
    torch.zeros(3, dtype=torch.bfloat16),
    xr.DataArray(np.zeros(3)),
    xr.DataArray(np.zeros(3), name="x"),
    xr.Dataset({"x": ("a", np.zeros(3))}),
    pd.DataFrame({"a": [1]}),
    pd.DataFrame({"b": [1]}),
    pd.Series([1]),
    scaled(1),
    scaled(2),
    lambda x: x.amax(1),
    lambda x: x.amin(1),
    np.amax,
    np.amin,
    torch.relu,
    torch.tanh,
    functools.partial(torch.sum, dim=1),
    functools.partial(torch.sum, dim=2),
    Counter(1),
    Counter(2),
    Counter(1).__call__,
    torch.nn.Linear(2, 2),
    torch.nn.Linear(2, 2),
    np.add,
    torch.float16,
    torch.device("cpu"),
]


def test_different_contents_have_different_names():
    names = [cache.digest(value) for value in DIFFERENT]
    assert len(set(names)) == len(names) and all(len(name) == 32 for name in names)
    assert names == [cache.digest(value) for value in DIFFERENT]


def test_the_same_content_has_the_same_name():
    assert cache.digest(scaled(3)) == cache.digest(scaled(3))
    assert cache.digest({"a": 1, "b": 2}) == cache.digest({"b": 2, "a": 1})
    assert cache.digest(np.arange(6).reshape(2, 3).T) == cache.digest(
        np.arange(6).reshape(2, 3).T.copy()
    )
    assert cache.digest(Counter(1)) == cache.digest(Counter(1))


def test_what_a_function_looks_up_counts(monkeypatch):
    before = cache.digest(uses_a_global)
    monkeypatch.setitem(globals(), "FACTOR", 3)
    assert cache.digest(uses_a_global) != before


class Base:
    factor = 1

    def __call__(self, x):
        return helper(x) * self.factor


class Inherits(Base):
    @staticmethod
    def offset():
        return FACTOR

    @property
    def doubled(self):
        return 2 * self.factor


def helper(x):
    return FACTOR * x


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.steps = [torch.relu]
        self.register_buffer("shift", torch.zeros(2), persistent=False)

    def forward(self, x):
        return self.steps[0](x) + self.shift


@pytest.mark.parametrize(
    "change",
    [
        lambda patch: patch.setattr(Base, "factor", 2),
        lambda patch: patch.setattr(Base, "__call__", lambda self, x: x),
        lambda patch: patch.setattr(Inherits, "offset", staticmethod(lambda: 1)),
        lambda patch: patch.setattr(Inherits, "doubled", property(lambda self: 3)),
        lambda patch: patch.setitem(globals(), "FACTOR", 3),
    ],
    ids=["attribute", "inherited", "static", "property", "global of a method"],
)
def test_all_that_a_class_does_counts(monkeypatch, change):
    before = [cache.digest(Inherits()), cache.digest(lambda x: Inherits.factor * x)]
    change(monkeypatch)
    after = [cache.digest(Inherits()), cache.digest(lambda x: Inherits.factor * x)]
    assert before[0] != after[0] and before[1] != after[1]


@dataclasses.dataclass(frozen=True)
class Gain:
    by: float

    def __call__(self, x):
        return self.by * x


def test_what_a_dataclass_does_counts(monkeypatch):
    before = cache.digest(Gain(2.0))
    assert cache.digest(Gain(2.0)) == before != cache.digest(Gain(3.0))
    monkeypatch.setattr(Gain, "__call__", lambda self, x: x + self.by)
    assert cache.digest(Gain(2.0)) != before


class Private(torch.nn.Module):
    """Computes with what a state dict does not hold."""

    def __init__(self, **held):
        super().__init__()
        vars(self).update(held)
        self.register_buffer("shift", torch.zeros(2), persistent=False)

    def forward(self, x):
        return self._factor * x + self.shift


def test_what_a_network_of_ones_own_keeps_to_itself_counts():
    net = Private(_factor=2.0)
    names = {cache.digest(net), cache.digest(Private(_factor=0.0))}
    vars(net)["_around"] = [torch.nn.Sequential(net)]  # which is not gone through for ever
    assert len(names | {cache.digest(net)}) == 3


@pytest.mark.parametrize(
    "held",
    [{"_factor": 2.0}, {"factor": torch.ones(2)}, {"p": 0.5}, {"_steps": {"a": [torch.relu]}}],
)
def test_the_settings_of_a_network_of_ones_own_are_all_it_holds(held):
    plain = cache.settings(torch.nn.Sequential(Private()))
    assert cache.settings(torch.nn.Sequential(Private())) == plain
    assert cache.settings(torch.nn.Sequential(Private(**held))) != plain
    shifted = Private()
    shifted.shift += 1
    assert cache.settings(torch.nn.Sequential(shifted)) != plain
    untold = cache.settings(torch.nn.Sequential(Private(_lock=threading.Lock())))
    assert untold == cache.settings(torch.nn.Sequential(Private(_lock=threading.Lock())))


def test_all_that_a_network_holds_counts():
    net = Net()
    names = [cache.digest(net)]
    net.steps = [torch.tanh]
    names.append(cache.digest(net))
    net.shift += 1
    names.append(cache.digest(net))
    assert len(set(names)) == 3 and cache.digest(Net()) == names[0]


def test_a_module_of_ones_own_counts_by_what_it_defines(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine_own.py").write_text("SIZE = 1\ndef top(x):\n    return x + SIZE\n")
    mine_own = importlib.import_module("mine_own")
    before = cache.digest(lambda x: mine_own.top(x))
    monkeypatch.setattr(mine_own, "SIZE", 2)
    changed = cache.digest(lambda x: mine_own.top(x))
    monkeypatch.setattr(mine_own, "top", lambda x: x)
    assert len({before, changed, cache.digest(lambda x: mine_own.top(x))}) == 3


MINE = """
import threading
from mine_parts import within
PUSH = {"happy": [1.0]}
LOCKS = [threading.Lock()]
ITSELF = {}
ITSELF["again"] = ITSELF
"""


@pytest.fixture
def held(tmp_path, monkeypatch):
    """A module of one's own, and inside it another, which looks it up."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine_parts").mkdir()
    (tmp_path / "mine_parts" / "within.py").write_text("import mine_parts.held\nPULL = (1,)\n")
    (tmp_path / "mine_parts" / "held.py").write_text(MINE)
    yield importlib.import_module("mine_parts.held")
    for name in [name for name in sys.modules if name.startswith("mine_parts")]:
        del sys.modules[name]


def test_what_a_module_of_ones_own_holds_counts(held):
    def name():
        return cache.digest(lambda x: x + held.PUSH["happy"] + held.within.PULL)

    names = [name(), name()]
    held.PUSH["happy"] = [2.0]
    names.append(name())
    held.within.PULL = (2,)
    names.append(name())
    assert names[0] == names[1] and len(set(names)) == 3


def test_what_cannot_be_told_matters_where_it_is_asked_for(held):
    exec("def locked():\n    return LOCKS", vars(held))
    assert cache.digest(lambda: held.PUSH)
    for untold in (lambda: held.LOCKS, lambda: held.locked()):
        with pytest.raises(TypeError, match="cannot be told"):
            cache.digest(untold)


def test_a_decorator_of_a_library_hides_nothing():
    names = {cache.digest(torch.no_grad()(scaled(factor))) for factor in (1, 2)}
    assert len(names) == 2


def test_weights_that_change_in_place_change_the_name():
    layer = torch.nn.Linear(3, 3)
    before = cache.digest(layer)
    layer.weight.data[0, 0] += 1e-3
    assert cache.digest(layer) != before


def test_a_name_is_the_same_in_another_process():
    program = (
        "from lib import cache; print(cache.digest([1, {'a', 'b'}, {'x': 2.5}]), cache.code(cache))"
    )
    there = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert there == [cache.digest([1, {"a", "b"}, {"x": 2.5}]), cache.code(cache)]


def test_content_that_cannot_be_told():
    for value in ((x for x in [1]), object()):
        with pytest.raises(TypeError, match="cannot be told"):
            cache.digest(value)
    assert cache.digest(cache.named("mine", scaled(1))) == cache.digest(
        cache.named("mine", scaled(2))
    )
    assert cache.digest(cache.named("mine", scaled(1))) != cache.digest(
        cache.named("other", scaled(1))
    )
    assert cache.named("mine", scaled(2))(3) == 6


def test_a_folder_is_replaced_by_many_at_once(tmp_path):
    def write(number):
        for _ in range(20):
            with cache.replace_folder(tmp_path / "shared") as new:
                (new / "file").write_text(str(number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert (tmp_path / "shared" / "file").read_text() in "0123"
    assert [file.name for file in tmp_path.iterdir()] == ["shared"]


@pytest.mark.parametrize("place", ["art", "~/art", ""])
def test_the_place_of_what_is_kept_means_the_same_everywhere(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("BOOK_ARTIFACTS", place)
    found = cache._root()
    assert found == (tmp_path / "art" if place else cache.PACKAGE.parent / "artifacts")
    assert os.environ["BOOK_ARTIFACTS"] == (str(found) if place else "")


def test_what_is_kept_is_kept_in_no_bucket(monkeypatch):
    for place in ("s3://bucket/book", "s3:/bucket/book"):
        monkeypatch.setenv("BOOK_ARTIFACTS", place)
        with pytest.raises(ValueError, match=f"BOOK_ARTIFACTS must be the path .* Got '{place}'"):
            cache._root()


def test_comments_are_no_code(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    texts = [
        "def f():\n    return 1\n",
        '"""What."""\n\n\ndef f():  # one\n    """One."""\n    return 1\n',
        "def f():\n    return 2\n",
    ]
    names = []
    for k, text in enumerate(texts):
        (tmp_path / f"made_{k}.py").write_text(text)
        names.append(cache.code(__import__(f"made_{k}").f))
    assert names[0] != names[2] and names[1] != names[2]


@pytest.mark.parametrize(
    ("suffix", "value"),
    [
        (".npy", np.arange(3)),
        (".npz", {"a": np.arange(3), "b": np.array(["x"])}),
        (".json", {"a": [1, 2.5, None]}),
        (".parquet", pd.DataFrame({"a": [0.1, np.nan], "b": ["x", ""], "c": [True, False]})),
    ],
)
def test_kept_once_and_made_again_where_it_is_damaged(suffix, value):
    made = []

    def compute():
        made.append(1)
        return value

    what = {"suffix": suffix, "n": 3}
    first = cache.keep("test", what, compute, suffix)
    again = cache.keep("test", what, compute, suffix)
    assert cache.digest(first) == cache.digest(again) == cache.digest(value) and len(made) == 1
    file = cache.place("test", what, suffix)
    for damage in (file.read_bytes()[:-3], b"", file.read_bytes()[:-1] + b"?"):
        file.write_bytes(damage)
        with pytest.warns(UserWarning, match="damaged: it is made again"):
            assert cache.digest(cache.keep("test", what, compute, suffix)) == cache.digest(value)
    assert len(made) == 4
    assert {p.name for p in file.parent.glob(".*")} == set()  # nothing half is left


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    place = tmp_path / "a"
    with cache.replace_folder(place) as new:
        (new / "x").write_text("1")
        assert not place.exists()
    with pytest.raises(RuntimeError), cache.replace_folder(place) as new:
        (new / "x").write_text("2")
        raise RuntimeError
    assert (place / "x").read_text() == "1" and [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    file = cache.write(tmp_path / "a.json", "1")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        cache.write(file, "2")
    assert file.read_text() == "1" and [p.name for p in tmp_path.iterdir()] == ["a.json"]
