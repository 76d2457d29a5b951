"""`fsar doctor`: show what the engine found out about this machine."""

from dataclasses import asdict

import typer

from fsar_cli.cli.options import Json
from fsar_cli.cli.output import ConsoleReporter, print_json, stdout, table

_STYLES = {"ok": "green", "warning": "yellow", "problem": "red"}


def doctor(as_json: Json = False) -> None:
    """Check Python, libraries, GPU, memory, disk and the data of fsar.yaml; each finding comes with a remedy.

    Exit code 0 if fsar can be used, 4 if the machine, 3 if the data, 2 if the settings stand in the way.
    """
    from rich.text import Text

    from fsar_cli.tools.doctor.data import check_project
    from fsar_cli.tools.doctor.doctor import examine_machine, exit_code

    reporter = ConsoleReporter(quiet=as_json)
    reporter.log("looking at this machine (torch takes a moment) ...")
    findings = [*examine_machine(), *check_project()]
    code = exit_code(findings)
    if as_json:
        lines = [{k: v for k, v in asdict(finding).items() if k != "exit_code"} for finding in findings]
        print_json({"usable": code == 0, "findings": lines})
    else:
        rows = [[f.name, Text(f.status, style=_STYLES[f.status]), f.text, f.remedy] for f in findings]
        stdout.print(table("", ["what", "status", "found", "what to do"], rows))
        reporter.log(_summary([f.status for f in findings]))
    if code:
        raise typer.Exit(code)


def _summary(statuses: list[str]) -> str:
    problems, warnings = statuses.count("problem"), statuses.count("warning")
    return f"problems: {problems}, warnings: {warnings}" if problems or warnings else "all is well"
