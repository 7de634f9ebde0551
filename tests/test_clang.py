# SPDX-License-Identifier: Apache-2.0
"""The C compiled for Cortex-M by clang, which pip installs: the same outputs, no warnings."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.laws import assert_equal
from tests.test_cli import DIGITS
from tinygen import api, clang, reference, running, toolchain
from tinygen.errors import ToolError
from tinygen.passes.base import random_inputs
from tinygen.target import load_target
from tinygen.verify.build_dir import read_build
from tinygen.verify.qemu import run_qemu

needs_zig = pytest.mark.skipif(find_spec("ziglang") is None, reason="ziglang is missing: pip install ziglang")


@pytest.mark.qemu
@needs_zig
@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4", "cortex-m55"])
def test_clang_builds_the_same_network(core: str, tmp_path: Path) -> None:
    built = api.build(DIGITS, core)
    made, inputs = read_build(built.write(tmp_path)), random_inputs(built.graph, 0)
    done = run_qemu(made, [inputs], load_target(core), compiler="clang")
    assert_equal(f"clang's program for {core}", done.outputs[0], reference.run(built.graph, inputs))
    assert done.warnings == "" and done.instructions
    compiler = clang.compiler_for(load_target(core), "clang")
    size = toolchain.flash_size(made.path, made.name, load_target(core), compiler=compiler)
    assert size.code > 500 and size.data == 0


@pytest.mark.qemu
@needs_zig
def test_a_profile_of_clang(tmp_path: Path) -> None:
    api.build(DIGITS, "cortex-m4").write(tmp_path)
    by_clang, by_gcc = (running.profile(tmp_path, compiler=name) for name in ("clang", "gcc"))
    assert by_clang.instructions != by_gcc.instructions
    assert clang.version_of("clang").startswith("clang ") and "gcc" in clang.version_of("gcc")


def test_the_host_has_a_compiler_of_its_own() -> None:
    assert clang.compiler_for(load_target("host"), "clang") == [toolchain.find_host()]


def test_no_clang_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise ToolError("clang was not found")

    monkeypatch.setattr(clang, "find_spec", lambda name: None)
    monkeypatch.setattr(toolchain, "find_clang", missing)
    with pytest.raises(ToolError, match="pip install ziglang"):
        clang.compiler_for(load_target("cortex-m4"), "clang")
