"""Public benchmarks: their recordings, their protocols, this detector beside plain ones.

``datasets`` reads what a user downloaded, ``measure`` fits one series and
lets every contender see the same rows, ``metrics`` counts, ``run`` walks
through a dataset and can be taken up again, ``table`` prints.

>>> from offbeat_train.benchmark.datasets import DATASETS
>>> sorted(DATASETS)
['gecco', 'msl', 'nab', 'skab', 'smap', 'tsb-ad', 'ucr']
"""
