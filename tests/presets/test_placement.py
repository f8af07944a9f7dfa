import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets.errors import BadInput
from presets.placement import GPU_KEYS, PlacementConfig, apart, parts_of_gpus
from presets.run_file import load_config
from tests.local_cluster import local_ray

LABELLED = {"label_selector": {"rlrig-role": "image"}}


@pytest.mark.parametrize(
    ("nodes", "options", "required", "preferred"),
    [
        ("any", {}, {}, {}),
        ("strict", LABELLED, {"rlrig-role": "image"}, {}),
        ("preferred", {**LABELLED, "fallback_strategy": [{"label_selector": {}}]}, {}, {"rlrig-role": "image"}),
    ],
)
def test_what_ray_is_asked_follows_from_the_kind_of_placement(nodes, options, required, preferred):
    placement = PlacementConfig(nodes=nodes)
    assert placement.actor_options("image") == options
    assert placement.required("image") == required
    assert placement.preferred("image") == preferred


def test_serve_knows_no_preference():
    assert PlacementConfig(nodes="preferred").preferred("vlm") == {}
    assert PlacementConfig(nodes="strict").required("vlm") == {"rlrig-role": "vlm"}


def test_a_run_file_says_it_and_a_mistake_is_named(run_file):
    assert load_config(run_file).placement.nodes == "any"
    assert load_config(run_file, ["placement.nodes=strict"]).placement.nodes == "strict"
    with pytest.raises(BadInput, match=r"placement\.nodes: 'strickt' is refused.*did you mean 'strict'"):
        load_config(run_file, ["placement.nodes=strickt"])


def test_roles_that_share_take_what_lets_ray_put_them_together():
    assert parts_of_gpus([["checker", "diffuser"], ["editor", "learner.editor"]]) == {
        "diffuser.gpus": 0.5001,
        "vlm.checker.gpus": 0.25,
        "editor.gpus": 0.5001,
        "learner.editor.gpus_per_rank": 0.25,
    }
    assert parts_of_gpus("nothing") == parts_of_gpus([["diffuser", "nobody"], 3]) == {}


@given(st.lists(st.sampled_from(sorted(GPU_KEYS)), min_size=2, max_size=6, unique=True))
def test_two_of_a_role_never_fit_where_one_of_it_is_and_all_fit_together(group):
    parts = parts_of_gpus([group])
    left = 10_000
    for role in (role for role in GPU_KEYS if role in group):
        part = round(parts[GPU_KEYS[role]] * 10_000)
        assert part <= left < 2 * part
        if not role.startswith("learner."):
            left -= part


@pytest.mark.parametrize(
    ("share", "message"),
    [
        ("[[diffuser]]", "name two roles or more"),
        ("[[learner.actor, learner.editor]]", "a learner shares with a role that samples"),
        ("[[diffuser, checker], [checker, editor]]", "is there twice"),
        ("[[diffuser, chequer]]", "did you mean 'checker'"),
    ],
)
def test_a_group_that_cannot_be_is_refused(run_file, share, message):
    with pytest.raises(BadInput, match=rf"placement\.share.*{message}"):
        load_config(run_file, [f"placement.share={share}"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["diffuser.gpus=1"],
            r"diffuser\.gpus: 1 is refused: it follows from placement\.share, 0\.5001\. Leave",
        ),
        (
            ["vlm.checker.replicas=3"],
            r"3 of 'checker' cannot be on the GPUs of 1 of 'diffuser'\. Raise diffuser",
        ),
        (["diffuser.max_workers=2"], r"'diffuser' in .* is refused: it follows the backlog"),
        (["vlm.checker.kv_cache_gib=null"], r"vlm\.checker\.kv_cache_gib: null is refused with placement\.share"),
    ],
)
def test_sharing_that_cannot_be_is_refused_by_key(run_file, overrides, message):
    with pytest.raises(BadInput, match=message):
        load_config(run_file, ["placement.share=[[diffuser, checker]]", *overrides])


def test_what_a_run_writes_of_itself_is_read_again(run_file):
    config = load_config(run_file, ["placement.share=[[editor, learner.editor]]"])
    assert (config.editor.gpus, config.learner.editor.gpus_per_rank, config.editor.device) == (0.5001, 0.25, "cuda")
    assert type(config).model_validate(config.model_dump()) == config


def test_ranks_of_one_learner_stay_apart(run_file):
    with pytest.raises(BadInput, match=r"learner\.actor\.gpus_per_rank: 0\.5 is refused with ranks 2: two ranks"):
        load_config(run_file, ["learner.actor.ranks=2", "learner.actor.gpus_per_rank=0.5"])


def test_roles_that_lie_apart_are_named():
    share = [["checker", "diffuser"], ["editor", "learner.editor"]]
    assert apart({"diffuser": ["a", "b"], "checker": ["b"], "editor": ["c"]}, share) == []
    (found,) = apart({"diffuser": ["a"], "checker": ["b"], "editor": ["c", "d"], "learner.editor": ["c", "d"]}, share)
    assert found == "checker is on GPU b, where there is no diffuser or another process of it"
    (found,) = apart({"editor": ["c", "d"], "learner.editor": ["c", "c"]}, share)
    assert found.startswith("learner.editor is on GPU c")


@pytest.mark.engines
def test_ray_puts_the_first_of_each_role_on_the_first_gpu():
    import ray

    group = ["diffuser", "checker", "learner.actor"]
    parts = parts_of_gpus([group])
    with local_ray(num_cpus=1, num_gpus=3):

        class Process:
            def gpu(self) -> str:
                return str(ray.get_gpu_ids()[0])

        kept = []
        for role, count in zip(group, (3, 2, 3), strict=True):
            options = {"num_cpus": 0, "num_gpus": parts[GPU_KEYS[role]]}
            kept.append([ray.remote(Process).options(**options).remote() for _ in range(count)])
            ray.get([one.gpu.remote() for one in kept[-1]], timeout=60)
        where = {role: [ray.get(one.gpu.remote()) for one in ones] for role, ones in zip(group, kept, strict=True)}
        assert [len(set(gpus)) for gpus in where.values()] == [3, 2, 3]
        assert apart(where, [group]) == []
