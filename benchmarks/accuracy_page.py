# SPDX-License-Identifier: Apache-2.0
"""docs/accuracy.md out of what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from benchmarks.accuracy_data import LIMIT, MNIST_LIMIT, SPLITS
from benchmarks.accuracy_rows import PEERS, SHARE, SIGNIFICANT, Findings, Row, sign_test
from benchmarks.stock import TENSORFLOW

HEAD = """\
# Accuracy of int8 models made from float ones

`make accuracy` quantizes every float model of the zoo three times by the same calibration samples, judges the results
on other samples, and writes this page. Each set is split in {splits} ways (shuffled with seeds 0, 1, 2, unless it is in
order; large models without labels in one), and all figures are means over the splits. No sample calibrates and tests
in the same split.

The exit code is 1 if a labelled model loses more than {limit} points of accuracy ({mnist} on MNIST) on any split, or if
tinygen is at least as good as one of the other quantizers on less than {share} of the models. Where accuracies differ
by more than chance explains (an exact sign test on the samples that one of the two models alone gets right, at
{significant:.0%}), the higher one is better; elsewhere, and without labels, the int8 model that is nearer to float is,
by signal to noise, whoever is ahead in accuracy. Beside that the page counts by accuracy alone, however small the
difference, and by nearness to float alone.

`python -m benchmarks.accuracy --models WORD` measures models with WORD in their names, `--json` gives the same as data.

- **float**: the model in LiteRT or onnxruntime; a hybrid model with its int8 weights as real numbers.
- **tinygen**: `tinygen.quantize.quantize` with its defaults, then the emitted C on the host, with float inputs and
  outputs.
- **TFLite converter**: the calibrator and the quantizer that `tf.lite.TFLiteConverter` runs when it is given a
  representative dataset, on the .tflite file; where the model is ONNX or hybrid, on the float TFLite form that tinygen
  exports (transposes cancelled, BatchNorm folded, clamps fused). The result runs in LiteRT without delegates.
- **onnxruntime**: `quant_pre_process` and `quantize_static` (QDQ, int8, per channel, min-max), on the .onnx file; for a
  TFLite model on the ONNX file of the same network, where the zoo has one.

The best int8 models are in bold. "Lost" is the loss on the split where it is largest; "agreement" how often an int8
model gives the same answer as float, right or wrong.
"""

OPTIONS = """\

## What quantization does

`tinygen.quantize.Options` has a switch for each step; the command line uses the defaults. BatchNorm and clamps are
folded into layers before, in any case.

- `ranges`: the intervals of activations. `minmax` takes what the samples show, `margin` 15% more, `percentile`, `mse`
  and `entropy` less where that pays. `auto` lets samples decide which the ranges do not know: ranges by half of the
  samples are judged on the other half, first by tensor (the harm done to what the next nodes compute), then by the
  network's outputs, against one method for all tensors. What wins is done again with all samples.
- `equalize`: channels between layers scaled to like ranges (cross-layer equalization), kept where it brings the
  outputs of the other half nearer to float.
- `rounding`: `nearest`; `bias` adds corrected biases; `columns` (the default) fits weights to what they multiply, one
  input after the other, and makes each error good in those that follow (GPTQ); `adaptive` goes on from there to where
  no other integer of a single weight lowers the layer's error, which is AdaRound's objective without its relaxation.
- `scales` of weights, by channel: `largest` clips nothing; `fitted` takes the scale with the least error of the
  layer, weighted by what the weights multiply.
- `wide`: activations of some layers in int16 (`--mixed`).

At 8 bits, weights are not where the noise comes from: `columns` gains about 0.3 dB over `bias`, and `adaptive` and
`fitted` lower the error of single layers, but that of the outputs no further (within 0.1 dB in the mean over small
models of the zoo, three splits), which is why they are not the default. Choosing ranges by samples that these do not
know matters more: up to 4 dB where the test data go beyond what the calibration data show.

The report of `tinygen quantize --json` and of a build has for each layer the signal to noise ratio of its activations
and of its weights, and the share of values that its range clips; the command line prints the worst layers.
"""

NAMES = {"float": "float", "tinygen": "tinygen", **PEERS}


def versions() -> dict[str, str]:
    wanted = ["onnxruntime", *(["tensorflow"] if TENSORFLOW else [])]
    return {name: version(name) for name in wanted}


def page(found: Findings) -> str:
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Findings) -> Iterator[str]:
    yield HEAD.format(limit=LIMIT, mnist=MNIST_LIMIT, share=f"{SHARE:.0%}", splits=SPLITS, significant=SIGNIFICANT)
    yield "Measured with " + ", ".join(f"{name} {number}" for name, number in versions().items()) + "."
    yield "\n## Labelled data: accuracy in percent\n"
    yield from _table([row for row in found.rows if row.metric == "accuracy"], ".2f", lost=True)
    yield "\n## Labelled data: nearness to float\n"
    yield "Agreement in percent, and signal to noise in dB; p: of the sign test on accuracy against tinygen's.\n"
    yield from _fidelity([row for row in found.rows if row.metric == "accuracy"])
    yield "\n## No labels: signal to quantization noise in dB\n"
    yield "Against the float model's outputs; of several outputs the worst.\n"
    yield from _table([row for row in found.rows if row.metric == "sqnr"], ".2f", lost=False)
    yield "\n## Side by side\n"
    for peer, name in PEERS.items():
        won, of = found.soundly(peer)
        if of:
            yield f"- tinygen is better than or equal to the {name} on {won} of {of} models ({won / of:.0%})."
        won, of = found.count(peer)
        if of:
            yield f"  By accuracy alone where there are labels, be it by one image, on {won} ({won / of:.0%})."
        won, of = found.nearer(peer)
        if of:
            yield f"  Its outputs are nearer to float (signal to noise, labels or not) on {won} of {of}."
    yield from _exceptions(found)
    yield OPTIONS.rstrip()


def _table(rows: list[Row], form: str, lost: bool) -> Iterator[str]:
    names = [who for who in NAMES if lost or who != "float"]
    titles, limits = [NAMES[who] for who in names], ["lost", "limit"] if lost else []
    columns = ["model", "data", "splits × samples: calibration, test", *titles, *limits]
    yield f"| {' | '.join(columns)} |"
    yield "|---|---|" + "--:|" * (len(columns) - 2)
    for row in rows:
        scores = [_cell(row, who, form) for who in names]
        limits = [f"{row.lost:+.2f}", f"{row.limit:.1f}" + ("" if row.ok else " **missed**")] if lost else []
        counts = f"{row.splits} × {row.calibration}, {row.tests}"
        yield f"| {' | '.join([row.model, row.data, counts, *scores, *limits])} |"


def _fidelity(rows: list[Row]) -> Iterator[str]:
    whose = [who for who in NAMES if who != "float"]
    yield f"| model | {' | '.join(NAMES[who] for who in whose)} |"
    yield "|---|" + "--:|" * len(whose)
    for row in rows:
        cells = []
        for who in whose:
            chance = f", p {sign_test(*row.apart[who]):.2f}" if who in row.apart else ""
            cells.append(f"{row.agreement[who]:.2f}, {row.noise[who]:.2f}{chance}" if who in row.agreement else "-")
        yield f"| {row.model} | {' | '.join(cells)} |"


def _cell(row: Row, who: str, form: str) -> str:
    if who not in row.scores:
        return "-"
    text = format(row.scores[who], form)
    return f"**{text}**" if who in row.best else text


def _exceptions(found: Findings) -> Iterator[str]:
    notes = [(row.model, note) for row in found.rows for note in row.notes]
    if notes:
        yield "\nWhat another quantizer does not take as it is:\n"
        yield from (f"- {model}: {note}" for model, note in notes)
    if found.refused:
        yield "\nFloat models that tinygen refuses:\n"
        yield from (f"- {model}: {reason}" for model, reason in found.refused.items())
