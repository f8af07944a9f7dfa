"""The models of an episode: small ones in this process, without Ray and vLLM, others where those run them."""
