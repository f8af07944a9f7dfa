"""Around Ray Serve's HTTP proxy: what it takes from strangers, and what it says before there is an endpoint."""
