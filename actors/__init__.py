"""Image models as Ray actors: Diffuser, Inverse Diffuser, the SDE sampler, fleets that are mended."""
