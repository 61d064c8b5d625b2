"""Files of pre-trained weights: the tensors in them, or only their names and shapes."""

from clmethods.nn.weight_files.networks import TOP_LEVEL, network_in
from clmethods.nn.weight_files.reader import StoredTensors, WeightsError, read

__all__ = ["TOP_LEVEL", "StoredTensors", "WeightsError", "network_in", "read"]
