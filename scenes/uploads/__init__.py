"""Pictures that strangers send: what their bytes may hold, and decoding in processes that may die of them."""
