"""Hashes of values and files, and the fingerprint that reads little of a large file."""

from pathlib import Path

import pytest

from lrmil.io.hashing import fingerprint, sha256_file, sha256_of

MIB = 1 << 20


class TestHashes:
    def test_equal_values_whatever_the_order_of_keys(self) -> None:
        assert sha256_of({"a": 1, "b": [1, 2]}) == sha256_of({"b": [1, 2], "a": 1})
        values = [{"a": 1}, {"a": 2}, {"a": "1"}, {"a": None}, ["a", 1], {"b": 1}, {"a": 1.5}, {"a": {"a": 1}}]
        assert len({sha256_of(value) for value in values}) == len(values)

    def test_hashes_do_not_change_between_versions(self) -> None:
        assert sha256_of({"mpp": 0.5, "µ": [1]}) == "f5513a25b6ba104aebed0ffd3d226b59161db628c0f7fcf0d397530820a9f777"

    def test_files(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"abc")
        assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


class TestFingerprint:
    @staticmethod
    def written(path: Path, size: int, *, changed: int | None = None) -> str:
        with path.open("wb") as file:
            file.truncate(size)
            if changed is not None:
                file.seek(changed)
                file.write(b"x")
        return fingerprint(path)

    @pytest.mark.parametrize("size", [1, 1000, MIB, 2 * MIB - 7, 2 * MIB, 3 * MIB])
    def test_small_files_are_hashed_whole(self, tmp_path: Path, size: int) -> None:
        plain = self.written(tmp_path / "slide", size)
        places = {0, size - 1, *(size * n // 11 for n in range(11)), *(n for n in (MIB - 1, MIB, 2 * MIB) if n < size)}
        hashes = {self.written(tmp_path / "slide", size, changed=place) for place in places}
        assert plain not in hashes and len(hashes) == len(places)

    def test_large_files_are_hashed_at_start_middle_and_end(self, tmp_path: Path) -> None:
        size = 9 * MIB + 5
        plain = self.written(tmp_path / "slide", size)
        for place in (0, MIB - 1, size // 2, size // 2 - MIB // 2 + 1, size - MIB, size - 1):
            assert self.written(tmp_path / "slide", size, changed=place) != plain, place
        assert self.written(tmp_path / "slide", size, changed=2 * MIB) == plain, "read three samples, not all"
        assert self.written(tmp_path / "slide", size + 1) != plain

    def test_the_name_does_not_matter(self, tmp_path: Path) -> None:
        assert self.written(tmp_path / "a", 50, changed=3) == self.written(tmp_path / "b", 50, changed=3)
