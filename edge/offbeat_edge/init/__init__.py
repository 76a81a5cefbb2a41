"""`offbeat init`: from what is heard, or lies in a file, to a configuration.

`recognise` finds the families of topics, `survey` what assets and sensors
come there, `history` does both for a file, `write` puts it into words.
"""
