"""Requirements of other kinds than relations: presence, count, attribute and question; and where they come from."""
