"""VLMs in the process that asks them, without Ray and vLLM."""
