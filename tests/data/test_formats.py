"""Gradwise's readers against files that NumPy, PyTorch and safetensors write, and its writer against their readers."""

import csv
import gzip
import os
import pathlib
import random
import struct
import subprocess

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

BUILD = pathlib.Path(os.environ.get("GRADWISE_BUILD", pathlib.Path(__file__).parents[2] / "build"))
PROBE = BUILD / "tests" / "data_probe"

NPY_DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1"]
SHAPES = [(), (1,), (0,), (7,), (3, 4), (2, 3, 4), (2, 0, 3), (1, 2, 3, 4, 5)]
TORCH_DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16,
    torch.float32, torch.float64, torch.uint16, torch.uint32, torch.uint64, torch.complex64, torch.float8_e4m3fn,
    torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu,
]


def probe(source, result, *words):
    return subprocess.run([PROBE, source, result, *words], capture_output=True, text=True, check=False)


def rewritten(source, tmp_path, *words):
    result = tmp_path / "rewritten.safetensors"
    done = probe(source, result, *words)
    assert done.returncode == 0, done.stderr
    return result


def some_array(dtype, shape, seed=0):
    """Random bytes seen as `dtype`, so that every kind of value comes up."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape, dtype=int))
    generator = np.random.default_rng([seed, count])
    if dtype.kind == "b":
        return np.asarray(generator.integers(0, 2, shape)).astype(dtype)
    return np.frombuffer(generator.bytes(count * dtype.itemsize), dtype).reshape(shape).copy()


def some_tensor(dtype, shape, seed=0):
    if dtype == torch.bool:
        return torch.from_numpy(some_array("b1", shape, seed))
    count = int(np.prod(shape, dtype=int))
    data = torch.from_numpy(some_array("u1", (count * dtype.itemsize,), seed))
    return data.view(dtype).reshape(shape) if count else torch.empty(shape, dtype=dtype)


def same_bytes(ours, theirs):
    """Equal type, shape and bits: NaNs count as they are."""
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    raw = [t.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b"" for t in (ours, theirs)]
    return raw[0] == raw[1]


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("endian", "<>")
@pytest.mark.parametrize("dtype", NPY_DTYPES)
def test_npy_of_every_type_and_order(dtype, endian, order, tmp_path):
    arrays = {}
    for number, shape in enumerate(SHAPES):
        array = np.asarray(some_array(endian + dtype, shape, number), order=order)
        arrays[f"array {number}"] = array
    one = arrays["array 5"]  # archives hold the same bytes: one file of its own is enough
    np.save(tmp_path / "one.npy", one)
    ours = load_file(rewritten(tmp_path / "one.npy", tmp_path))["array"]
    assert same_bytes(ours, torch.from_numpy(np.ascontiguousarray(one.astype(dtype))))
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "all.npz", **arrays)
        ours = load_file(rewritten(tmp_path / "all.npz", tmp_path))
        assert set(ours) == set(arrays)
        for name, array in arrays.items():
            theirs = torch.from_numpy(np.ascontiguousarray(array.astype(dtype)).reshape(array.shape))
            assert same_bytes(ours[name], theirs), name


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy_versions(version, tmp_path):
    array = np.arange(6, dtype="f4").reshape(2, 3)
    with open(tmp_path / "a.npy", "wb") as file:
        np.lib.format.write_array(file, array, version=version)
    assert torch.equal(load_file(rewritten(tmp_path / "a.npy", tmp_path))["array"], torch.from_numpy(array))


def test_npz_that_is_damaged(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(1000))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[600] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    done = probe(tmp_path / "a.npz", tmp_path / "out.safetensors")
    assert done.returncode == 1
    assert "a.npz:x.npy" in done.stderr


def test_object_arrays_are_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    done = probe(tmp_path / "a.npy", tmp_path / "out.safetensors")
    assert done.returncode == 1
    assert 'dtype "|O"' in done.stderr


@pytest.mark.parametrize("dtype", TORCH_DTYPES, ids=str)
def test_safetensors_of_every_type(dtype, tmp_path):
    tensors = {f"tensor {n}": some_tensor(dtype, shape, n) for n, shape in enumerate(SHAPES)}
    save_file(tensors, tmp_path / "theirs.safetensors", {"format": "pt"})
    result = rewritten(tmp_path / "theirs.safetensors", tmp_path)
    assert result.read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()
    ours = load_file(result)
    assert set(ours) == set(tensors)
    for name, tensor in tensors.items():
        assert same_bytes(ours[name], tensor), name


def test_safetensors_of_mixed_types_are_laid_out_as_the_reference_does(tmp_path):
    tensors = {
        f"{dtype} {n} ä": some_tensor(dtype, shape, n) for dtype in TORCH_DTYPES for n, shape in enumerate(SHAPES)
    }
    save_file(tensors, tmp_path / "theirs.safetensors")
    result = rewritten(tmp_path / "theirs.safetensors", tmp_path)
    assert result.read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()


def test_safetensors_metadata(tmp_path):
    metadata = {"format": "pt", "quote": 'a "b" \\', "unicode": "日本", "line": "a\nb", "empty": ""}
    save_file({"x": torch.zeros(1)}, tmp_path / "theirs.safetensors", metadata)
    with safe_open(rewritten(tmp_path / "theirs.safetensors", tmp_path), "pt") as file:
        assert file.metadata() == metadata


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(
    ("code", "dtype"), [(8, ">u1"), (9, ">i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")]
)
def test_idx_of_every_type(code, dtype, compress, tmp_path):
    array = some_array(dtype, (3, 4, 5))
    content = struct.pack(">BBBB3I", 0, 0, code, 3, *array.shape) + array.tobytes()
    (tmp_path / "a.idx").write_bytes(gzip.compress(content) if compress else content)
    ours = load_file(rewritten(tmp_path / "a.idx", tmp_path))["array"]
    assert same_bytes(ours, torch.from_numpy(array.astype(dtype[1:])))


def test_csv_as_python_reads_it(tmp_path):
    generator = random.Random(1)
    names = ["plain", 'quoted, "name"', "line\nbreak", "species"]
    species = ["setosa", 'a, "b"', "line\nbreak", "ünïcode"]
    rows = [[repr(generator.gauss(0, 10**generator.randint(-9, 9))) for _ in range(3)] for _ in range(500)]
    for row in rows:
        row.append(generator.choice(species))
        if generator.random() < 0.1:
            row[0] = generator.choice(["", "NA", "nan"])
    with open(tmp_path / "a.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *rows])

    result = rewritten(tmp_path / "a.csv", tmp_path, "species")
    values = np.array([[float(cell) if cell not in ("", "NA", "nan") else np.nan for cell in row[:3]] for row in rows])
    values = np.where(np.isnan(values), np.nanmean(values, axis=0), values)
    classes = sorted({row[3] for row in rows}, key=lambda name: name.encode())
    ours = load_file(result)
    np.testing.assert_allclose(ours["inputs"].numpy(), values, rtol=1e-9)
    assert (ours["inputs"].numpy()[:, 1:] == values[:, 1:]).all()
    assert ours["targets"].tolist() == [classes.index(row[3]) for row in rows]
    with safe_open(result, "pt") as file:
        metadata = file.metadata()
    assert [metadata[f"feature {i}"] for i in range(3)] == names[:3]
    assert [metadata[f"class {i}"] for i in range(len(classes))] == classes
