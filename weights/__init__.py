"""A version of a policy's weights on its way: manifest, packing, checksums, adapters, receipts, the board."""
