import subprocess
import sys


def test_a_process_that_only_holds_handles_loads_no_model_library() -> None:
    """The driver and every EnvRunner are such processes, and each of these libraries takes seconds."""
    code = (
        "import sys, rollout.algorithm, rollout.env_runner\n"
        "print(sorted({'diffusers', 'transformers', 'peft', 'vllm', 'deepspeed'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr[-2000:]
