from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from reports.drawing.episode_animation import animation, save_animation
from rollout.state import Episode, Frame
from scenes.shape_world import sample_scene

SCENE = sample_scene(np.random.default_rng(2), "train", (2, 3))
ASKED = len(SCENE.graph.requirements)
FRAMES = [
    Frame(SCENE.image, [0.25] * ASKED),
    Frame(255 - SCENE.image, [0.125] * ASKED, "r", "a", "it is left", "move the circle " * 12, kept=False),
    Frame(SCENE.image // 2, [0.75] * ASKED, "r", "a", "it is left", "move the circle", kept=True),
]


def test_every_image_is_a_picture_of_the_same_size() -> None:
    pictures = animation(Episode(SCENE.graph, FRAMES))
    assert len({picture.size for picture in pictures}) == 1
    for picture, frame in zip(pictures, FRAMES, strict=True):
        large = np.asarray(Image.fromarray(frame.image).resize((320, 320), Image.Resampling.NEAREST))
        whole = np.asarray(picture)
        assert any((whole[top : top + 320, 12:332] == large).all() for top in range(whole.shape[0] - 320))


def test_the_file_moves_and_rests_on_the_last_image(tmp_path: Path) -> None:
    save_animation(Episode(SCENE.graph, FRAMES), tmp_path / "episode.gif")
    with Image.open(tmp_path / "episode.gif") as found:
        assert (found.format, found.n_frames, found.info["loop"]) == ("GIF", 3, 0)
        assert [frame.info["duration"] for frame in ImageSequence.Iterator(found)] == [1600, 1600, 3200]
