"""The recorder: from the broker to the lake, each row once, whatever happens on the way.

A message walks ``intake`` (bytes → samples and events), ``spool`` (appended
and synced on the local disk, then acknowledged) and ``flush`` (a segment of
the spool → parts of the lake).  Nothing is acknowledged before it is in the
spool; no segment goes before its parts lie in the lake; a segment's parts
have its name, so flushing it again after a crash changes nothing.
"""
