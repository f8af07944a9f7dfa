"""Draws a scene in Studio as a person does."""

SCENE = "red circle left of blue square; green star above red circle"


def draw(page, scene=SCENE, seed="7", turns="3"):
    page.get_by_label("Scene", exact=True).fill(scene)
    page.get_by_label("Seed", exact=True).fill(seed)
    page.get_by_label("Turns at most").fill(turns)
    page.get_by_role("button", name="Draw").click()
