"""Writes dequantize.golden: random blocks of every type and what gguf-py decodes them to.

    pip install numpy gguf && python3 golden_dequantize.py

The file is a sequence of records, little-endian: type id (u32), byte count (u32), the bytes,
weight count (u32), the weights (f32).
"""

import pathlib
import struct

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize

SCALES = {
    Type.Q4_0: [0], Type.Q5_0: [0], Type.Q8_0: [0], Type.Q4_1: [0, 2], Type.Q5_1: [0, 2],
    Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208], Type.BF16: [], Type.F16: [],
}
SIZES = {
    Type.Q4_0: 18, Type.Q5_0: 22, Type.Q8_0: 34, Type.Q4_1: 20, Type.Q5_1: 24,
    Type.Q4_K: 144, Type.Q5_K: 176, Type.Q6_K: 210, Type.BF16: 2, Type.F16: 2,
}

random = np.random.default_rng(1)
with open(pathlib.Path(__file__).with_name("dequantize.golden"), "wb") as out:
    for kind, fields in SCALES.items():
        blocks = 32 if kind in (Type.BF16, Type.F16) else 3
        data = random.integers(0, 256, (blocks, SIZES[kind]), dtype=np.uint8)
        for field in fields:
            scales = random.normal(0, 0.05, blocks).astype(np.float16)
            data[:, field:field + 2] = scales.view(np.uint8).reshape(blocks, 2)
        if not fields:
            # Finite numbers only: the exponent's top bit cleared.
            data[:, 1] &= 0xBF
        if kind == Type.F16:
            weights = data.reshape(-1).view(np.float16).astype(np.float32)
        else:
            weights = dequantize(data.reshape(1, -1), kind).reshape(-1).astype(np.float32)
        raw = data.tobytes()
        out.write(struct.pack("<II", kind.value, len(raw)) + raw)
        out.write(struct.pack("<I", weights.size) + weights.tobytes())
