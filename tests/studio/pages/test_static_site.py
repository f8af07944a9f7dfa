import json
import re
import shutil

import pytest

from presets.errors import BadInput
from presets.keep import KeepConfig
from rollout.trajectory import read_parquet, write_parquet
from studio.pages.static_site import write_pages
from tests.studio.pages.sample_runs import MEMBERS, PROMPTS, TURNS, write_empty, write_sample


def links_of(text):
    return {
        address for address in re.findall(r'(?:src|href)="([^"]*)"', text) if not address.startswith(("data:", "#"))
    }


def test_every_link_leads_to_a_file_beside_it(sample, tmp_path):
    first = write_pages(sample / "sample", tmp_path / "site", updates=1)
    names = {path.name for path in first.parent.iterdir()}
    assert first.name == "index.html"
    assert {"studio.html", "groups-00001.html", "groups-00003.html"} <= names
    assert len([name for name in names if name.startswith("trajectory-")]) == 2 * PROMPTS * TURNS * MEMBERS
    for path in first.parent.glob("*.html"):
        assert links_of(path.read_text()) <= names, path.name


def test_updates_are_spread_over_each_stage(sample, tmp_path):
    site = write_pages(sample / "sample", tmp_path / "site", updates=2).parent
    assert sorted(path.name for path in site.glob("groups-*")) == [f"groups-0000{k}.html" for k in range(4)]


def test_studio_holds_recorded_episodes(tmp_path):
    write_sample(tmp_path, hostile="</script><b>")
    text = (write_pages(tmp_path / "sample", tmp_path / "site").parent / "studio.html").read_text()
    assert text.count("</script>") == text.count("<script")
    episodes = json.loads(re.search(r'id="episodes">(.*?)</script>', text, re.S)[1])
    first, *later = episodes[0]["turns"]
    assert (first["index"], first["edit_prompt"]) == (0, None)
    assert len(first["requirements"]) == len(first["satisfaction"]) >= 2
    assert later[-1]["reflection"].endswith("</script><b>")
    assert first["image"].startswith("data:image/png;base64,")


def test_a_run_that_kept_no_images_has_all_its_pages(sample, tmp_path):
    run = shutil.copytree(sample / "sample", tmp_path / "sample")
    for path in (run / "trajectories").iterdir():
        write_parquet(read_parquet(path), path, KeepConfig(actor="none", editor="none"))
    write_pages(run, tmp_path / "bare")
    write_pages(sample / "sample", tmp_path / "whole")
    written = {file.name for file in (tmp_path / "bare").iterdir()}
    assert written == {file.name for file in (tmp_path / "whole").iterdir()}
    texts = {file.name: file.read_text() for file in (tmp_path / "bare").glob("*.html")}
    assert sum("the image was not kept" in text for text in texts.values()) > len(texts) / 2
    assert not any("data:image/png" in text or "cannot be read" in text for text in texts.values())


def test_an_empty_run_has_pages_that_say_so(tmp_path):
    write_empty(tmp_path)
    site = write_pages(tmp_path / "empty", tmp_path / "site").parent
    assert "no curve" in (site / "index.html").read_text()
    assert "holds no trajectories" in (site / "studio.html").read_text()


def test_a_damaged_update_is_said_and_the_others_are_written(sample, tmp_path):
    run = shutil.copytree(sample / "sample", tmp_path / "sample")
    (run / "trajectories" / "00003.parquet").write_bytes(b"half")
    site = write_pages(run, tmp_path / "site").parent
    assert "00003.parquet is left out" in (site / "groups-00003.html").read_text()
    assert not list(site.glob("trajectory-00003-*"))
    assert list(site.glob("trajectory-00002-*"))


def test_what_cannot_be_written_is_refused(sample, tmp_path):
    with pytest.raises(BadInput, match="RUN"):
        write_pages(tmp_path / "none", tmp_path / "site")
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="is a file"):
        write_pages(sample / "sample", tmp_path / "file")
    with pytest.raises(BadInput, match="--updates 0"):
        write_pages(sample / "sample", tmp_path / "site", updates=0)
