import pytest
from ray import tune

from presets.errors import BadInput
from rollout.algorithm import ReflectionGRPO, ReflectionGRPOConfig


def test_a_configuration_follows_from_its_run_file() -> None:
    config = ReflectionGRPOConfig().reflection(overrides=["rollout.env_runners=3", "rollout.env_runner_cpus=0.5"])
    assert (config.num_env_runners, config.num_cpus_per_env_runner) == (3, 0.5)
    assert config.run_config.rollout.env_runners == 3
    assert config.algo_class is ReflectionGRPO


def test_rllibs_own_setters_reach_the_run_file() -> None:
    config = ReflectionGRPOConfig().training(lr=3e-5).env_runners(num_env_runners=2).reflection(folder="x")
    learners = config.run_config.learner
    assert (learners.actor.learning_rate, learners.editor.learning_rate) == (3e-5, 3e-5)
    assert (config.num_env_runners, config.run_config.rollout.env_runners) == (2, 2)


@pytest.mark.parametrize(
    ("method", "given", "named"),
    [
        ("training", {"gamma": 0.9}, r"training\(gamma=0\.9\) is refused"),
        ("training", {"train_batch_size": 64}, r"training\(train_batch_size=64\)"),
        ("env_runners", {"rollout_fragment_length": 8}, r"env_runners\(rollout_fragment_length=8\)"),
        ("environment", {"env": "CartPole-v1"}, r"environment\(env='CartPole-v1'\).*data\.\*"),
        ("learners", {"num_learners": 2}, r"learners\(num_learners=2\).*learner\.actor\.ranks"),
        ("evaluation", {"evaluation_interval": 1}, r"evaluation\(evaluation_interval=1\).*evaluation\.every"),
        ("resources", {"num_gpus": 1}, r"resources\(num_gpus=1\)"),
        ("framework", {"framework": "tf2"}, r"framework\(framework='tf2'\)"),
        ("rl_module", {"model_config": {"x": 1}}, r"rl_module\(model_config="),
        ("multi_agent", {"policies": {"a"}}, r"multi_agent\(policies="),
        ("offline_data", {"input_": "x"}, r"offline_data\(input_='x'\)"),
        ("reporting", {"log_gradients": True}, r"reporting\(log_gradients=True\)"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused_by_name(method: str, given: dict, named: str) -> None:
    with pytest.raises(BadInput, match=named):
        getattr(ReflectionGRPOConfig(), method)(**given)


def test_settings_that_work_are_taken() -> None:
    config = ReflectionGRPOConfig().debugging(seed=3, log_level="ERROR").resources(num_cpus_for_main_process=2)
    config = config.fault_tolerance(max_num_env_runner_restarts=5).reporting(min_time_s_per_iteration=0)
    assert (config.seed, config.num_cpus_for_main_process, config.max_num_env_runner_restarts) == (3, 2, 5)


def test_tune_may_choose_the_overrides() -> None:
    searched = tune.grid_search([["rollout.env_runners=2"], ["rollout.env_runners=1"]])
    space = ReflectionGRPOConfig().reflection(overrides=searched).to_dict()
    assert space["overrides"] == searched
    chosen = ReflectionGRPOConfig().update_from_dict({**space, "overrides": ["rollout.env_runners=2"]})
    chosen.validate()
    assert chosen.num_env_runners == 2
    request = ReflectionGRPO.default_resource_request({**space, "overrides": ["rollout.env_runners=2"]})
    assert len(request.bundles) > 3


def test_a_trial_asks_for_the_gpus_of_the_learner_that_needs_most() -> None:
    def bundles(*overrides: str) -> list[dict]:
        space = ReflectionGRPOConfig().reflection(overrides=list(overrides)).to_dict()
        return ReflectionGRPO.default_resource_request(space).bundles

    gpus = ["learner.editor.gpus_per_rank=1", "learner.actor.gpus_per_rank=1", "diffuser.gpus=0.5"]
    assert sorted(bundle.get("GPU", 0) for bundle in bundles(*gpus) if bundle.get("GPU")) == [0.5, 0.5, 1, 1]
    kept = bundles(*gpus, "learner.keep=true")
    assert sorted(bundle.get("GPU", 0) for bundle in kept if bundle.get("GPU")) == [0.5, 0.5, 1, 1, 1]
