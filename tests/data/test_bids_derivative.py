"""Descriptions and sidecars of BIDS derivatives, and where a derivative may lie."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from psft_jax.data.bids_derivative import (
    Sources,
    check_place,
    checksum,
    distinct_labels,
    made_here,
    read_dataset_description,
    read_json,
    sidecar_of,
    write_dataset_description,
    write_json,
    write_sidecar,
)
from psft_jax.errors import InputError


def test_sources_are_named_by_uris_and_hashed(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "study 1", tmp_path / "scan é.nii.gz"
    inside = root / "P 1" / "flair.nii.gz"
    inside.parent.mkdir(parents=True)
    inside.write_bytes(b"abc")
    elsewhere.write_bytes(b"")
    told = Sources({"source": root}).told([inside, elsewhere])
    uris = [
        "bids:source:P%201/flair.nii.gz",
        (tmp_path / "scan%20%C3%A9.nii.gz").as_uri().replace("%25", "%"),
    ]
    assert told["Sources"] == uris
    assert told["SourcesSHA256"] == {
        uris[0]: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",  # of "abc", by FIPS 180
        uris[1]: hashlib.sha256().hexdigest(),
    }


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    told = {"Name": "étude", "Sources": ["a", "b"], "Threshold": 0.5, "Seed": None}
    assert read_json(write_json(tmp_path / "told.json", told)) == told
    assert "étude" in (tmp_path / "told.json").read_text(encoding="utf-8")  # for people to read


def test_a_checksum_is_that_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)) * 1000)
    printed = subprocess.run(["sha256sum", tmp_path / "file"], capture_output=True, text=True, check=True)
    assert checksum(tmp_path / "file") == printed.stdout.split()[0]


def test_a_link_is_relative_where_the_data_set_holds_the_derivative(tmp_path: Path) -> None:
    sources = Sources({"raw": tmp_path / "raw", "other": tmp_path / "étude"})
    out = tmp_path / "raw" / "derivatives" / "psft_jax"
    links = sources.links(out)
    assert links["raw"] == "../.."
    assert (out / links["raw"]).resolve() == (tmp_path / "raw").resolve()
    assert links["other"] == (tmp_path / "étude").as_uri()


def test_a_description_says_who_made_it_and_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert not made_here(out)
    path = write_dataset_description(
        out, name="n", description="d", sources=Sources({"raw": tmp_path}), version="1.2", more={"Run": "r"}
    )
    told = json.loads(path.read_text())
    assert told["DatasetType"] == "derivative"
    assert told["GeneratedBy"] == [{"Name": "psft_jax", "Version": "1.2", "Description": "d"}]
    assert told["DatasetLinks"] == {"raw": ".."}
    assert told["Run"] == "r"
    assert made_here(out)
    with pytest.raises(InputError, match="found a file of this name"):
        write_dataset_description(out, name="n", description="d")


@pytest.mark.parametrize("text", ["{", "[]", '{"GeneratedBy": [{"Name": "lst_ai"}]}', '{"GeneratedBy": 3}'])
def test_the_derivatives_of_others_are_not_taken_for_ours(text: str, tmp_path: Path) -> None:
    (tmp_path / "dataset_description.json").write_text(text)
    assert not made_here(tmp_path)
    if not text.startswith('{"'):
        with pytest.raises(InputError, match="expected the description of a BIDS data set"):
            read_dataset_description(tmp_path)


def test_a_sidecar_lies_beside_its_image_and_holds_no_nan(tmp_path: Path) -> None:
    for name, beside in (
        ("a_mask.nii.gz", "a_mask.json"),
        ("a.b_T1w.nii", "a.b_T1w.json"),
        ("c.tsv", "c.json"),
    ):
        assert sidecar_of(tmp_path / name) == tmp_path / beside
    sidecar = write_sidecar(tmp_path / "a_mask.nii.gz", {"Description": "Läsionen"})
    assert "Läsionen" in sidecar.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="JSON compliant"):
        write_sidecar(tmp_path / "b_mask.nii.gz", {"Threshold": float("nan")})
    assert [path.name for path in tmp_path.iterdir()] == ["a_mask.json"]


def test_names_that_become_one_label_are_refused() -> None:
    assert distinct_labels(["sub-01", "brain-test-000"]) == {"sub-01": "01", "brain-test-000": "braintest000"}
    for same in (["P-1", "P1"], ["p1", "P1"]):
        with pytest.raises(InputError, match=r"names that become one BIDS label \([pP]1\)"):
            distinct_labels(["P2", *same])


def test_a_derivative_lies_outside_a_data_set_or_in_its_derivatives(tmp_path: Path) -> None:
    raw, plain = tmp_path / "raw", tmp_path / "mslesseg"
    for folder in (raw, plain):
        folder.mkdir()
    (raw / "dataset_description.json").write_text('{"Name": "raw"}')
    for good in (tmp_path / "out", raw / "derivatives" / "psft_jax", plain / "derivatives" / "psft" / "v1"):
        check_place(good, [plain])
    for bad in (raw, raw / "derivatives", raw / "sub-01", plain / "P1", plain):
        with pytest.raises(InputError, match="found a folder among the files of the data set"):
            check_place(bad, [plain])
    check_place(plain)  # nobody said what it is
    out = raw / "derivatives" / "psft_jax"
    write_dataset_description(out, name="n", description="d")
    check_place(out)
    with pytest.raises(InputError, match="among the files"):
        check_place(out / "sub-01")
