"""Torch files are read without being run: the same tensors, or a refusal that says why."""

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.torch_zip import read_torch_zip
from vla.errors import CheckpointError


def make_state():
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(6, 4, generator=generator)
    return {
        "weight": base,
        "turned": base.T,
        "part": base[1:3, ::2],
        "half": base.half(),
        "brain": base.bfloat16(),
        "double": base.double(),
        "count": torch.tensor(7),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "flags": torch.tensor([True, False]),
        "none": torch.zeros(0, 3),
    }


def save(value, path):
    torch.save(value, path)
    return path


def rewrite(path, **changed):
    """The same zip with other entries (bytes; None leaves one out) and right checksums."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    top = next(iter(entries)).split("/")[0]
    entries |= {f"{top}/{name}": content for name, content in changed.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            if content is not None:
                archive.writestr(name, content)
    return path


def write_program(program, path):
    save({"a": torch.ones(4)}, path)
    return rewrite(path, **{"data.pkl": program})


def test_state_dicts_come_back(tmp_path):
    state = make_state()
    read = read_torch_zip(save(state, tmp_path / "x.pt"))
    assert list(read) == list(state)
    for name, tensor in state.items():
        assert (read[name].dtype, read[name].shape) == (tensor.dtype, tensor.shape), name
        assert torch.equal(read[name], tensor), name
    # storages are shared as they were, and writing to them leaves the file alone
    read["weight"][1, 0] = 5.0
    assert read["turned"][0, 1] == read["part"][0, 0] == 5.0
    assert torch.equal(read_torch_zip(tmp_path / "x.pt")["weight"], state["weight"])


def test_modules_and_containers_in_containers(tmp_path):
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    parameter = torch.nn.Parameter(torch.ones(2))
    whole = {
        "model": OrderedDict(net=module.state_dict(), other={"p": parameter}),
        "list": [torch.zeros(1), (torch.ones(1), None)],
        "epoch": 3, "rate": 1e-4, "name": "a run", "done": False, "huge": 2**70,
    }  # fmt: skip
    read = read_torch_zip(save(whole, tmp_path / "x.pt"))
    want = {f"model.net.{name}": tensor for name, tensor in module.state_dict().items()}
    assert read.keys() == {*want, "model.other.p", "list.0", "list.1.0"}
    assert all(torch.equal(read[name], tensor) for name, tensor in want.items())


class Attack:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments", "told"),
    [
        (os.system, ("touch {}",), r"posix\.system|nt\.system"),
        (eval, ("open('{}', 'w')",), r"builtins\.eval|__builtin__\.eval"),
        (getattr, (torch, "load"), "asks for"),
        (OrderedDict, ([("a", 1)],), "OrderedDict"),
        (torch._utils._rebuild_tensor_v2, (1, 0, (), (), False, {}), "_rebuild_tensor_v2"),
    ],
)
def test_nothing_is_run(tmp_path, function, arguments, told):
    witness = tmp_path / "run"
    arguments = [one.format(witness) if isinstance(one, str) else one for one in arguments]
    if function is getattr:  # a module cannot be pickled; its name can
        arguments = ["torch", "load"]
    program = pickle.dumps({"a": Attack(function, *arguments)}, protocol=2)
    path = write_program(program, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=told):
        read_torch_zip(path)
    assert not witness.exists()


@pytest.mark.parametrize(
    ("program", "told"),
    [
        (b"\x80\x02}(K\x01", "no sense|no end"),
        (b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00lsR.", r"os\.system"),
        (b"\x80\x02ctorch\nFloatStorage\n.", "FloatStorage"),
        (b"\x80\x02(K\x01K\x02d.", "instruction DICT"),
        (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "instruction NEWOBJ"),
        (b"\x80\x02\x82\x01.", "instruction EXT1"),
        (b"\x80\x02Vname\nQ.", "instruction UNICODE"),
        (b"\x80\x02X\x01\x00\x00\x00aQ.", "names a storage"),
        (b"\x80\x02}}X\x01\x00\x00\x00aK\x01sb.", "attributes"),
        (b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.", "without end"),  # contains itself
        (b"\x80\x02}](K\x01es]s.", "stands where|no sense"),
        (b"\x80\x02R.", "no sense"),
        (b"\x80\x02h\x07.", "no sense"),
        (b"", "no sense|no end"),
    ],
)
def test_other_instructions_are_named(tmp_path, program, told):
    with pytest.raises(CheckpointError, match=told):
        read_torch_zip(write_program(program, tmp_path / "x.pt"))


def test_a_container_in_thousands_of_places_is_refused(tmp_path):
    level = [torch.ones(1)]
    for _ in range(10):
        level = [level] * 50
    with pytest.raises(CheckpointError, match="without end"):
        read_torch_zip(save(level, tmp_path / "x.pt"))


def describe(*, count=4, offset=0, size=(2, 2), stride=(2, 1), kind="FloatStorage"):
    """A pickle of one tensor, with numbers of choice."""

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return ("storage", getattr(torch, kind), "0", "cpu", count) if obj is mark else None

    mark = Storage()
    arguments = (mark, offset, size, stride, False, OrderedDict())
    buffer = io.BytesIO()
    Pickler(buffer, protocol=2).dump({"a": Attack(torch._utils._rebuild_tensor_v2, *arguments)})
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("lies", "told"),
    [
        ({"offset": 1}, "does not lie within"),
        ({"size": (3, 2)}, "does not lie within"),
        ({"stride": (3, 1)}, "does not lie within"),
        ({"size": (10**12,), "stride": (0,)}, "does not lie within"),
        ({"size": (10**12, 0), "stride": (1, 1), "offset": 99}, "does not lie within"),
        ({"offset": -1}, "offset -1"),
        ({"stride": (-1, 1)}, "strides"),
        ({"size": (2, 2, 1)}, "strides"),
        ({"size": (1,) * 26, "stride": (1,) * 26}, "26 of them"),
        ({"size": (2**62, 2**62, 0), "stride": (1, 1, 1)}, "no sense|within"),
        ({"size": (True, 2)}, "size"),
        ({"count": 5}, "16 bytes for 5"),
        ({"count": -4}, "16 bytes for -4"),
        ({"kind": "DoubleStorage"}, "16 bytes for 4"),
        ({"kind": "ComplexFloatStorage"}, "ComplexFloatStorage"),
    ],
)
def test_tensors_never_leave_their_storage(tmp_path, lies, told):
    assert read_torch_zip(write_program(describe(), tmp_path / "x.pt"))["a"].sum() == 4
    with pytest.raises(CheckpointError, match=told):
        read_torch_zip(write_program(describe(**lies), tmp_path / "x.pt"))


def test_a_tensor_is_no_storage(tmp_path):
    """Made of one whose rows overlap it would reach behind the storage's end."""
    call = b"ctorch._utils\n_rebuild_tensor_v2\n("
    storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQ"
    rows = call + storage + b"K\x03K\x04K\x01\x86K\0K\x01\x86\x89}tR"  # (4, 1), strides (0, 1)
    forged = b"\x80\x02}X\x01\0\0\0a" + call + rows + b"K\0K\x04\x85K\x01\x85\x89}tRs."
    with pytest.raises(CheckpointError, match="made of another tensor"):
        read_torch_zip(write_program(forged, tmp_path / "x.pt"))


def test_zips_that_torch_does_not_write(tmp_path):
    path = tmp_path / "x.pt"
    for changed, told in (
        ({"data/0": None}, "has no"),
        ({"data.pkl": None}, "0 data.pkl"),
        ({"byteorder": b"big"}, "byte order"),
    ):
        with pytest.raises(CheckpointError, match=told):
            read_torch_zip(rewrite(save({"a": torch.ones(4)}, path), **changed))
    torch.save({"a": torch.ones(4)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"before 1\.6"):
        read_torch_zip(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", describe())
    with pytest.raises(CheckpointError, match="compressed"):
        read_torch_zip(path)
    with pytest.raises(CheckpointError, match="No such file"):
        read_torch_zip(tmp_path / "missing.pt")


def test_numbers_between_the_bounds_of_their_type_are_copied(tmp_path):
    """Another zip tool does not align: such storages cannot be mapped, but they are read."""
    path = rewrite(save({"a": torch.arange(4.0)}, tmp_path / "x.pt"))
    with zipfile.ZipFile(path) as archive:
        (entry,) = (one for one in archive.infolist() if one.filename.endswith("data/0"))
    start = entry.header_offset + 30 + len(entry.filename)
    assert start % 4, "this zip happens to be aligned; give the file another name"
    assert torch.equal(read_torch_zip(path)["a"], torch.arange(4.0))


FUZZ = settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip


@FUZZ
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_file_is_refused_or_the_same(tmp_path, place, byte, cut):
    path = save(make_state(), tmp_path / "x.pt")
    content = bytearray(path.read_bytes())
    index = int(place * len(content))
    content[index] = byte
    path.write_bytes(content[:index] if cut else content)
    try:
        read = read_torch_zip(path)
    except CheckpointError:
        return
    state = make_state()
    assert read.keys() == state.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in state.items())


@FUZZ
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255))))
def test_a_forged_program_gives_tensors_or_a_refusal(tmp_path, changes):
    """Checksums are right here: whatever comes back lies within what the file holds."""
    path = save(make_state(), tmp_path / "x.pt")
    with zipfile.ZipFile(path) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith("data.pkl"))
        program = bytearray(archive.read(name))
    for place, byte in changes:
        program[int(place * len(program))] = byte
    rewrite(path, **{"data.pkl": bytes(program)})
    try:
        read = read_torch_zip(path)
    except CheckpointError:
        return
    for tensor in read.values():
        assert isinstance(tensor, torch.Tensor)
        assert tensor.numel() <= 24
        tensor.clone()


def test_the_index_of_the_zip_may_lie(tmp_path):
    """The central directory points where it likes; the entry must be there, and as long."""
    path = save({"a": torch.ones(4)}, tmp_path / "x.pt")
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.start_dir
    struct.pack_into("<I", content, start + 42, len(content) - 8)  # the first entry's place
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"not where|zip"):
        read_torch_zip(path)
