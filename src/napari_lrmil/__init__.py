"""napari plugin of LRMIL: windows over `lrmil`, which does all the computing."""
