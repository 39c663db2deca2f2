"""The kinds of cells: frozen configuration in, numbers and arrays out."""
