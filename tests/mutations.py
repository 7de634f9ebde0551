# SPDX-License-Identifier: Apache-2.0
"""Ways to break a TFLite file, for `make fuzz`: bytes, 32-bit words, splices, and fields of the unpacked model."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flatbuffers
import numpy as np
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

Mutation = Callable[[random.Random, bytes, Sequence[bytes]], bytes]

#: Integers at which arithmetic tends to break.
WORDS = (*range(6), 8, 127, 128, 255, 256, 4095, 4096, 65535, 65536, 1 << 20, 1 << 24, 2**31 - 1, 2**31, 2**32 - 1)
INFINITY = float("inf")
FLOATS = (0.0, -0.0, -1.0, 1.0, 0.5, 1e-45, 1e-38, 1e-20, 1e-7, 1e7, 1e20, 3.4e38, INFINITY, -INFINITY, float("nan"))
#: Names that would break a C comment, a terminal or a line.
NAMES = (b"", b"t0", b"*/ int x; /*", b"\x00", b"\xff\xfe", b"a\nb\r", b"\x1b[2J", b"[/b]", b"??/", b"\\", b"x" * 5000)


def flip_bits(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A few bits, anywhere."""
    broken = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
    return bytes(broken)


def set_bytes(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A few bytes, anywhere."""
    broken = bytearray(data)
    for _ in range(rng.choice([1, 2, 8, 64])):
        broken[rng.randrange(len(broken))] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
    return bytes(broken)


def truncate(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """The file's beginning."""
    return data[: rng.randrange(len(data)) if rng.random() < 0.8 else rng.randrange(16)]


def splice(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """The beginning of one file and the end of another, where they are cut or from the same place on."""
    other = rng.choice(others)
    cut = rng.randrange(8, len(data))
    start = min(cut, len(other)) if rng.random() < 0.5 else rng.randrange(len(other))
    return data[:cut] + other[start:]


def move_block(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A piece left out, or doubled, or put elsewhere."""
    start = rng.randrange(len(data))
    end = min(len(data), start + rng.choice([1, 2, 4, 8, 64, 1024]))
    at = rng.randrange(len(data))
    rest = data[:start] + data[end:]
    return rng.choice([rest, data[:at] + data[start:end] + data[at:], rest[:at] + data[start:end] + rest[at:]])


def set_words(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A few 32-bit words: extremes, small offsets, floats. In half of the cases near the end, where tables lie."""
    broken = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        low = max(0, len(data) - 1500) if rng.random() < 0.5 else 0
        at = rng.randrange(low, len(data) - 4) & ~3
        kind = rng.random()
        if kind < 0.6:
            struct.pack_into("<I", broken, at, rng.choice(WORDS))
        elif kind < 0.8:
            struct.pack_into("<f", broken, at, rng.choice(FLOATS))
        else:
            old = struct.unpack_from("<I", broken, at)[0]
            struct.pack_into("<I", broken, at, (old + rng.randint(-16, 16)) & 0xFFFFFFFF)
    return bytes(broken)


def set_fields(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A few fields of the unpacked model: the file stays well-formed, the model does not."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = model.subgraphs[0]
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        rng.choice(_FIELDS)(rng, model, graph)
    builder = flatbuffers.Builder(1024)
    try:
        builder.Finish(model.Pack(builder), b"TFL3")
    except (struct.error, TypeError, ValueError, OverflowError):  # a value does not fit its field: break bytes instead
        return set_words(rng, data, others)
    return bytes(builder.Output())


# --- Fields ------------------------------------------------------------------------------------------------------


def _integer(rng: random.Random, near: int = 0) -> int:
    """An int32: near a known one, small, or extreme."""
    word = rng.choice(WORDS)
    signed = word - (1 << 32) if word >= 1 << 31 else word
    return rng.choice([near + rng.randint(-2, 2), near * 2, -near, rng.randint(-4, 12), signed])


def _element(rng: random.Random, values: Any, limit: int | None = None) -> list[int]:
    """`values` with one element changed, added or left out."""
    changed = [int(v) for v in values] if values is not None else []
    kind = rng.randrange(6)
    if kind == 0 and changed:
        del changed[rng.randrange(len(changed))]
    elif kind == 1:
        changed.insert(rng.randint(0, len(changed)), _integer(rng) if limit is None else rng.randrange(limit))
    elif changed:
        at = rng.randrange(len(changed))
        changed[at] = _integer(rng, changed[at]) if limit is None or rng.random() < 0.2 else rng.randrange(limit)
    return changed


def _shape(rng: random.Random, model: Any, graph: Any) -> None:
    tensor = rng.choice(graph.tensors)
    tensor.shape = _element(rng, tensor.shape)


def _shapes_alike(rng: random.Random, model: Any, graph: Any) -> None:
    """The same dimension changed wherever it occurs: more often consistent than one shape alone."""
    sizes = [int(n) for t in graph.tensors if t.shape is not None for n in t.shape]
    if not sizes:
        return
    old = rng.choice(sizes)
    new = rng.choice([old + 1, old * 2, old * 1000, 1 << 16, 1 << 24, 1, 0])
    for tensor in graph.tensors:
        if tensor.shape is not None and (tensor.buffer == 0 or rng.random() < 0.1):
            tensor.shape = [new if n == old else int(n) for n in tensor.shape]


def _scale(rng: random.Random, model: Any, graph: Any) -> None:
    quantized = [t for t in graph.tensors if t.quantization is not None and t.quantization.scale is not None]
    for tensor in rng.sample(quantized, min(len(quantized), rng.choice([1, 1, 2, 10]))):
        scales = [float(s) for s in tensor.quantization.scale]
        if scales:
            factors = FLOATS if rng.random() < 0.5 else (1e-6, 0.1, 10.0, 1e6)
            scales[rng.randrange(len(scales))] *= rng.choice(factors)
            tensor.quantization.scale = scales if rng.random() < 0.9 else scales * 2


def _zero_point(rng: random.Random, model: Any, graph: Any) -> None:
    tensor = rng.choice(graph.tensors)
    if tensor.quantization is not None:
        tensor.quantization.zeroPoint = _element(rng, tensor.quantization.zeroPoint)
        if rng.random() < 0.3:
            tensor.quantization.quantizedDimension = _integer(rng)


def _no_quantization(rng: random.Random, model: Any, graph: Any) -> None:
    rng.choice(graph.tensors).quantization = None


def _buffer(rng: random.Random, model: Any, graph: Any) -> None:
    count = len(model.buffers)
    rng.choice(graph.tensors).buffer = rng.choice([0, rng.randrange(count), count, 0xFFFFFFFF])


def _data(rng: random.Random, model: Any, graph: Any) -> None:
    """The value of a small constant (axes, shapes, begins …), or the length of any."""
    filled = [b for b in model.buffers if b.data is not None and len(b.data)]
    if not filled:
        return
    small = [b for b in filled if len(b.data) <= 64 and len(b.data) % 4 == 0]
    if small and rng.random() < 0.8:
        buffer = rng.choice(small)
        words = np.frombuffer(bytes(bytearray(buffer.data)), "<i4").copy()
        at = rng.randrange(len(words))
        words[at] = _integer(rng, 0 if abs(int(words[at])) > 1 << 28 else int(words[at]))
        buffer.data = np.frombuffer(words.tobytes(), np.uint8)
    else:
        buffer = rng.choice(filled)
        buffer.data = np.asarray(buffer.data)[: rng.randrange(len(buffer.data) + 1)]


def _type(rng: random.Random, model: Any, graph: Any) -> None:
    rng.choice(graph.tensors).type = rng.choice([*range(20), 255 - 128])


def _operands(rng: random.Random, model: Any, graph: Any) -> None:
    operator = rng.choice(graph.operators)
    if rng.random() < 0.6:
        operator.inputs = _element(rng, operator.inputs, len(graph.tensors))
    else:
        operator.outputs = _element(rng, operator.outputs, len(graph.tensors))


def _ports(rng: random.Random, model: Any, graph: Any) -> None:
    if rng.random() < 0.5:
        graph.inputs = _element(rng, graph.inputs, len(graph.tensors))
    else:
        graph.outputs = _element(rng, graph.outputs, len(graph.tensors))


def _opcode(rng: random.Random, model: Any, graph: Any) -> None:
    """Another operator under the same options, most often one that occurs in the file."""
    if rng.random() < 0.5:
        rng.choice(graph.operators).opcodeIndex = rng.randrange(len(model.operatorCodes) + 1)
    else:
        code = rng.choice(model.operatorCodes)
        code.builtinCode = rng.randrange(210)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)


def _option(rng: random.Random, model: Any, graph: Any) -> None:
    """A number in an operator's options."""
    operator = rng.choice(graph.operators)
    fields = vars(operator.builtinOptions) if operator.builtinOptions else {}
    numbers = [(k, v) for k, v in fields.items() if isinstance(v, int | float)]
    if numbers:
        key, value = rng.choice(numbers)
        new: Any = rng.choice(FLOATS) if isinstance(value, float) else _integer(rng, int(value))
        setattr(operator.builtinOptions, key, new)
    else:
        operator.builtinOptionsType = rng.randrange(130)


def _order(rng: random.Random, model: Any, graph: Any) -> None:
    """Operators in another order, one twice, or one left out."""
    operators = list(graph.operators)
    kind = rng.randrange(4)
    if kind == 0:
        rng.shuffle(operators)
    elif kind == 1:
        operators.append(rng.choice(operators))
    elif kind == 2:
        operators.pop(rng.randrange(len(operators)))
    else:
        operators = []
    graph.operators = operators


def _name(rng: random.Random, model: Any, graph: Any) -> None:
    for tensor in rng.sample(graph.tensors, rng.randint(1, len(graph.tensors))):
        tensor.name = rng.choice(NAMES)


def _odds(rng: random.Random, model: Any, graph: Any) -> None:
    """What few files have: state, several subgraphs, another version, custom operators."""
    kind = rng.randrange(5)
    if kind == 0:
        rng.choice(graph.tensors).isVariable = True
    elif kind == 1:
        model.subgraphs = [graph] * rng.choice([0, 2])
    elif kind == 2:
        model.version = _integer(rng, 3) & 0xFFFFFFFF
    elif kind == 3:
        code = rng.choice(model.operatorCodes)
        code.builtinCode = code.deprecatedBuiltinCode = 32
        code.customCode = rng.choice(NAMES)
    else:
        graph.inputs, graph.outputs = graph.outputs, graph.inputs


_FIELDS: tuple[Callable[[random.Random, Any, Any], None], ...] = (
    _shape, _shape, _shapes_alike, _shapes_alike, _scale, _scale, _zero_point, _no_quantization, _buffer, _data, _data,
    _data, _type, _operands, _operands, _ports, _opcode, _option, _option, _option, _order, _name, _odds,
)  # fmt: skip

MUTATIONS: tuple[Mutation, ...] = (
    flip_bits, set_bytes, truncate, splice, move_block, set_words, set_words, *[set_fields] * 8,
)  # fmt: skip


def mutate(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """`data` broken in one way, seldom two."""
    for mutation in _chosen(rng):
        if len(data) > 64:
            data = _safely(mutation, rng, data, others)
    return data


def _chosen(rng: random.Random) -> Iterator[Mutation]:
    yield rng.choice(MUTATIONS)
    if rng.random() < 0.15:
        yield rng.choice(MUTATIONS)


def _safely(mutation: Mutation, rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    try:
        return mutation(rng, data, others)
    except Exception:  # the schema's unpacker does not survive a file that is broken already
        return flip_bits(rng, data, others)
