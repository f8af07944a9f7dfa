"""Columns of Arrow tables whose values are large, made and read with as few copies as can be."""
