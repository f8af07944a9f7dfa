"""What opens in a browser or answers over HTTP: starting the endpoint, who may ask it."""
