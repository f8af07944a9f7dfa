"""What every test process is begun with."""


def test_no_call_starts_a_ray_by_itself() -> None:
    from ray._private import auto_init_hook

    assert not auto_init_hook.enable_auto_connect
