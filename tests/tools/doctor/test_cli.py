"""`fsar doctor`: table, JSON and exit code."""

from fsar_cli.tools.doctor import doctor
from fsar_cli.tools.doctor.doctor import Finding

GOOD = Finding("python", "ok", "Python [x]")
ODD = Finding("gpu", "warning", "no CUDA device", "look at [this]")
BAD = Finding("videos", "problem", "no folder videos", "make one", exit_code=3)


def test_usable_machine(fsar, monkeypatch):
    monkeypatch.setattr(doctor, "examine_machine", lambda: [GOOD, ODD])
    result = fsar("doctor")
    assert result.code == 0
    assert "Python [x]" in result.out and "look at [this]" in result.out
    assert "problems: 0, warnings: 1" in result.err


def test_problems_set_the_exit_code_after_the_report(fsar, monkeypatch):
    monkeypatch.setattr(doctor, "examine_machine", lambda: [GOOD, ODD, BAD])
    result = fsar("doctor", "--json")
    assert result.code == 3
    assert result.json["usable"] is False and result.err == ""
    assert result.json["findings"][2] == {
        "name": "videos",
        "status": "problem",
        "text": "no folder videos",
        "remedy": "make one",
    }


def test_the_real_report_covers_every_part(fsar):
    names = {finding["name"] for finding in fsar("doctor", "--json").json["findings"]}
    wanted = {"python", "cores", "memory", "disk", "write access"}
    assert names == wanted | {"torch", "gpu", "torchvision", "video", "project"}
