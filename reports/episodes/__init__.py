"""Single episodes, as programs use them."""
