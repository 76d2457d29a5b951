"""The report of a scan: a page to look at, and the review that comes back from it.

`report` writes a folder: report.html, which needs no network, and the videos beside it. The page is page.html with
page.css and four plain scripts put into it: review.js (what the viewer says of the events), player.js (video and region
boxes), timeline.js (scores a class) and page.js (the lists, and the keyboard). What it shows is data in a JSON island.
`review` reads the review.csv that the page saves.
"""

from fsar_cli.recognise.report.report import Example, ReportData, ReportVideo, write_report
from fsar_cli.recognise.report.review import ReviewRow, read_review

__all__ = ["Example", "ReportData", "ReportVideo", "ReviewRow", "read_review", "write_report"]
