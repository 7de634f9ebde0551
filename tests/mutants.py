# SPDX-License-Identifier: Apache-2.0
"""Deliberate bugs, each of which some test must notice.

    python tests/mutants.py [--only NAME]

Each mutant is one replacement in one file of a copy of the repository, and the tests that should fail on it. A mutant
whose text is not found, or whose tests pass, is a failure: of this list, or of the tests. The same tests pass without
it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = (
    "tinygen",
    "templates",
    "targets",
    "tests",
    "benchmarks",
    "examples",
    "docs",
    "scripts",
    "pyproject.toml",
    "README.md",
)


@dataclass(frozen=True)
class Mutant:
    """`old` becomes `new` in `file`; `tests` must then fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTANTS = (
    Mutant(
        "rounding of the high multiply, in C",
        "templates/kernels/common/requantize.c.j2",
        "* multiplier + (INT64_C(1) << 30)) >> 31",
        "* multiplier) >> 31",
        "tests/operators/test_fully_connected.py",
    ),
    Mutant(
        "rounding of the right shift, in the reference",
        "tinygen/ops/numerics.py",
        "threshold = (mask >> 1) + (x < 0)",
        "threshold = mask >> 1",
        "tests/operators/test_fully_connected.py",
    ),
    Mutant(
        "which sums are far from the middle between two results, in the reference",
        "tinygen/ops/sums.py",
        "sure = 0.5 - LOST - np.ldexp(0.5, shifts)",
        "sure = 0.5 - LOST - 0 * shifts",
        "tests/test_sums.py",
    ),
    Mutant(
        "a multiplier that reference and C share",
        "tinygen/ops/convolution.py",
        "input_of(call).q.scale * scales / call.output.q.scale",
        "input_of(call).q.scale * scales / call.output.q.scale * 1.02",
        "tests/operators/test_depthwise_conv_2d.py",
    ),
    Mutant(
        "the sign of the input's zero point",
        "tinygen/kernels/channels.py",
        "plain_bias(call, len(weights)) - input_of(call)",
        "plain_bias(call, len(weights)) + input_of(call)",
        "tests/operators/test_conv_2d.py",
    ),
    Mutant(
        "an offset in the arena",
        "tinygen/emit/text.py",
        'f"a + {plan.offsets[operand.name] + operand.offset}"',
        'f"a + {plan.offsets[operand.name] // 16 * 16 + operand.offset}"',
        "tests/differential",
    ),
    Mutant(
        "the lifetime of a tensor that is read twice",
        "tinygen/plan/arena.py",
        "last.update(dict.fromkeys((*step.reads, *step.writes), index))",
        "[last.setdefault(name, index) for name in (*step.reads, *step.writes)]",
        "tests/differential",
    ),
    Mutant(
        "in place where a kernel still reads what it overwrites",
        "tinygen/kernels/base.py",
        "    return {}",
        "    return {0: Room(0)}",
        "tests/differential",
    ),
    Mutant(
        "the upper clamp, in C",
        "templates/kernels/common/requantize.c.j2",
        "return x > high ? high : x;",
        "return x > high + 1 ? high : x;",
        "tests/operators/test_conv_2d.py",
    ),
    Mutant(
        "the limit of a fused RELU6",
        "tinygen/ops/base.py",
        "3: (0.0, 6.0)",
        "3: (0.0, 5.0)",
        "tests/operators/test_conv_2d.py",
    ),
    Mutant(
        "where the odd row of SAME padding goes",
        "tinygen/ops/shapes.py",
        "return total // 2, total - total // 2",
        "return total - total // 2, total // 2",
        "tests/operators/test_conv_2d.py",
    ),
    Mutant(
        "an index: the stride of rows for columns",
        "templates/kernels/conv_2d/portable.c.j2",
        "x * k->stride_w - k->pad_left",
        "x * k->stride_h - k->pad_left",
        "tests/operators/test_conv_2d.py",
    ),
    Mutant(
        "a table shifted by one",
        "templates/kernels/lookup/table.c.j2",
        "k->table[input[i] + 128]",
        "k->table[(input[i] + 129) & 255]",
        "tests/operators/test_elu.py",
    ),
    Mutant(
        "padding fused although it pads with another value",
        "tinygen/passes/fuse_padding.py",
        "value.ravel()[0] != zero_of(source)",
        "False",
        "tests/test_passes.py",
    ),
    Mutant(
        "an activation fused into what another node reads, too",
        "tinygen/passes/fuse_activations.py",
        "if len(graph.consumers(source)) > 1:",
        "if len(graph.consumers(source)) > 2:",
        "tests/test_passes.py",
    ),
    Mutant(
        "a constant before padding that is not the zero point",
        "tinygen/passes/liveness.py",
        "padded = groups[sometimes & ~varies & (constants != 0)]",
        "padded = groups[sometimes & varies]",
        "tests/test_dead_channels.py",
    ),
    Mutant(
        "bounds that forget the borders",
        "tinygen/passes/layers.py",
        "return np.unique((places >= 0) & (places < size), axis=0), True",
        "return np.ones((1, kernel), np.bool_), True",
        "tests/test_intervals.py",
    ),
    Mutant(
        "the zero point of uint8 in a quantized ONNX model",
        "tinygen/frontends/onnx/quantized.py",
        "int(zero.ravel()[0]) - (128 if",
        "int(zero.ravel()[0]) - (127 if",
        "tests/test_onnx_quantized.py::test_each_layer_is_within_a_step",
    ),
    Mutant(
        "the order of padding in an ONNX convolution",
        "tinygen/frontends/onnx/spatial.py",
        "both = [(flat[i], flat[i + count]) for",
        "both = [(flat[2 * i], flat[2 * i + 1]) for",
        "tests/test_onnx_quantized.py::test_each_layer_is_within_a_step",
    ),
    Mutant(
        "the transposition after an ONNX operator on images",
        "tinygen/frontends/onnx/spatial.py",
        "return b.transpose(x, (0, 3, 1, 2))",
        "return b.transpose(x, (0, 3, 2, 1))",
        "tests/test_onnx_quantized.py::test_each_layer_is_within_a_step",
    ),
    Mutant(
        "the zero point of a calibrated tensor",
        "tinygen/quantize/ranges.py",
        "math.floor(-128 - low / scale + 0.5)",
        "math.floor(-127 - low / scale + 0.5)",
        "tests/test_quantize.py::test_zero_is_exact_and_the_range_covers_what_was_seen",
    ),
    Mutant(
        "the scale of a bias",
        "tinygen/quantize/assign.py",
        "whole = steps(values, source * scales,",
        "whole = steps(values, scales,",
        "tests/export/test_onnx.py::test_layers_come_back_with_their_weights_and_scales",
    ),
    Mutant(
        "the integers that an ONNX model stores",
        "tinygen/quantize/assign.py",
        "weights, symmetric=True) if made.stored else None",
        "weights, symmetric=True) if not made.stored else None",
        "tests/export/test_onnx.py::test_layers_come_back_with_their_weights_and_scales",
    ),
    Mutant(
        "the order of weights in an exported depthwise convolution",
        "tinygen/export/onnx_operators.py",
        "(3, 0, 1, 2) if depthwise",
        "(3, 0, 2, 1) if depthwise",
        "tests/export/test_onnx.py::test_layers_come_back_with_their_weights_and_scales",
    ),
    Mutant(
        "the order of padding in an exported convolution",
        "tinygen/export/onnx_operators.py",
        "return [top, left, bottom, right]",
        "return [top, bottom, left, right]",
        "tests/export/test_onnx.py::test_layers_come_back_with_their_weights_and_scales",
    ),
    Mutant(
        "the order of a transposed tensor in an exported model",
        "tinygen/export/onnx_movement.py",
        "tuple(perm.index(axis) for axis in",
        "tuple(perm[axis] for axis in",
        "tests/export/test_onnx.py::test_converted_networks_keep_their_bits",
    ),
    Mutant(
        "the bound of the proof that a float graph is right",
        "benchmarks/floats.py",
        "if apart is not None and not apart <= TOLERANCE",
        "if apart is not None and not apart <= 1 + TOLERANCE",
        "tests/test_floats.py::test_other_answers_than_the_runtime_s_fail",
    ),
    Mutant(
        "dsp: zeros that fill up a filter",
        "templates/kernels/conv_2d/dsp_bands.j2",
        "memset(w, 0, (size_t)words * 8);",
        "(void)words;",
        "tests/operators/test_dsp.py::test_edges",
    ),
    Mutant(
        "dsp: halves of negative sums",
        "templates/kernels/common/down.c.j2",
        "value += value >> 31;",
        "value += 0;",
        "tests/operators/test_dsp.py::test_edges",
    ),
    Mutant(
        "dsp: a register of the assembly",
        "templates/kernels/common/dsp_products.j2",
        '"smlad lr, r4, r7, lr',
        '"smlad lr, r4, r6, lr',
        "tests/operators/test_dsp.py::test_edges_on_a_core[cortex-m4]",
    ),
    Mutant(
        "v6m: sums of four products that do not fit",
        "tinygen/kernels/v6m.py",
        "MOST_OF_FOUR = 255",
        "MOST_OF_FOUR = 508",
        "tests/operators/test_v6m.py::test_edges_on_cortex_m0",
    ),
    Mutant(
        "v6m: a sum of two products without what keeps it from the other half",
        "templates/kernels/common/v6m_taps.c.j2",
        "adds r2, r2, r3\\n adds r2, r2, r6\\n",
        "adds r2, r2, r3\\n",
        "tests/operators/test_depthwise_v6m.py::test_on_cortex_m0",
    ),
    Mutant(
        "split: halves of negative outputs",
        "tinygen/kernels/split.py",
        "((outputs <= 0) & (right > 0)[:, None])",
        "((outputs < 0) & (right > 0)[:, None])",
        "tests/operators/test_depthwise_v6m.py::test_every_sum",
    ),
    Mutant(
        "add: a line that misses some pairs",
        "tinygen/kernels/add_line.py",
        "if least <= most and",
        "if",
        "tests/operators/test_add_line.py",
    ),
    Mutant(
        "mve: where the next filter's blocks begin",
        "templates/kernels/common/mve_blocks.c.j2",
        "blocks += count + (count + 3) / 4;",
        "blocks += count + count / 4 + 1;",
        "tests/operators/test_forms_cores.py::test_blocks_on_a_core[mve]",
    ),
    Mutant(
        "mve: a register of the blocks' assembly",
        "templates/kernels/common/mve_blocks_rows.c.j2",
        'GATHER("r9", "r6")',
        'GATHER("r9", "r4")',
        "tests/operators/test_forms_cores.py::test_blocks_on_a_core[mve]",
    ),
    Mutant(
        "mve: four units that have their blocks in other places",
        "tinygen/kernels/sparse_mve.py",
        "return np.asarray(fours.any(axis=1))",
        "return np.asarray(fours.all(axis=1))",
        "tests/operators/test_forms_cores.py::test_laws[mve]",
    ),
    Mutant(
        "v6m: the way after a block of zeros",
        "templates/kernels/common/v6m_blocks.c.j2",
        "        way += two & 240;",
        "        way = (two & 240) - 16;",
        "tests/operators/test_forms_cores.py::test_blocks_on_a_core[v6m]",
    ),
    Mutant(
        "v6m: a carry between the sums of two pixels",
        "templates/kernels/common/v6m_blocks.c.j2",
        "add r4, r12",
        "add r4, r3",
        "tests/operators/test_forms_cores.py::test_blocks_on_a_core[v6m]",
    ),
    Mutant(
        "v6m: the second weight of a byte",
        "templates/kernels/common/v6m_gathered.c.j2",
        "ldrsb r5, [r3, r5]",
        "ldrsb r5, [r2, r5]",
        "tests/operators/test_forms_cores.py::test_gathered_on_a_core[v6m-cortex-m0]",
    ),
    Mutant(
        "dsp: the way to the first block",
        "templates/kernels/common/dsp_blocks_widen.c.j2",
        "*first += 64u;",
        "*first += 0u;",
        "tests/operators/test_forms_cores.py::test_edges",
    ),
    Mutant(
        "pools: a reciprocal a little too small",
        "templates/kernels/common/mean.c.j2",
        "/ cells + 1 : 0",
        "/ cells : 0",
        "tests/operators/test_average_pool_2d.py::test_four_channels_at_a_time",
    ),
    Mutant(
        "mve: halves of negative products",
        "templates/kernels/mul/mve.c.j2",
        "vrshlq_n_s32(vaddq_s32(a, vshrq_n_s32(a, 31)), -k->right)",
        "vrshlq_n_s32(a, -k->right)",
        "tests/operators/test_mve.py::test_pairs_of_tensors_on_cortex_m55",
    ),
    Mutant(
        "estimates: branches that are not taken",
        "tinygen/verify/instructions.py",
        'if last == "taken" and not left:',
        'if last == "taken" and left:',
        "tests/test_profile.py::test_a_log_is_read",
    ),
    Mutant(
        "one channel: filters that are not turned",
        "tinygen/kernels/one_channel.py",
        "values = call.constant(1).transpose(3, 1, 2, 0)",
        "values = call.constant(1).reshape(filters, height, width, 1)",
        "tests/operators/test_one_channel.py::test_the_convolution_computes_the_same",
    ),
    Mutant(
        "dsp: memory that is to spare, and not used",
        "tinygen/layout.py",
        "*(o for o in options if o.scratch <= free)",
        "",
        "tests/operators/test_dsp.py::test_memory_is_taken_where_there_is_room",
    ),
    Mutant(
        "sparse: padding of a gathered window",
        "templates/kernels/common/windows.c.j2",
        "memset(to, k->zero_point,",
        "memset(to, 0,",
        "tests/operators/test_sparse_forms.py::test_laws",
    ),
    Mutant(
        "sparse: a window at the right edge, all at once",
        "templates/kernels/common/windows.c.j2",
        "x + taps <= k->in_w",
        "x + taps <= k->in_w + 1",
        "tests/operators/test_sparse_forms.py::test_windows",
    ),
    Mutant(
        "sparse: the pixel that has no partner",
        "templates/kernels/common/sparse.j2",
        "const int32_t both = i + 1 < n;",
        "const int32_t both = 1;",
        "tests/operators/test_sparse_forms.py::test_laws",
    ),
    Mutant(
        "sparse: where windows end and unpacked weights begin",
        "templates/kernels/common/sparse.j2",
        "scratch + k->gathered, output",
        "scratch, output",
        "tests/operators/test_sparse_forms.py::test_laws",
    ),
    Mutant(
        "sparse: scratch memory for unpacked weights",
        "tinygen/kernels/sparse.py",
        "scratch=max(gathered + unpacked, 1)",
        "scratch=max(gathered, 1)",
        "tests/operators/test_sparse_forms.py::test_laws",
    ),
    Mutant(
        "sparse: the place of a weight that is left over in 1:4",
        "templates/kernels/sparse/n_of_m.c.j2",
        "x += k->hop; /* where",
        "x += 0; /* where",
        "tests/operators/test_sparse_forms.py::test_laws[n_of_m]",
    ),
    Mutant(
        "sparse: the longest distance",
        "tinygen/kernels/sparse_layouts.py",
        "FARTHEST = 15",
        "FARTHEST = 16",
        "tests/operators/test_sparse_forms.py::test_packing_round_trip",
    ),
    Mutant(
        "sparse: the block that is named twice",
        "tinygen/kernels/sparse_layouts.py",
        "np.where(repeated[:, None], 0, row[places])",
        "row[places]",
        "tests/operators/test_sparse_forms.py::test_packing_round_trip",
    ),
    Mutant(
        "sparse: weights whose zero is not 0",
        "tinygen/kernels/sparse.py",
        " or any(weights_of(call).q.zero_points)",
        "",
        "tests/operators/test_sparse_forms.py::test_refusals",
    ),
    Mutant(
        "the codebook of the next channels",
        "templates/kernels/common/codebook.c.j2",
        "reader->table += k->levels;",
        "reader->table += 0;",
        "tests/operators/test_forms.py::test_laws[codebook]",
    ),
    Mutant(
        "a run of Huffman-coded weights that goes on in the next channel",
        "templates/kernels/common/entropy.c.j2",
        "    *reader = at;",
        "    at.run = 0;\n    *reader = at;",
        "tests/operators/test_forms.py::test_laws[entropy]",
    ),
    Mutant(
        "forms of weights whose code is larger than what they save",
        "tinygen/selection.py",
        " + sum(code.values())",
        "",
        "tests/test_storage.py::test_a_form_is_chosen_where_it_pays",
    ),
)


def copy_to(folder: Path) -> None:
    """The files that tests need, without caches."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            shutil.copy(source, folder / name)


def passes(folder: Path, tests: str) -> bool:
    """Whether `tests` pass in `folder`, where the package in the current folder comes before any installed one."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", tests]
    return subprocess.run(command, cwd=folder, capture_output=True).returncode == 0


def survives(mutant: Mutant, folder: Path) -> str:
    """Why `mutant` is not caught; empty if it is."""
    file = folder / mutant.file
    text = file.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        return f"its text stands {text.count(mutant.old)} times in {mutant.file}"
    file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        return f"{mutant.tests} pass" if passes(folder, mutant.tests) else ""
    finally:
        file.write_text(text, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description="Deliberate bugs, each of which some test must notice.")
    parser.add_argument("--only", help="run only the mutants whose name contains this")
    options = parser.parse_args()
    chosen = [m for m in MUTANTS if not options.only or options.only in m.name]
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        folder = Path(temporary)
        copy_to(folder)
        broken = [t for t in sorted({m.tests for m in chosen}) if not passes(folder, t)]
        for tests in broken:
            print(f"FAILED   {tests} fails without any mutant")
        alive = 0
        for mutant in chosen:
            reason = survives(mutant, folder)
            alive += bool(reason)
            print(f"{'SURVIVED' if reason else 'caught  '} {mutant.name}{f': {reason}' if reason else ''}", flush=True)
    print(f"{len(chosen) - alive} of {len(chosen)} mutants caught")
    return 1 if alive or broken else 0


if __name__ == "__main__":
    sys.exit(main())
