"""What people see: a web page over MQTT, for maintenance engineers and operators.

Rules: the console is an MQTT client like any other, with an identity of its
own; it imports ``offbeat_edge``'s schemas and link, never ``train``.  One
thread talks to the broker and writes the store (``ingest``), the web server's
loop only reads; pages are sent what changed, twice a second at most.

In the order in which a message walks: ``wire`` (topic and bytes → what was
said), ``board`` (the fleet as it stands, in memory), ``trace`` and ``store``
(what lasts), ``views`` (what a page shows), ``pages`` (the pages).
"""
