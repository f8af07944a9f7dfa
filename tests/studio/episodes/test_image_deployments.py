from serving.replica_count import replica_count
from studio.episodes.image_deployments import answer_each


def test_a_batch_is_answered_in_one_call() -> None:
    calls = []

    def draw(prompts, seeds):
        calls.append(len(prompts))
        return [f"{prompt}{seed}" for prompt, seed in zip(prompts, seeds, strict=True)]

    assert answer_each(draw, [["a", "b", "c"], [1, 2, 3]]) == ["a1", "b2", "c3"]
    assert calls == [3]


def test_a_request_that_fails_spoils_no_other() -> None:
    def draw(prompts, seeds):
        if 2 in seeds:
            raise FloatingPointError("seed 2")
        return [f"{prompt}{seed}" for prompt, seed in zip(prompts, seeds, strict=True)]

    first, broken, last = answer_each(draw, [["a", "b", "c"], [1, 2, 3]])
    assert (first, last) == ("a1", "c3")
    assert isinstance(broken, FloatingPointError)
    assert str(broken) == "seed 2"


def test_replicas_follow_the_requests_only_where_there_may_be_more() -> None:
    assert replica_count(2, None, 16) == {"num_replicas": 2}
    assert replica_count(2, 2, 16) == {"num_replicas": 2}
    scaling = replica_count(1, 4, 16)["autoscaling_config"]
    assert (scaling["min_replicas"], scaling["max_replicas"], scaling["target_ongoing_requests"]) == (1, 4, 16)
