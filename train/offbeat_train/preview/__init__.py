"""Before switching on: what a model would have said to recorded history, at several thresholds.

`levels` makes the model at other thresholds, `incidents` folds what each of
them said into one list, `page` draws it.  Scoring is the device's own.
"""
