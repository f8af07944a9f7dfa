"""What a run asks of Ray, worked out before anything starts: processes, their resources, and nodes that hold them."""
