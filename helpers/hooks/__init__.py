"""Looking into a running network: capture what a layer gives, cut the network behind it, change the gradient of ReLUs.

When a block or a call ends, by an error or otherwise, the network is as it was.
"""

from helpers.hooks.as_maps import channels_last_as_maps, tokens_as_maps
from helpers.hooks.capture import Maps, capture, find_layer, run_to
from helpers.hooks.relu_rule import relu_rule
from helpers.hooks.split import split_at

__all__ = [
    "Maps",
    "capture",
    "channels_last_as_maps",
    "find_layer",
    "relu_rule",
    "run_to",
    "split_at",
    "tokens_as_maps",
]
