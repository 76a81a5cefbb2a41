"""Sparkplug B, from its specification: edge nodes read, and ourselves as one.

``proto`` has the messages, ``metric`` what a metric says, ``host`` follows the
births, data and deaths of edge nodes (a part of the decoder), ``node`` and
``bridge`` tell what a gateway says as an edge node (``offbeat sparkplug``).
Needs protobuf (extra ``sparkplug``).
"""
