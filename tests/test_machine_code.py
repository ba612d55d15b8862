"""The machine code of the kernels in the library as it is shipped, read with objdump.

It has no symbols; what needs them is looked at in src/simd/tests/.
"""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from nnrs import _core

# Rows and vectors of the largest AVX-512 tile, each a fused multiply-add for every k.
LARGEST_TILE = 14 * 2


def innermost_loops(code: list[tuple[int, str]]) -> list[list[str]]:
    """Return the code from the target of a backward jump to the jump, where no other such loop is inside."""
    place = {address: number for number, (address, _) in enumerate(code)}
    loops = []
    latest = -1  # the last beginning of the loops that have ended
    for end, (_, text) in enumerate(code):
        jump = re.match(r"j\w+\s+([0-9a-f]+)", text)
        start = place.get(int(jump[1], 16), end + 1) if jump else end + 1
        if start <= end:
            if latest < start:
                loops.append([text for _, text in code[start:end]])
            latest = max(latest, start)
    return loops


def test_loops_are_found():
    lines = ["nop", "inc %eax", "jne 1 <x>", "jmp 0 <y>", "jmp 9 <z>", "jmp *%rax", "je 6 <v>"]
    assert innermost_loops(list(enumerate(lines))) == [["inc %eax"], []]


@pytest.mark.skipif(shutil.which("objdump") is None, reason="needs program objdump")
@pytest.mark.skipif("avx512" not in _core.available_isas(), reason="needs isa avx512")
def test_largest_tile_stays_in_registers():
    command = ["objdump", "--disassemble", "--no-show-raw-insn", _core.__file__]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.finditer(r"^\s*([0-9a-f]+):\t(.*)$", listing, re.MULTILINE)
    loops = innermost_loops([(int(line[1], 16), line[2]) for line in found])
    for element in ("ps", "pd"):
        fused = re.compile(rf"vfn?m(add|sub)\d*{element}\s.*%zmm")
        tiles = [loop for loop in loops if sum(bool(fused.match(text)) for text in loop) == LARGEST_TILE]
        assert len(tiles) >= 4, f"{element}: {len(tiles)} loops of the largest tile, expected one an epilogue"
        for loop in tiles:
            assert not [text for text in loop if "%zmm" in text and "(%rsp" in text]
