"""The file formats under a root, a class each: where ids stand in a file, and the file without them."""
