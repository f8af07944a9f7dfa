from reports.drawing.thinning import POINTS, thinned


def test_a_long_run_is_thinned_by_stage():
    lines = [
        {
            "update": k,
            "stage": "actor" if k < 451 else "editor",
            "reward_mean": float(k),
            "staleness": {"max": float(k)},
        }
        for k in range(900)
    ]
    thin, words = thinned(lines)
    assert "3 successive updates" in words
    assert (thin[0]["update"], thin[0]["reward_mean"], thin[0]["staleness"]["max"]) == (0, 1.0, 2.0)
    assert [line["update"] for line in thin if line["stage"] == "editor"][:2] == [451, 454]
    assert thin[150] == {"update": 450, "stage": "actor", "reward_mean": 450.0, "staleness": {"max": 450.0}}
    assert len(thin) <= POINTS + 1
    assert thinned(lines[:300]) == (lines[:300], "")
