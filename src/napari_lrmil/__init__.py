"""napari plugin of LRMIL: windows over `lrmil`, which does all the computing."""

from napari_lrmil.triton_guard import install

install()
