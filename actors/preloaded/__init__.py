"""Ray's worker processes, forked from one process that has imported for all of them.

A worker with an image model imports for 7 seconds of computing, one with a VLM for 13. A Ray that starts on a machine
without a GPU runs `enter.py` for each worker; `server.py` imports once and forks; `start.py` begins and ends it.
"""
