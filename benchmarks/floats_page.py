# SPDX-License-Identifier: Apache-2.0
"""docs/floats.md out of what was proved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.floats_rows import CALIBRATION, COMPARED, LARGE, MANY_MACS, RANDOM, TOLERANCE, Proof, summary

HEAD = """\
# Float and ONNX models: what is proved

`make floats` builds every float model of the zoo (TFLite and ONNX) and every quantized ONNX model for a Cortex-M4,
proves each, and writes this page. The exit code is 1 if a proof fails. `python -m benchmarks.floats --models WORD`
takes those with WORD in their names, `--json` gives the same as data.

- **float**: the largest difference between the float graph in real numbers and the model in the runtime where it is at
  home, relative to the largest output, on {compared} samples; at most {tolerance:g}. Hybrid models are compared in
  their float form. Quantized models have no float graph to compare; tests hold their layers within a step of
  onnxruntime.
- **input sets**: those on which the numpy reference, the C on this computer (each layer, under sanitizers) and the C
  under QEMU are equal to the last bit: {random} random ones, {large} for models of more than {many} million
  multiply-accumulates, and three corners.
- **calibrated with**: {calibration} samples of that data; for accuracy see [accuracy.md](accuracy.md).

"""


def page(proofs: Sequence[Proof]) -> str:
    return "\n".join(_lines(proofs)) + "\n"


def _lines(proofs: Sequence[Proof]) -> Iterator[str]:
    yield HEAD.format(
        compared=COMPARED,
        tolerance=TOLERANCE,
        random=RANDOM,
        large=LARGE,
        many=MANY_MACS // 1_000_000,
        calibration=CALIBRATION,
    )
    yield f"{summary(proofs)}.\n"
    yield "| model | kind | float | input sets | calibrated with | result |"
    yield "|---|---|---|--:|---|---|"
    for proof in proofs:
        apart = f"{proof.apart:.0e}, {proof.runtime}" if proof.apart is not None else "-"
        cells = proof.model, proof.kind or "-", apart, str(proof.sets or "-"), proof.data or "-", proof.state
        yield f"| {' | '.join(cells)} |"
    exceptions = [proof for proof in proofs if proof.state != "proved"]
    if exceptions:
        yield "\nThe exceptions:\n"
        yield from (f"- {proof.model}: {proof.detail}" for proof in exceptions)
