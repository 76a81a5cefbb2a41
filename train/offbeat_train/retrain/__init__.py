"""The cloud half of the loop: when to train again, and whether the outcome is better.

============== ======================================================= =====
module         in → out                                                pure?
============== ======================================================= =====
``drift``      reference and recent numbers → how far apart            yes
``due``        figures → is retraining due, and why                    yes
``past``       lake → normal rows, incidents, what people said         lake
``facts``      champion and normal rows → those figures                yes
``holdout``    normal rows → what trains, what only judges             yes
``inject``     held-out rows → faults in them                          yes
``challenger`` plan and rows → bundle, weights, report                 files
``measure``    two models and held-out rows → evidence                 yes
``resample``   evidence → shares, thresholds, their uncertainty        yes
``gate``       evidence → verdict                                      yes
``shelf``      the registry of one model: versions, champion, job      files
``job``        the above, in order; killed anywhere, ended by the next files
``fleet``      many jobs, on Ray                                       Ray
============== ======================================================= =====
"""
