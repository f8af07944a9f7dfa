"""A diffusers pipeline in a process: loaded from its folder, and its text encoders, which may leave the GPU."""
