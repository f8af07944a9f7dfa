"""Groups of members that start from one state: sampled, streamed, rewarded, batched."""
