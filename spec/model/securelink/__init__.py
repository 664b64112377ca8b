"""A second implementation of the secure link, written from the specification alone.

One module per concept. Rules are those of `spec/channel.md` (H) and `spec/can.md` (C). It is made to be read and to
compute vectors: it is neither fast nor constant in time, and no product uses it.
"""
