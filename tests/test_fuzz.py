# SPDX-License-Identifier: Apache-2.0
"""The fuzzer itself: it repeats its cases, and notices each way in which a case can go wrong."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests import fuzz, odd_models
from tests.mutations import MUTATIONS


def verdicts(count: int) -> list[tuple[int, str, str]]:
    return list(fuzz.run(1, range(1, count + 1), jobs=1))


def test_cases_are_repeatable_and_varied() -> None:
    broken = [fuzz.model(1, n) for n in range(50)]
    assert broken == [fuzz.model(1, n) for n in range(50)]
    assert len(set(broken)) > 45
    assert broken != [fuzz.model(2, n) for n in range(50)]
    assert len(set(MUTATIONS)) == 7


def test_seeds_are_good_models() -> None:
    for data in odd_models.all_models().values():
        assert fuzz.try_case(data, 0) == ("ok", "compiled by gcc")


def test_a_few_cases() -> None:
    found = verdicts(60)
    assert [number for number, _, _ in found][:3] == [1, 2, 3]
    assert {verdict for _, verdict, _ in found} == {"ok", "ModelError", "UnsupportedError", "command"}


def test_a_case_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(data: bytes, number: int) -> tuple[str, str]:
        time.sleep(60 if number == 2 else 0)
        return "ok", ""

    monkeypatch.setattr(fuzz, "try_case", hang)
    monkeypatch.setattr(fuzz, "SECONDS", 1)
    assert verdicts(3) == [(1, "ok", ""), (2, "FAILED", "took longer than 1 s"), (3, "ok", "")]


def test_a_case_that_kills_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(data: bytes, number: int) -> tuple[str, str]:
        if number == 1:
            raise SystemExit(9)
        return "ok", ""

    monkeypatch.setattr(fuzz, "try_case", die)
    assert [verdict for _, verdict, _ in verdicts(2)] == ["FAILED", "ok"]


def test_a_case_that_takes_too_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "compile_model", lambda path: bytearray(8 << 30))
    (_, verdict, detail) = verdicts(1)[0]
    assert (verdict, detail.strip().splitlines()[-1]) == ("FAILED", "MemoryError")


def test_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "compile_model", lambda path: 1 // 0)
    (_, verdict, detail) = verdicts(1)[0]
    assert (verdict, "ZeroDivisionError" in detail) == ("FAILED", True)


@pytest.mark.parametrize("text", ["it broke", "model.tflite:\nbroken", "model.tflite: \x1b[2J", "model.tflite" * 100])
def test_bad_sentences(text: str) -> None:
    assert fuzz.bad_sentence(text)
    assert not fuzz.bad_sentence("model.tflite: broken")


@pytest.mark.parametrize(
    ("code", "text", "left", "good"),
    [
        (3, "error: model.tflite: broken", ["model.tflite"], True),
        (0, "", ["model.tflite", "out"], True),
        (0, "", ["model.tflite"], False),
        (1, "error: model.tflite: broken", ["model.tflite"], False),
        (3, "error: model.tflite: broken", ["model.tflite", "out"], False),
        (3, "model.tflite: broken", ["model.tflite"], False),
        (3, "Traceback (most recent call last):\nerror: model.tflite: broken", ["model.tflite"], False),
    ],
)
def test_command_verdicts(code: int, text: str, left: list[str], good: bool) -> None:
    done = subprocess.CompletedProcess([], code, "", text)
    assert (fuzz.command_verdict(done, left, 1.0)[0] == "command") is good


def test_c_that_does_not_compile() -> None:
    assert fuzz.gcc({"model.c": "int f(void) { return 0 }\n"})[0] == "FAILED"
    assert fuzz.gcc({"model.c": "int f(void);\nint f(void) { return 0; }\n"}) == ("ok", "compiled by gcc")
