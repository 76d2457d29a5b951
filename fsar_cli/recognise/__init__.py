"""Own classes, own videos: a few examples are enrolled, then recognised in clips, files and live streams.

    examples, normal footage -- encoder -- support file (examples, whitening, calibration)        `fsar support make`
    source -- frames on a grid -- windows -- encoder -- scores a class -- events -- outputs       `fsar scan`

Read in this order:

    windows        from frames to clips of a few seconds
    network        what runs on a device; encoder: windows -> described, each frame once
    support        what is enrolled, and its file; supportfile reads it, identity knows its encoder
    examples       where clips to enrol come from; footage: normal windows; enrolment: both become a support set
    scoring        described windows -> scores: classes against normal
    calibration    what `unknown` and an alarm rest on; summary says it
    events         scores -> start, end, class
    recognizer     all of it: the Python API
    scan           files into a folder, with windowlog; watch, watched: live sources; results: what both leave behind
    outputs        events as tables, lines, subtitles; eventclip; report/: the page; truth: events against true ones
    onnx           the same encoder by another library: onnxgraph, onnxexport, onnxfile
    checking/      are these examples good ones?
"""
