"""The two-branch inference network of Nasr et al. 2018: attacks judge by it, a min-max defense trains against it.

`settings` says how it is built and trained, without torch; `network` builds and trains it.
"""
