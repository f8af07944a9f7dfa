"""Small models in the process of the command, without Ray and vLLM."""
