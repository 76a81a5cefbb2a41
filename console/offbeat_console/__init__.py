"""What people see: a web page over MQTT, for maintenance engineers and operators.

Rules: the console is an MQTT client like any other, with an identity of its
own; it imports ``offbeat_edge``'s schemas and link, never ``train``.
"""
