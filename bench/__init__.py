"""What the ledger costs, measured against the bare libraries that it stands on. Run it with ``make bench``.

``workload`` makes the entries; ``rounds`` measures two things in turns; a file a figure's subject: ``folding``,
``indexing``, ``publishing``, ``replaying``, ``scaling``; ``report`` writes the numbers, the table and the picture.
"""
