"""Slices on disk are the slices in memory, appear whole or not at all, and are written once."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from psft_jax.errors import InputError
from psft_jax.sampling.slices import Slices, slices_of, stack
from psft_jax.sampling.stored import gathered, store, stored
from psft_jax.scan import Scan, Visit

MakeScan = Callable[..., Scan]


def unread() -> Scan:
    raise AssertionError("a scan that is stored is not loaded again")


def visit(subject: str, *files: Path) -> Visit:
    return Visit(subject, "T1", unread, files)


@pytest.fixture
def parts(make_scan: MakeScan) -> dict[str, Slices]:
    """Slices of two patients, of other sizes and with other organs."""
    organ = np.zeros((4, 18, 30), bool)
    organ[:, 2:9, 20:29] = True
    low = make_scan(subject="A", shape=(4, 18, 30), organ=organ)
    wide = make_scan(subject="B", shape=(4, 24, 20))
    return {"A": slices_of(low, np.array([1, 2, 3])), "B": slices_of(wide, np.array([0, 2]))}


def the_same(found: Slices, expected: Slices) -> None:
    for a, b in zip(found.images, expected.images, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype == np.float32
    np.testing.assert_array_equal(found.lesion, expected.lesion)
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    assert found.names == expected.names
    assert found.weights == expected.weights == {}


def test_what_is_read_is_what_would_be_in_memory(parts: dict[str, Slices], tmp_path: Path) -> None:
    on_disk = gathered(store(visit(name), part, tmp_path) for name, part in parts.items())
    in_memory = stack(parts.values())
    assert len(on_disk) == 5
    np.testing.assert_array_equal(on_disk.boxes, in_memory.boxes)
    assert on_disk.names == in_memory.names
    the_same(on_disk.load(), in_memory)


def test_slices_are_chosen_in_any_order_and_more_than_once(parts: dict[str, Slices], tmp_path: Path) -> None:
    """Slices of the smaller patient alone lie on the frame of all, as they do in memory."""
    on_disk = gathered(store(visit(name), part, tmp_path) for name, part in parts.items())
    in_memory = stack(parts.values())
    for indices in ([4, 0, 4], [1, 2], [3]):
        the_same(on_disk.take(np.array(indices)).load(), in_memory.take(np.array(indices)))
    again = on_disk.take(np.array([4, 0, 2])).take(np.array([2, 0]))
    the_same(again.load(), in_memory.take(np.array([2, 4])))


def test_what_is_stored_is_found_again(parts: dict[str, Slices], tmp_path: Path) -> None:
    assert stored(visit("A"), tmp_path) is None
    written = store(visit("A"), parts["A"], tmp_path)
    found = stored(visit("A"), tmp_path)
    assert found is not None
    the_same(gathered([found]).load(), gathered([written]).load())
    assert stored(visit("B"), tmp_path) is None


def test_a_scan_that_was_corrected_is_another(parts: dict[str, Slices], tmp_path: Path) -> None:
    file = tmp_path / "scan.nii"
    file.write_text("as it was")
    store(visit("A", file), parts["A"], tmp_path / "slices")
    assert stored(visit("A", file), tmp_path / "slices") is not None
    file.write_text("corrected")
    assert stored(visit("A", file), tmp_path / "slices") is None
    store(visit("A", file), parts["B"], tmp_path / "slices")
    found = stored(visit("A", file), tmp_path / "slices")
    assert found is not None
    the_same(gathered([found]).load(), parts["B"])


@pytest.mark.parametrize("damage", ["record", "half a record", "pixels", "half the pixels", "other pixels"])
def test_what_is_not_complete_is_not_taken(damage: str, parts: dict[str, Slices], tmp_path: Path) -> None:
    scan = store(visit("A"), parts["A"], tmp_path)
    record = scan.path.with_suffix(".json")
    match damage:
        case "record":
            record.unlink()
        case "half a record":
            record.write_text(record.read_text()[:40])
        case "pixels":
            scan.path.unlink()
        case "half the pixels":
            scan.path.write_bytes(scan.path.read_bytes()[:5000])
        case "other pixels":
            np.save(scan.path, np.zeros((2, 18, 30, 4), np.float32))
    assert stored(visit("A"), tmp_path) is None


@pytest.mark.parametrize("full_at", ["A_T1.npy", "A_T1.json"])
def test_a_disk_that_fills_up_leaves_nothing_that_looks_complete(
    full_at: str, parts: dict[str, Slices], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where other slices of the visit stood before, too."""
    store(visit("A"), parts["B"], tmp_path)
    replace = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if target.name == full_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    with monkeypatch.context() as full:
        full.setattr(Path, "replace", refuse)
        with pytest.raises(InputError, match="a full disk while writing"):
            store(visit("A"), parts["A"], tmp_path)
    assert stored(visit("A"), tmp_path) is None
    assert {path.name for path in tmp_path.iterdir()} <= {"A_T1.npy"}


def test_a_file_that_is_gone_is_named(parts: dict[str, Slices], tmp_path: Path) -> None:
    on_disk = gathered([store(visit("A"), parts["A"], tmp_path)])
    (tmp_path / "A_T1.npy").unlink()
    with pytest.raises(InputError, match=r"A_T1\.npy: found slices that cannot be read"):
        on_disk.load()


def test_a_slice_is_one_stretch_of_the_disk(parts: dict[str, Slices], tmp_path: Path) -> None:
    scan = store(visit("A"), parts["A"], tmp_path)
    pixels = np.load(scan.path, mmap_mode="r")
    assert pixels.shape == (3, 18, 30, 4)
    assert pixels[1].flags.c_contiguous
    assert json.loads(scan.path.with_suffix(".json").read_text())["names"] == ["A_T1:1", "A_T1:2", "A_T1:3"]
