"""Python runs this as it starts if PYTHONPATH has this folder: so the notebooks' kernels are offline too."""

from no_network import block

block()
