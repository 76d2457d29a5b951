"""Own classes, own videos: a few examples are enrolled, then recognised in clips, files and live streams.

    examples, normal footage -- encoder -- support file (examples, whitening, calibration)        `fsar support make`
    source -- frames on a grid -- windows -- encoder -- scores a class -- events -- outputs       `fsar scan`

Read in this order: windows (from frames to clips of a few seconds), encoder (clips -> described, each frame once),
support (what is enrolled, and its file), scoring (classes against normal), calibration (what `unknown` and an alarm
rest on), events (scores -> start, end, class), recognizer (all of it, the Python API), scan (files),
watch (live sources; watched is one of them), results (what both leave in a folder).
"""
