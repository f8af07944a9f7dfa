from pathlib import Path

from reports.reading.text_file import MOST_BYTES, bytes_of, end_of


def test_the_end_of_a_long_file_is_read_and_is_harmless(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("first\n" * 1000 + "last \x1b[2J\n")
    assert end_of(log, tmp_path, 10) == "last \\x1b[2J\n"
    assert end_of(tmp_path / "none", tmp_path) == ""


def test_what_leads_out_of_the_folder_is_not_read(tmp_path: Path) -> None:
    root, secret = tmp_path / "runs", tmp_path / "secret"
    root.mkdir()
    secret.write_text("secret")
    (root / "log.txt").symlink_to(secret)
    assert (end_of(root / "log.txt", root), bytes_of(root / "log.txt", root)) == ("", None)
    assert end_of(root / "log.txt", tmp_path) == "secret"


def test_a_large_file_gives_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"a" * MOST_BYTES)
    (tmp_path / "large").write_bytes(b"a" * (MOST_BYTES + 1))
    assert bytes_of(tmp_path / "small", tmp_path) == b"a" * MOST_BYTES
    assert bytes_of(tmp_path / "large", tmp_path) is None
