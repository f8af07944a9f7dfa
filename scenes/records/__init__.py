"""Records of scene graphs: kept in little memory, divided into splits, and told about where they cannot be used."""
