"""The original's pickles: golden files, Python 2's three protocols, hostile and damaged files, round trips.

golden/checkpoints/python2_protocolN.pkl: one dict with every kind of value, by cPickle of Python 2.7.18 and
NumPy 1.11.1 with protocol N.
"""

import bz2
import collections
import copyreg
import datetime
import encodings.raw_unicode_escape  # noqa: F401 - a text of a pickle loads it at first
import gc
import gzip
import json
import lzma
import math
import os
import pickle
import pickletools
import random
import subprocess
import sys
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from samplernn_theano.errors import CheckpointError, OutputError
from samplernn_theano.original import pickles, unpickler
from samplernn_theano.original.tags import RESULTS

GOLDEN = Path(__file__).parents[1] / "golden" / "checkpoints"
PYTHON2 = [GOLDEN / f"python2_protocol{n}.pkl" for n in range(3)]
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
FLOAT32 = b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"


def same(a, b):
    """Equal, of the same types, NaN equal to itself."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


def loads(tmp_path, data):
    (tmp_path / "x.pkl").write_bytes(data)
    return pickles.read(tmp_path / "x.pkl")


def dumps(tmp_path, value):
    pickles.write(tmp_path / "x.pkl", value)
    return (tmp_path / "x.pkl").read_bytes()


@pytest.mark.parametrize("family", RESULTS)
def test_parameters_of_the_original(family):
    expected = json.loads((GOLDEN / "resume.json").read_text())[f"{family}/i97_params"]
    (path,) = (GOLDEN / RESULTS[family]).rglob("params_*_i97_*.pkl")
    parameters = pickles.read(path)
    about = {k: [list(a.shape), str(a.dtype), a.astype("f8").sum()] for k, a in parameters.items()}
    assert about == expected
    assert all(a.flags.c_contiguous and a.flags.writeable for a in parameters.values())


@pytest.mark.parametrize(
    "path", sorted(GOLDEN.glob("results_*/**/*.pkl")), ids=lambda p: p.parts[-2][:3] + p.name
)
def test_what_was_read_is_written_as_it_was(path, tmp_path):
    """Byte for byte, but for arguments, where Python 2 may hold equal strings twice."""
    value = pickles.read(path)
    data = dumps(tmp_path, value)
    assert data == path.read_bytes() or path.name == "args.pkl"
    assert same(loads(tmp_path, data), value)


@pytest.mark.parametrize("path", PYTHON2, ids=lambda p: p.stem)
def test_every_value_of_python_2_in_every_protocol(path):
    value = pickles.read(path)
    assert same(value["W"], (np.arange(24, dtype="f4") / 7 - 1).reshape(4, 6))
    assert same(value["b"], np.array([0, 1e-30, np.nan, -np.inf], "f4"))
    assert same(value["F"], np.arange(6, dtype="f8").reshape(2, 3)), "was in Fortran order"
    assert same(value["B"], np.arange(3, dtype="i4")), "was big-endian"
    assert same(value["flags"], np.array([True, False, True]))
    assert same(value["empty"], np.zeros((0, 3), "f4"))
    assert same(value["zero_d"], np.array(2.5))
    assert same(value["u1"], np.arange(256).astype("u1"))
    assert same(value["scalars"], [np.float32(1.5), np.float64(0.1), np.int64(-7), np.bool_(True)])
    plain = [None, True, False, 0, 255, 65536, -1, 2**31, 2**70, -(2**70), 0.1, 1e300, math.inf]
    assert same(value["plain"], plain)
    assert value["text"] == ["", "x", "it's", "\xe9\n\\", "\u4e2d\u0301 \\ \n", "ab"]
    nested = ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [[]], {}, {"k": {}})
    assert same(value["nested"], nested)


def test_the_bytes_written_are_cpickles(tmp_path):
    costs = [np.float32(1.5), np.float32(2.5)]
    log = {"iter": [40, 80], "cost": costs, "x": (0.1, True, None, "it's", "iter")}
    assert dumps(tmp_path, log) == (
        b"(dp1\nS'iter'\np2\n(lp3\nI40\naI80\nasS'cost'\np4\n(lp5\ncnumpy.core.multiarray\nscalar\np6\n"
        b"(cnumpy\ndtype\np7\n(S'f4'\nI0\nI1\ntRp8\n(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbS'\\x00\\x00\\xc0?'\ntRp9\n"
        b"ag6\n(g8\nS'\\x00\\x00 @'\ntRp10\nasS'x'\n(F0.10000000000000001\nI01\nNS\"it's\"\np11\ng2\ntp12\ns."
    )


LATIN1 = st.text(st.characters(max_codepoint=255), max_size=8)
DTYPES = st.sampled_from([np.dtype(t) for t in ("f4", "f8", "f2", "i4", "i8", "u1", "b1", "u2")])
SHAPES = stn.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | LATIN1
LEAVES |= DTYPES.flatmap(lambda d: stn.arrays(d, SHAPES)) | DTYPES.flatmap(stn.from_dtype)


VALUES = st.recursive(
    LEAVES, lambda s: st.lists(s) | st.lists(s).map(tuple) | st.dictionaries(LATIN1, s), max_leaves=20
)


@given(VALUES)
def test_round_trip(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "round_trip.pkl"
    pickles.write(path, value)
    data = path.read_bytes()
    assert same(pickles.read(path), value)
    pickles.write(path, pickles.read(path))
    assert path.read_bytes() == data or data.count(b"scalar") > 1, "equal values give equal bytes"


NO_PLACE = [2**63, -(2**63) - 1, "\u4e2d", 1j, {1: 2}, {1, 2}, b"x", np.array(["x"]), np.array([None])]
NO_PLACE.append(NO_PLACE)  # in itself


@pytest.mark.parametrize("value", NO_PLACE, ids=lambda value: str(value)[:9])
def test_what_has_no_place_in_a_pickle_is_not_written(value, tmp_path):
    (tmp_path / "x.pkl").write_bytes(b"old")
    with pytest.raises(OutputError, match=r"x\.pkl"):
        dumps(tmp_path, [value])
    assert [p.name for p in tmp_path.iterdir()] == ["x.pkl"]
    assert (tmp_path / "x.pkl").read_bytes() == b"old"


NAMES = """os.system posix.system nt.system subprocess.Popen commands.getoutput __builtin__.eval builtins.exec
__builtin__.execfile __builtin__.__import__ __builtin__.getattr __builtin__.setattr __builtin__.file io.open
_io.FileIO pty.spawn runpy._run_code runpy.run_path cProfile.runctx profile.run trace.Trace bdb.Bdb.run
pdb.run timeit.timeit code.InteractiveInterpreter ctypes.CDLL ctypes.pythonapi importlib.import_module
importlib._bootstrap._load marshal.loads types.FunctionType types.CodeType operator.methodcaller
operator.attrgetter functools.partial pickle.loads cPickle.loads copy_reg._reconstructor copyreg.add_extension
numpy.f2py.crackfortran.getlincoef numpy.load numpy.ndarray.tofile numpy.dtype.__class__ numpy.memmap
numpy.core.multiarray._reconstruct.__globals__ numpy.testing.utils.runstring numpy.core.multiarray.fromfile
numpy._core.records.fromfile _codecs.encode.__self__ _codecs.decode codecs.open distutils.file_util.write_file
distutils.spawn.spawn asyncio.unix_events._UnixSubprocessTransport._start asyncio.create_subprocess_shell
multiprocessing.util.spawnv_passfds multiprocessing.context.Process uuid._get_command_stdout uuid._popen
_aix_support._read_cmd_output _osx_support._read_output pydoc.pipepager pip.main ensurepip._run_pip
lib2to3.pgen2.pgen.ParserGenerator webbrowser.open socket.create_connection shutil.rmtree sys.modules
sys.setrecursionlimit torch.load __main__.x""".split()
ASK = [  # for a name, as an original's value, an object, and an object of a class; CANARY would be created
    b"c%s\n%s\n(S'touch CANARY'\ntR.",
    b"(dS'W'\nc%s\n%s\n(S'open(\"CANARY\", \"w\")'\ntRs.",
    b"\x80\x02(c%s\n%s\nU\x06CANARYU\x01wo0N.",
    b"(S'touch CANARY'\ni%s\n%s\n.",
    b"c%s\n%s\n",  # refused at the name, even if the rest is missing
]
HUGE = b"\xff" * 7 + b"\x0f"
HOSTILE = {  # what is named in the message: a pickle that asks for it
    "numpy.core.multiarray._reconstruct with unusual": ARRAY.replace(b"ndarray", b"dtype") + b".",
    "numpy.dtype with unusual": b"cnumpy\ndtype\n((lI0\nI1\ntR.",
    "numpy.ndarray with unusual": b"cnumpy\nndarray\n((I1000000000\nttR.",
    "_codecs.encode with unusual": b"c_codecs\nencode\n(Vx\nS'zip'\ntR.",
    "an array of O8": b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR.",
    "an array of V9": b"cnumpy\ndtype\n(S'V9'\nI0\nI1\ntR.",
    "opcode INST": b"(inumpy\nndarray\n.",
    "the state of an object": b"(lp0\n(dS'__class__'\nI1\nsb.",
    "opcode OBJ": b"(cnumpy\nndarray\no0N.",
    "opcode NEWOBJ,": b"cnumpy\nndarray\n)\x81.",
    "opcode NEWOBJ_EX": b"cnumpy\nndarray\n)}\x92.",
    "opcode PERSID": b"Pname\n.",
    "opcode BINPERSID": b"NQ.",
    **{f"opcode EXT{n}": b"%c\xf0%b." % (code, bytes(n - 1)) for n, code in ((1, 130), (2, 131), (4, 132))},
    "opcode STACK_GLOBAL": b"U\x02osU\x06system\x93.",
    "opcode FRAME": b"\x95" + HUGE + b"cos\nsystem\n.",
    "opcode BYTEARRAY8": b"\x96" + HUGE,
    "opcode BINUNICODE8": b"\x8d" + HUGE,
    "opcode BINBYTES8": b"\x8e" + HUGE,
    "opcode LONG4": b"\x8b\xff\xff\xff\x7f.",
    "opcode NEXT_BUFFER": b"\x97.",
    "opcode READONLY_BUFFER": b"U\x02ab\x98.",
    "opcode EMPTY_SET": b"\x8f.",
    "opcode DUP": b"N2\x86.",
    "opcode POP,": b"N0N.",
    "protocol 4": b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00N.",
    "protocol 5": b"\x80\x05\x97.",
    r"evil\x1b[31m.\x07": b"cevil\x1b[31m\n\x07\n.",
}


def assert_refused(name, data, folder):
    modules = set(sys.modules)
    with pytest.raises(CheckpointError) as error:
        loads(folder, data)
    assert name in str(error.value) and "x.pkl" in str(error.value)
    assert not (folder / "CANARY").exists() and set(sys.modules) == modules


@pytest.mark.parametrize("name", NAMES)
def test_what_a_pickle_names_is_neither_imported_nor_executed(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for split in {name.index("."), name.rindex(".")}:
        for ask in ASK:
            data = ask % (name[:split].encode(), name[split + 1 :].encode())
            assert_refused(f"asks for {name}, which no checkpoint needs; it was not executed", data, tmp_path)


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_pickles_are_refused_by_what_they_ask_for(what, tmp_path):
    copyreg.add_extension("os", "system", 240)  # which pickles of this process can name by a number
    try:
        assert_refused(what, HOSTILE[what], tmp_path)
    finally:
        copyreg.remove_extension("os", "system", 240)


VALUES_OF_DICTS = b"(lp1\n(lp2\nS'a'\naI1\naa(lp3\nS'b'\naI2\naa"  # a list of pairs, as Python 2 writes it
DICTS = {
    "ordered": b"ccollections\nOrderedDict\n(" + VALUES_OF_DICTS + b"tR.",
    "ordered, of Python 3": b"\x80\x02ccollections\nOrderedDict\n)R(U\x01aK\x01U\x01bK\x02u.",
    "default": b"ccollections\ndefaultdict\n(c__builtin__\nlist\ntRS'a'\nI1\nsS'b'\nI2\ns.",
    "default, of none": b"ccollections\ndefaultdict\n(NtRS'a'\nI1\nsS'b'\nI2\ns.",
}


@pytest.mark.parametrize("name", DICTS)
def test_other_dicts_become_plain_ones(name, tmp_path):
    assert same(loads(tmp_path, DICTS[name]), {"a": 1, "b": 2})


@pytest.mark.parametrize("end", [b"", b"\r", b"\r\n", b"\x1a", b"\r\n\x1a"])
@pytest.mark.parametrize("path", PYTHON2, ids=lambda p: p.stem)
def test_line_ends_of_windows_are_restored(path, end, tmp_path):
    converted = path.read_bytes().replace(b"\n", b"\r\n")
    assert same(loads(tmp_path, converted + end), pickles.read(path))
    with pytest.raises(
        CheckpointError, match="line ends were converted .CRLF or CR.; copy .* in binary mode"
    ):
        loads(tmp_path, converted[:-4])


@pytest.mark.parametrize("path", PYTHON2, ids=lambda p: p.stem)
def test_a_line_end_behind_a_pickle_is_left_out(path, tmp_path):
    assert same(loads(tmp_path, path.read_bytes() + b"\n"), pickles.read(path))


@pytest.mark.parametrize("text", [b"\r", b"\r\r\n", b"half", b"the first stays"])
def test_line_ends_that_were_converted_otherwise_are_restored(text, tmp_path):
    lines = dumps(tmp_path, value := {"W": np.arange(300, dtype="f4"), "\xfc": "a\nb\r", "c": 2.5}).split(
        b"\n"
    )
    kept = {b"half": len(lines) // 2, b"the first stays": 1}.get(text, 0)
    end = b"\r\n" if kept else text
    data = b"\n".join([*lines[:kept], end.join(lines[kept:])])
    assert same(loads(tmp_path, data), value)


NUMBERS = {"W": np.ones(3, "f4"), "b": np.zeros(2, "f4")}
ENTRIES = {
    "set": {1},
    "deque": collections.deque([1]),
    "datetime": datetime.datetime(2020, 1, 1),
    "complex": 1j,
    "numpy.matrix": np.matrix([[1.0]]),
    "_mareconstruct": np.ma.array([1.0]),
    "an array of O8": np.array(["a", None], object),
    "an array of U1": np.array(["a"]),
}


@pytest.mark.parametrize(
    "nest", [lambda value: value, lambda value: [1, (2, [value])]], ids=["bare", "nested"]
)
@pytest.mark.parametrize("protocol", [0, 1, 2])
@pytest.mark.parametrize("name", ENTRIES)
def test_the_entry_that_is_refused_is_named_with_the_remedy(name, protocol, nest, tmp_path):
    value = {**NUMBERS, "cost": nest(ENTRIES[name]), "z": 3}
    with pytest.raises(CheckpointError, match=rf"{name}, .* \(entry 'cost'\); leave it out .* plain array"):
        loads(tmp_path, pickle.dumps(value, protocol))


@pytest.mark.parametrize("factory", [list, float, np.float32])
def test_the_factory_of_a_default_is_never_called(factory, tmp_path):
    value = collections.defaultdict(factory, NUMBERS)
    assert same(loads(tmp_path, pickle.dumps(value, 2)), NUMBERS)


@pytest.mark.parametrize(
    "name",
    ["theano.sandbox.cuda.type.CudaNdarray_unpickler", "theano.gpuarray.type.GpuArray_unpickler"]
    + ["theano.tensor.sharedvar.TensorSharedVariable", "pygpu.gpuarray.reconstruct"],
)
def test_values_of_theano_are_named_with_the_remedy(name, tmp_path):
    module, _, last = name.rpartition(".")
    data = f"(dS'W'\nc{module}\n{last}\n({ARRAY.decode()}tRs.".encode()
    told = f"{name}), perhaps of a GPU (entry 'W'); nothing was executed. Write them as arrays"
    assert_refused(told, data, tmp_path)
    with pytest.raises(CheckpointError, match=r"python -c .*pickle.*get_value.*, 2\)\""):
        loads(tmp_path, data)


COMPRESSED = [(gzip.compress, "gunzip"), (bz2.compress, "bunzip2"), (lzma.compress, "unxz")]


@pytest.mark.parametrize(("compress", "tool"), COMPRESSED)
def test_compressed_files_are_named_with_the_tool_that_unpacks_them(compress, tool, tmp_path):
    with pytest.raises(CheckpointError, match=rf"is compressed by \w+; unpack it first: {tool} < .*x.pkl"):
        loads(tmp_path, compress(PYTHON2[0].read_bytes()))


KINDS = {
    b"<!DOCTYPE html>": "is a web page",
    b"\xef\xbb\xbf\r\n <html>": "is a web page",
    b"<\0\0\0\0\0\0\0" + b'{"a":{"dtype":"F32"}}': "safetensors",
    b"\x89PNG\r\n\x1a\nP": "is a picture",
    b"%PDF-1.4": "is a document",
    b"ID3\x03\0": "is a sound",
    b"\0\0\0\x20ftypM4A ": "is a sound",
    b"\x18\0\0\0\0\0\0\0\xa3\x7f": "of TensorBoard",
    b"\x1f\x9d\x90x": "unpack it first: gunzip <",
    b"\x5d\0\0\x80\0": "unlzma <",
    b"\x04\x22\x4d\x18x": "unlz4 <",
    b'{"family": "three_tier"}\n': "is a text; give .* or the folder of a run",
    b'[{"event": "start"}': "is a text",
    b"import os\nprint(1)\n": "is a text",
    b"Parameters:\n  dim 1024\n": "is a text",
    b"Gr\xfc\xdfe\n": "is a text",
    bytes(100): "is damaged or no pickle",
    b"version https://git-lfs.github.com/spec/v1": "git lfs pull",
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.": "is a file of PyTorch",
    b"\x93NUMPY\x01\x00": "is one array of NumPy",
}


@pytest.mark.parametrize("data", KINDS)
def test_files_of_other_kinds_are_named(data, tmp_path):
    with pytest.raises(CheckpointError, match=f"x.pkl .*{KINDS[data]}"):
        loads(tmp_path, data)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"W.npy": np.zeros(2)}, "make a pickle of them"),
        ({"W.npy": np.array([{}], object)}, "holds objects that NumPy saved"),
        (
            {"run/best.pkl": None},
            "is an archive of other files .zip.; unpack it first, and give what is in it",
        ),
        ({}, "is an archive of other files"),
        ({"archive/data.pkl": None}, "is a file of PyTorch"),
    ],
)
def test_zip_archives_of_other_kinds_are_named(members, message, tmp_path):
    with zipfile.ZipFile(tmp_path / "it's.npz", "w") as archive:
        for name, value in members.items():
            with archive.open(name, "w") as file:
                file.write(b"") if value is None else np.lib.format.write_array(file, value)
    with pytest.raises(CheckpointError, match=f"it's.npz .*{message}"):
        pickles.read(tmp_path / "it's.npz")


def test_the_command_for_arrays_of_numpy_makes_a_checkpoint_of_any_name(tmp_path):
    np.savez(tmp_path / "it's.npz", W=np.arange(3, dtype="f4"))
    with pytest.raises(CheckpointError) as refused:
        pickles.read(tmp_path / "it's.npz")
    command = f"'{sys.executable}' {str(refused.value).partition(': python ')[2].removesuffix('.')}"
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    assert same(pickles.read(tmp_path / "new.pkl"), {"W": np.arange(3, dtype="f4")})


def test_a_value_that_python_3_wrote_for_python_2(tmp_path):
    value = {"W": np.arange(3, dtype="f4"), "b": np.float32(2)}
    assert same(loads(tmp_path, pickle.dumps(value, 2)), value)


def array(shape, dtype, data):
    return ARRAY + b"(I1\n(" + shape + b"t" + dtype + b"I00\n" + data + b"tb."


COLLIDING = [((i + 1) * (2**61 - 1)).to_bytes(11, "little") for i in range(50_000)]
DAMAGED = {
    "array larger than its bytes": array(b"I1000000000\nI1000000000\n", FLOAT32, b"S''\n"),
    "negative sizes": array(b"I-1\nI-1\n", FLOAT32, b"S'abcd'\n"),
    "many dimensions": array(b"I1\n" * 33, FLOAT32, b"S'abcd'\n"),
    "huge empty array": array(b"I0\nI" + b"9" * 30 + b"\n", FLOAT32, b"S''\n"),
    "array without values": ARRAY + b".",
    "array of no type": array(b"I1\n", b"N", b"S'abcd'\n"),
    "filled twice": array(b"I1\n", FLOAT32, b"S'abcd'\n")[:-1] + b"(I1\n(I1\nt" + FLOAT32 + b"I00\nS''\ntb.",
    "data beyond latin1": array(b"I1\n", FLOAT32, b"Vab\\u4e2dd\n"),
    "bare type": FLOAT32 + b".",
    "function as value": b"(lcnumpy\ndtype\na.",
    "unknown escape": b"S'\\d'\n.",
    "string without quotes": b"Sab\n.",
    "half an escape": b"S'\\x4'\n.",
    "backslash at the end": b"S'\\'\n.",
    "half a surrogate": b"V\\ud800\n.",
    "huge integer": b"I" + b"9" * 100_000 + b"\n.",
    "huge long": b"L" + b"9" * 100_000 + b"L\n.",
    "huge number in hexadecimal": b"I0x" + b"f" * 100_000 + b"\n.",
    "dict in itself": b"}p0\nU\x02abg0\ns" + b"Ng0\n" * 50 + b".",
    "list in itself": b"(lp0\ng0\na" + b"Ng0\n" * 50 + b".",
    "deep list": b"]" * 50 + b"a" * 49 + b".",
    "deep tuple as key": b"}N" + b"\x85" * 900_000 + b"Ns.",  # would overflow the stack
    "doubled tuple as key": b"(N\x85"  # would take forever
    + b"".join(b"q%ch%c\x86" % (i, i) for i in range(60))
    + b"Nd.",
    "numbers of equal hash as keys": b"(" + b"".join(b"\x8a\x0b%bN" % n for n in COLLIDING) + b"d.",
    "numbers of equal hash in the memo": b"".join(b"Np%d\n" % int.from_bytes(n, "little") for n in COLLIDING),
    "number as key": b"}I1\nNs.",
    "key twice": b"}U\x02abNsU\x02abNs.",
    "key without value": b"}(U\x02abu.",
    "append to a tuple": b")Na.",
    "reference to nothing": b"g5\n.",
    "reference far away": b"Np" + b"9" * 30 + b"\n.",
    "length beyond the end": b"T\xff\xff\xff\x7fabc.",
    "length back to the opcode itself": b"T\xfb\xff\xff\xffabc.",
    "two values": b"NN.",
    "no value": b".",
    "more after the end": b"N.N",
    "values below a mark": b"(]N(all.",
    "mark too many": b"(N.",
    "no mark": b"Nt.",
    "calling a number": b"I1\n)R.",
    "calling a text": b"U\x02ab)R.",
    "calling a doubled list": b"(]q\x00"  # would be spelt out in the error's message
    + b"".join(b"(h%ch%clq%c" % (i, i, i + 1) for i in range(60))
    + b"K\x01R.",
    "calling again and again": b"cnumpy\ndtype\n(S'f4'\nI0\nI1\nt" + b"R)" * 50 + b".",
    "setting an item of a list": b"]K\x00Ns.",
    "setting an item of an array": ARRAY + b"U\x01aNs.",
    "appending to an array": ARRAY + b"Na.",
    "extending a type": FLOAT32 + b"(NNe.",
    "no opcode": b"\xff.",
    "empty": b"",
}


@pytest.mark.parametrize("what", DAMAGED)
def test_damaged_pickles(what, tmp_path):
    with pytest.raises(CheckpointError, match=r"x\.pkl is damaged or no pickle \("):
        loads(tmp_path, DAMAGED[what])


def test_missing_huge_and_long_files(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "fifo.pkl")
    for path in Path("/dev/zero"), tmp_path / "fifo.pkl":
        with pytest.raises(CheckpointError, match=f"{path} is a pipe or a device; give a file"):
            pickles.read(path)
    for path in tmp_path, tmp_path / "none.pkl":
        with pytest.raises(CheckpointError, match=f"There is no file {path}"):
            pickles.read(path)
    with open(tmp_path / "huge.pkl", "wb") as file:
        file.truncate(2**32 + 1)
    with pytest.raises(CheckpointError, match="more than 4 GB"):
        pickles.read(tmp_path / "huge.pkl")
    monkeypatch.setattr(unpickler, "_MAX_OPCODES", 1_000)  # so that time is bounded
    with pytest.raises(CheckpointError, match="opcodes"):
        loads(tmp_path, b"(" + b"N" * 1_000 + b"l.")


N = 50_000
STATE = b"(I1\n(I10000\nt" + FLOAT32 + b"I00\nT\x40\x9c\x00\x00" + bytes(40_000) + b"tp1\n"
BOMBS = {
    "number of the memo far away": b"Nr\xff\xff\xff\xff.",
    "lists": b"(" + b"]" * N + b"l.",
    "dicts": b"(U\x02abp0\n" + b"}h\x00Ns" * (N // 5) + b"l.",
    "small tuples": b"(" + b"N\x85NNNNNN" * (N // 8) + b"l.",
    "marks": b"(" * N,
    "memo": b"(" + b"".join(b"Np%d\n" % i for i in range(N // 8)) + b"l.",
    "doubled list": b"(]q\x00" + b"".join(b"(h%ch%clq%c" % (i, i, i + 1) for i in range(200)) + b"l.",
    "doubled tuple": b"()q\x00" + b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(200)) + b"l.",
    "one text in many arrays": b"(" + STATE + (ARRAY + b"g1\nb") * 1_000 + b"l.",
    "one list of pairs in many dicts": b"(("
    + b"".join(b"(S'%d'\nNl" % i for i in range(300))
    + b"lp1\n"
    + b"ccollections\nOrderedDict\n(g1\ntR" * 1_000
    + b"l.",
    "one array in many places": b"(" + ARRAY + b"p2\n" + STATE + b"b" + b"h\x02" * N + b"l.",
}
GROWING = {"doubled list": "unfolds", "doubled tuple": "unfolds", "one text in many arrays": "larger than"}
GROWING["one list of pairs in many dicts"] = "larger than"


@pytest.mark.parametrize("name", BOMBS)
def test_memory_is_bounded_by_the_size_of_the_file(name, tmp_path):
    gc.collect()
    start, refused = time.monotonic(), ""
    tracemalloc.start()
    try:
        loads(tmp_path, BOMBS[name])
    except CheckpointError as error:
        refused = str(error)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 120 * len(BOMBS[name]) + 5e6, "the promise, with a smaller constant"
    assert time.monotonic() - start < 10
    assert GROWING.get(name, "") in refused


OPCODES = [opcode.code.encode("latin1") for opcode in pickletools.opcodes]


def spoil(data, generator):
    """Return `data` with bits flipped, cut off, or opcodes put in, moved or repeated."""
    data = bytearray(data)
    for _ in range(generator.randint(1, 3)):
        i, j = sorted(generator.randrange(len(data) + 1) for _ in range(2))
        match generator.randrange(5):
            case 0 if i < len(data):
                data[i] ^= 1 << generator.randrange(8)
            case 1:
                del data[max(i, 1) :]
            case 2 if i < len(data):
                data[i : i + 1] = generator.choice(OPCODES)
            case 3:
                data[i:i] = data[j : j + 20]
            case 4:
                del data[i : i + generator.randrange(20)]
    return bytes(data)


def test_damage_of_any_kind_is_an_error_or_a_value(tmp_path):
    generator = random.Random(2017)
    wavenet = min(GOLDEN.rglob("params_*.pkl"), key=lambda p: p.stat().st_size)
    sources = [
        p.read_bytes() for p in [*PYTHON2, *GOLDEN.rglob("train_log.pkl"), *GOLDEN.rglob("args.pkl"), wavenet]
    ]
    refused = 0
    for _ in range(2_000):
        data = spoil(generator.choice(sources), generator)
        start = time.monotonic()
        try:
            loads(tmp_path, data)
        except CheckpointError as error:
            assert "x.pkl" in str(error)
            refused += 1
        assert time.monotonic() - start < 5
    assert 1_000 < refused < 2_000
