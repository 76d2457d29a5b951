"""The report of a scan: a page to look at, and the review that comes back from it.

`report` writes a folder: report.html, which needs no network, and the videos beside it. What the page shows is data in
a JSON island. page.html has page.css and these plain scripts put into it:

    review.js     what the viewer says of the events; review.csv, which `fsar support add` reads
    player.js     video and region boxes
    chart.js      scores a class over time; timeline.js moves in it
    lists.js      videos and events; verdict.js: the chosen event
    page.js       what is open and chosen, and the keyboard
"""

from fsar_cli.recognise.report.report import Example, ReportData, ReportVideo, write_report

__all__ = ["Example", "ReportData", "ReportVideo", "write_report"]
