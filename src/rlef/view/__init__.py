"""The viewer: runs and rollouts in a browser. Run folders are only read.

Start at ``answers.py``; ``app.py`` serves them (with the extra ``view``), ``page.py`` puts some
into one file. No torch.
"""
