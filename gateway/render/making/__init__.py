"""Makes one volume for the browser, in a process of its own with limits on what it may take.

`python -m gateway.render.making` reads a :class:`gateway.render.making.order.Order` as JSON from
its standard input and writes into its working folder: the coarsest level first, so that something
can be shown while the rest is made.
"""

from __future__ import annotations
