"""The isolation layers: policy, self-test, names in results and documentation follow from one list."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from grader.sandbox import Sandbox, SandboxError
from grader.sandbox.layers import LAYERS, isolating_names, markdown_table
from grader.sandbox.layers.landlock import HIDDEN, READ, READ_DIR, readable, without_hidden
from grader.sandbox.layers.layer import Places
from grader.sandbox.layers.seccomp import compiled_filter
from tests.sandbox.conftest import DRIVER
from tests.sandbox.test_sandbox import SOURCE, answer

ROOT = Path(__file__).parents[2]


def test_the_documentation_lists_every_layer_as_it_is() -> None:
    assert markdown_table() in (ROOT / "docs" / "security.md").read_text()


def test_names_and_attempts_of_layers_are_told_apart() -> None:
    places = Places(["/a", "/b"], ["/c"], "/d", "/e")
    names = [name for layer in LAYERS for name in layer.shown_as]
    attempts = [name for layer in LAYERS for name, _ in layer.attempts(places)]
    assert len(set(names)) == len(names)
    assert len(set(attempts)) == len(attempts) > 12


def test_every_layer_is_in_force_in_the_order_of_the_list(sandbox) -> None:
    if sandbox.layers[-1] == "seccomp-closed-book":
        pytest.skip("no Landlock here")
    for layer, shown in zip(LAYERS, sandbox.layers, strict=True):
        assert any(shown.startswith(name.removesuffix("N")) for name in layer.shown_as)
    assert isolating_names() & set(sandbox.layers)


ADDED = '''
"""The layer `one-process`: the kernel itself counts no second process of this user."""

import os
import resource
from grader.sandbox.layers.layer import Layer


class OneProcess(Layer):
    name = "one-process"
    summary = "no second process"

    def enter(self, budget):
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        return self.name

    def attempts(self, places):
        yield "be two", ATTEMPT
'''
USED = """
import json
from grader.sandbox import Sandbox, SandboxError
from grader.sandbox.layers import markdown_table
with Sandbox.start() as box:
    try:
        box.ready()
        failure = None
    except SandboxError as error:
        failure = str(error)
    print(json.dumps({"layers": box.layers, "failure": failure, "table": markdown_table()}))
"""


@pytest.mark.parametrize("attempt", ["os.fork", "os.getpid"])
def test_a_new_layer_is_one_file_and_one_entry(sandbox, tmp_path: Path, attempt: str) -> None:
    shutil.copytree(ROOT / "grader", tmp_path / "grader")
    layers = tmp_path / "grader" / "sandbox" / "layers"
    (layers / "one_process.py").write_text(ADDED.replace("ATTEMPT", attempt))
    listed = (layers / "__init__.py").read_text()
    entry = "    NoNewPrivileges(),\n"
    assert listed.count(entry) == 1
    (layers / "__init__.py").write_text(
        listed.replace(entry, f"    OneProcess(),\n{entry}").replace(
            "\nLAYERS", "\nfrom grader.sandbox.layers.one_process import OneProcess\n\nLAYERS"
        )
    )
    done = subprocess.run(
        [sys.executable, "-c", USED], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    seen = json.loads(done.stdout)
    assert "| `one-process` | no second process |  |" in seen["table"]
    if attempt == "os.fork":
        assert seen["failure"] is None
        assert seen["layers"] == [*sandbox.layers[:2], "one-process", *sandbox.layers[2:]]
    else:  # what is not denied stops the grading
        assert seen["failure"] == "isolation is incomplete; a submission could: be two"


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        ("landlock", "read /etc/passwd"),
        ("seccomp", "open a TCP socket"),
        ("rlimits", "map 16 TiB of memory"),
    ],
)
def test_the_self_test_refuses_when_a_layer_is_missing(sandbox, layer, named):
    if layer == "landlock" and "closed" in sandbox.layers[-1]:
        pytest.skip("no Landlock here")
    without = frozenset({layer})
    with Sandbox(isolate=True, preload=(), env={}, without=without) as box:
        with pytest.raises(SandboxError, match="isolation is incomplete") as caught:
            box.open(SOURCE, DRIVER)
        assert named in str(caught.value)
        with pytest.raises(SandboxError):
            box.open(SOURCE, DRIVER)
        assert not box.isolated


def test_without_landlock_submissions_run_with_a_closed_book(sandbox):
    without = frozenset({"landlock-support"})
    with Sandbox(isolate=True, preload=(), env={}, without=without) as box:
        assert answer(box) == 1
        assert box.layers[-1] == "seccomp-closed-book"
        assert box.notice
        with box.open(b"open('/etc/hostname')", DRIVER) as session:
            assert "OSError" in session.load().raised.types


def test_a_missing_libseccomp_is_one_clear_line(monkeypatch):
    compiled_filter.cache_clear()
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    with pytest.raises(SandboxError, match="libseccomp"):
        compiled_filter()
    compiled_filter.cache_clear()


def test_nothing_of_the_repository_but_its_environment_is_readable():
    granted = readable()
    for hidden in HIDDEN:
        covering = [path for path, right in granted.items() if hidden.is_relative_to(path)]
        assert all(granted[path] == READ_DIR for path in covering)


def test_a_hidden_folder_is_carved_out_of_a_readable_tree(tmp_path: Path):
    for name in ("site/grader/judge", "site/torch", "lib"):
        (tmp_path / name).mkdir(parents=True)
    granted = without_hidden(tmp_path, (tmp_path / "site" / "grader",))
    assert granted == {
        str(tmp_path): READ_DIR,
        str(tmp_path / "lib"): READ,
        str(tmp_path / "site"): READ_DIR,
        str(tmp_path / "site" / "torch"): READ,
    }
