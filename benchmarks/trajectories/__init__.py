"""What the rows of an update cost the driver and the disk."""
